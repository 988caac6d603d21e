//! Runs of white space: `\s+(?!\S)|\s+`, and `\s*[\r\n]+` before them.

use super::super::classes::{Classes, SPACE};

/// A run of white space.
pub struct Run {
    /// Where it ends.
    pub end: usize,
    /// Where its last character begins.
    last: usize,
    /// Behind its last line feed or carriage return, if it holds one.
    pub newline_end: Option<usize>,
}

impl Run {
    /// The run that begins at `start`, where a character of white space stands.
    #[inline]
    pub fn at(classes: &Classes, text: &[u8], start: usize) -> Run {
        let mut run = Run { end: start, last: start, newline_end: None };
        loop {
            let (class, length) = classes.at(text, run.end);
            if class & SPACE == 0 {
                return run;
            }
            run.last = run.end;
            run.end += length;
            if matches!(text.get(run.last), Some(b'\r' | b'\n')) {
                run.newline_end = Some(run.end);
            }
        }
    }

    /// `\s+(?!\S)|\s+`: all but the last character where something follows, unless the last is all there is.
    #[inline]
    pub fn before_word(&self, text: &[u8], start: usize) -> usize {
        if self.end == text.len() || self.last == start { self.end } else { self.last }
    }
}

//! Digits first, GPT-2's words in what is left: `Digits` before `ByteLevel`, as SmolLM and StarCoder have it.

use super::super::classes::{Classes, NUMBER};
use super::space::Run;
use super::{Gpt2, Scanner, is_space};

/// Scanner of that sequence.
#[derive(Debug, Clone, Copy)]
pub struct Digits {
    /// Whether each digit is a piece, or each run of them.
    pub individual: bool,
}

impl Scanner for Digits {
    #[inline]
    fn end(&mut self, classes: &Classes, text: &[u8], start: usize) -> usize {
        let (class, length) = classes.at(text, start);
        if class & NUMBER != 0 {
            return if self.individual { start + length } else { classes.run(text, start + length, NUMBER) };
        }
        if is_space(class) {
            // Before a digit, text ends: no space is left for a word behind it.
            let run = Run::at(classes, text, start);
            if classes.at(text, run.end).0 & NUMBER != 0 {
                return run.end;
            }
        }
        Gpt2.end(classes, text, start)
    }
}

//! Finding numbers: what identity numbers, cards, phones and IPv4 addresses have in common.

use super::chars::{char_at, char_before, is_ascii_word};
use super::edit::{Edit, Edited};

/// Replaces what `end_at` accepts. It is asked at each byte at which a number may begin (a digit, `+` or `(` that
/// touches no letter or digit before it) and answers with the end of what it found. Asked once for each number, so it
/// looks at a bounded number of bytes.
pub fn replace<'a>(text: &'a str, placeholder: &str, end_at: impl Fn(&[u8]) -> Option<usize>) -> Edited<'a> {
    let bytes = text.as_bytes();
    let mut edit = Edit::new(text);
    let mut at = 0;
    let is_start = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'(');
    while let Some(step) = bytes.get(at..).and_then(|rest| rest.iter().position(is_start)) {
        let start = at + step;
        let rest = bytes.get(start..).unwrap_or_default();
        let stands_alone = !is_ascii_word(char_before(text, start)) && !follows_digit(bytes, start);
        let found = if stands_alone { end_at(rest) } else { None };
        match found.map(|length| start + length).filter(|end| !is_ascii_word(char_at(text, *end))) {
            Some(end) => {
                edit.replace(start..end, placeholder);
                at = end;
            }
            // The rest of a number is no number of its own.
            None => at = start + rest.iter().take_while(|byte| byte.is_ascii_digit()).count().max(1),
        }
    }
    edit.finish()
}

/// Whether a digit and a mark that joins numbers stand before a byte: `3.` before `14`, `1-` before `2`.
fn follows_digit(bytes: &[u8], at: usize) -> bool {
    let before = bytes.get(at.saturating_sub(2)..at).unwrap_or_default();
    matches!(before, [digit, b'.' | b'-' | b'/' | b':'] if digit.is_ascii_digit())
}

/// Reads a number piece by piece.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Begins at the first byte.
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0 }
    }

    /// Bytes read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Reads one of these bytes, if it is there.
    pub fn one_of(&mut self, bytes: &[u8]) -> bool {
        let found = self.bytes.get(self.at).is_some_and(|byte| bytes.contains(byte));
        self.at += usize::from(found);
        found
    }

    /// Reads a literal.
    pub fn literal(&mut self, literal: &[u8]) -> Option<()> {
        self.bytes.get(self.at..)?.starts_with(literal).then(|| self.at += literal.len())
    }

    /// Reads all digits that follow, if there are `min` to `max`.
    pub fn digits(&mut self, min: usize, max: usize) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let count = rest.iter().take(max + 1).take_while(|byte| byte.is_ascii_digit()).count();
        if !(min..=max).contains(&count) {
            return None;
        }
        self.at += count;
        rest.get(..count)
    }

    /// Reads `count` digits of those that follow.
    pub fn first_digits(&mut self, count: usize) -> Option<&'a [u8]> {
        let found = self.bytes.get(self.at..self.at + count)?;
        found.iter().all(u8::is_ascii_digit).then(|| {
            self.at += count;
            found
        })
    }
}

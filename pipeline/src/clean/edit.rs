//! An edit of a text: copied only from its first change on, and every change counted.

use std::borrow::Cow;
use std::ops::Range;

/// A text after a step, and how many places of it the step changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited<'a> {
    /// The text; borrowed where nothing changed.
    pub text: Cow<'a, str>,
    /// Places that changed.
    pub changes: u64,
}

impl<'a> Edited<'a> {
    /// A text that stays as it is.
    pub fn same(text: &'a str) -> Edited<'a> {
        Edited { text: Cow::Borrowed(text), changes: 0 }
    }
}

/// Replaces ranges of a text, in ascending order.
#[derive(Debug)]
pub struct Edit<'a> {
    text: &'a str,
    out: String,
    copied: usize,
    changes: u64,
}

impl<'a> Edit<'a> {
    /// Begins an edit.
    pub fn new(text: &'a str) -> Edit<'a> {
        Edit { text, out: String::new(), copied: 0, changes: 0 }
    }

    /// Puts `with` in the place of `range`, which lies behind all earlier ones and between characters. What would
    /// change nothing is no change.
    pub fn replace(&mut self, range: Range<usize>, with: &str) {
        let (Some(before), Some(replaced)) = (self.text.get(self.copied..range.start), self.text.get(range.clone()))
        else {
            return;
        };
        if replaced == with {
            return;
        }
        if self.changes == 0 {
            self.out.reserve(self.text.len());
        }
        self.out.push_str(before);
        self.out.push_str(with);
        self.copied = range.end;
        self.changes += 1;
    }

    /// Takes a range out.
    pub fn remove(&mut self, range: Range<usize>) {
        self.replace(range, "");
    }

    /// The text with its changes.
    pub fn finish(mut self) -> Edited<'a> {
        if self.changes == 0 {
            return Edited::same(self.text);
        }
        self.out.push_str(self.text.get(self.copied..).unwrap_or_default());
        Edited { text: Cow::Owned(self.out), changes: self.changes }
    }
}

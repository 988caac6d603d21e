//! Splitting text into the pieces within which tokens are merged.
//!
//! The expressions that tokenizers are published with are few, and each is a scanner here: a function from where a
//! piece begins to where it ends. Which expression has which scanner is in [`known`]; each is compared with Hugging
//! Face's regex engine by tests.

mod ascii;
mod cl100k;
mod deepseek;
mod digits;
mod gpt2;
mod known;
mod o200k;
mod space;

pub use ascii::WINDOW;
pub use cl100k::Cl100k;
pub use deepseek::DeepSeek;
pub use digits::Digits;
pub use gpt2::Gpt2;
#[cfg(test)]
pub use known::all;
pub use known::{GPT2, Known, known};
pub use o200k::O200k;

use super::classes::{Classes, SPACE};

/// A way to split text, with no gaps: where one piece ends, the next begins. What a scanner remembers is of one text.
pub trait Scanner {
    /// The end of the piece that begins at `start`, which is below the length of the text. The result is larger than
    /// `start`. `text` is valid UTF-8 and `start` the beginning of a character.
    fn end(&mut self, classes: &Classes, text: &[u8], start: usize) -> usize;

    /// The positions at which pieces begin in a window that begins with a piece, as bits: of those that are decided by
    /// the window, and without the first.
    #[inline(always)]
    fn starts(&self, _window: &[u8; WINDOW]) -> u64 {
        0
    }
}

/// Most pieces that [`next_pieces`] finds at once.
pub const PIECES_MAX: usize = WINDOW;

/// Finds one or more pieces from `start` on and calls `each` with the end of each. Returns the last end.
#[inline(always)]
pub fn next_pieces(
    scanner: &mut impl Scanner,
    classes: &Classes,
    text: &[u8],
    start: usize,
    mut each: impl FnMut(usize),
) -> usize {
    let window = text.get(start..).and_then(|rest| rest.first_chunk::<WINDOW>());
    let window = window.filter(|window| window.first_chunk::<8>().is_some_and(|first| first.is_ascii()));
    let mut starts = window.map_or(0, |window| scanner.starts(window));
    if starts == 0 {
        let end = scanner.end(classes, text, start);
        each(end);
        return end;
    }
    let mut end = start;
    while starts != 0 {
        end = start + starts.trailing_zeros() as usize;
        starts &= starts - 1;
        each(end);
    }
    end
}

/// The end of a contraction's letters ('s, 't, 're, 've, 'm, 'll, 'd) behind an apostrophe at `start`.
#[inline(always)]
fn contraction(text: &[u8], start: usize) -> Option<usize> {
    match text.get(start + 1..)? {
        [b's' | b't' | b'm' | b'd', ..] => Some(start + 2),
        [b'r' | b'v', b'e', ..] | [b'l', b'l', ..] => Some(start + 3),
        _ => None,
    }
}

/// [`contraction`] in any case. U+017F folds to s: the regex engine says so.
#[inline(always)]
fn contraction_any_case(text: &[u8], start: usize) -> Option<usize> {
    match text.get(start + 1..)? {
        [b's' | b't' | b'm' | b'd' | b'S' | b'T' | b'M' | b'D', ..] => Some(start + 2),
        [b'r' | b'v' | b'R' | b'V', b'e' | b'E', ..] | [b'l' | b'L', b'l' | b'L', ..] => Some(start + 3),
        [0xc5, 0xbf, ..] => Some(start + 3),
        _ => None,
    }
}

/// The end of at most `most` characters of `set`.
#[inline(always)]
fn run_of_at_most(classes: &Classes, text: &[u8], mut start: usize, set: u8, most: usize) -> usize {
    for _ in 0..most {
        let (class, length) = classes.at(text, start);
        if class & set == 0 {
            break;
        }
        start += length;
    }
    start
}

/// The end of a run of line feeds, carriage returns and, where `slash`, slashes.
#[inline(always)]
fn newlines(text: &[u8], mut start: usize, slash: bool) -> usize {
    while matches!(text.get(start), Some(b'\r' | b'\n')) || slash && text.get(start) == Some(&b'/') {
        start += 1;
    }
    start
}

fn is_space(class: u8) -> bool {
    class & SPACE != 0
}

#[cfg(test)]
mod tests;

//! To which classes a code point belongs: one look-up per character, whatever is asked.
//!
//! The table has one entry a code point (2 MiB), but only the pages that a corpus's scripts touch are ever resident.

use std::sync::LazyLock;

use schemas::config::SpecialCharacters;

use super::tables;

/// A letter: general categories L*.
pub(super) const LETTER: u16 = 1;
/// A number: general categories N*.
pub(super) const NUMBER: u16 = 1 << 1;
/// One of Data-Juicer's special characters.
pub(super) const SPECIAL: u16 = 1 << 2;
/// What ends a line for Python's `splitlines`.
pub(super) const LINE_END: u16 = 1 << 3;
/// Han, kana or hangul.
pub(super) const CJK: u16 = 1 << 4;
/// One of datatrove's punctuation characters.
pub(super) const PUNCTUATION: u16 = 1 << 5;
/// White space, as Python's `isspace` has it.
pub(super) const SPACE: u16 = 1 << 6;
/// A mark that ends a sentence.
pub(super) const TERMINAL: u16 = 1 << 7;
/// A character that lower-casing may change.
pub(super) const CASED: u16 = 1 << 8;

const CODE_POINTS: usize = 0x11_0000;

/// What `splitlines` breaks at; a carriage return and a line feed together once.
const LINE_ENDS: [(u32, u32); 5] = [(0x0a, 0x0d), (0x1c, 0x1e), (0x85, 0x85), (0x2028, 0x2029), (0x0a, 0x0a)];

/// Scripts written without spaces, and hangul: their blocks, compatibility and half-width forms included.
const CJK_BLOCKS: [(u32, u32); 14] = [
    (0x1100, 0x11ff),
    (0x2e80, 0x2fdf),
    (0x3005, 0x3007),
    (0x3040, 0x30ff),
    (0x3130, 0x318f),
    (0x31f0, 0x31ff),
    (0x3400, 0x4dbf),
    (0x4e00, 0x9fff),
    (0xa960, 0xa97f),
    (0xac00, 0xd7ff),
    (0xf900, 0xfaff),
    (0xff66, 0xffdc),
    (0x1b000, 0x1b16f),
    (0x20000, 0x323af),
];

/// The classes of every code point.
pub(super) struct Classes(Vec<u16>);

impl Classes {
    /// The table for a choice of special characters.
    pub fn get(special: SpecialCharacters) -> &'static Classes {
        static COMPATIBLE: LazyLock<Classes> = LazyLock::new(|| Classes::build(true));
        static CORRECTED: LazyLock<Classes> = LazyLock::new(|| Classes::build(false));
        match special {
            SpecialCharacters::Compatible => &COMPATIBLE,
            SpecialCharacters::Corrected => &CORRECTED,
        }
    }

    fn build(with_mistakes: bool) -> Classes {
        let mut classes = Classes(vec![0; CODE_POINTS]);
        classes.add(&tables::LETTERS, LETTER);
        classes.add(&tables::NUMBERS, NUMBER);
        classes.add(&tables::SPACES, SPACE);
        classes.add(&tables::SPECIALS, SPECIAL);
        classes.add(&tables::TERMINALS, TERMINAL);
        classes.add(&tables::PUNCTUATION, PUNCTUATION);
        classes.add(&LINE_ENDS, LINE_END);
        classes.add(&CJK_BLOCKS, CJK);
        if with_mistakes {
            classes.add(&tables::SPECIAL_MISTAKES, SPECIAL);
        }
        for c in ('\0'..=char::MAX).filter(|c| !c.to_lowercase().eq([*c])) {
            classes.add(&[(u32::from(c), u32::from(c))], CASED);
        }
        classes
    }

    fn add(&mut self, ranges: &[(u32, u32)], class: u16) {
        for (first, last) in ranges {
            let range = self.0.get_mut(*first as usize..=*last as usize).unwrap_or_default();
            range.iter_mut().for_each(|classes| *classes |= class);
        }
    }

    /// The classes of a character.
    #[inline]
    pub fn of(&self, c: char) -> u16 {
        self.0.get(c as usize).copied().unwrap_or_default()
    }

    /// The classes of the character at the start of `bytes`, valid UTF-8, and how many bytes it has; (0, 0) at the end.
    #[inline]
    pub fn next(&self, bytes: &[u8]) -> (u32, u16, usize) {
        let (code, len) = decode(bytes);
        (code, self.0.get(code as usize).copied().unwrap_or_default(), len)
    }
}

/// The code point at the start of valid UTF-8, and its length in bytes; (0, 0) at the end.
#[inline]
pub(super) fn decode(bytes: &[u8]) -> (u32, usize) {
    let tail = |byte: u8| u32::from(byte & 0x3f);
    match *bytes {
        [a, ..] if a < 0x80 => (u32::from(a), 1),
        [a, b, ..] if a < 0xe0 => (u32::from(a & 0x1f) << 6 | tail(b), 2),
        [a, b, c, ..] if a < 0xf0 => (u32::from(a & 0x0f) << 12 | tail(b) << 6 | tail(c), 3),
        [a, b, c, d, ..] => (u32::from(a & 0x07) << 18 | tail(b) << 12 | tail(c) << 6 | tail(d), 4),
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_agrees_with_std_on_every_code_point() {
        for c in '\0'..=char::MAX {
            let text = c.to_string();
            assert_eq!(decode(text.as_bytes()), (u32::from(c), c.len_utf8()));
        }
        assert_eq!(decode(b""), (0, 0));
    }

    #[test]
    fn letters_and_numbers_are_fewer_than_rusts() {
        let classes = Classes::get(SpecialCharacters::Compatible);
        let of = |c: char| classes.of(c) & (LETTER | NUMBER) != 0;
        assert!(of('a') && of('中') && of('½') && of('Ⅷ') && of('²'));
        // Combining vowel signs are alphabetic for Rust, marks for Python.
        assert!('\u{0903}'.is_alphanumeric() && !of('\u{0903}'));
    }

    #[test]
    fn three_mistakes_of_the_list_are_special_only_in_the_compatible_mode() {
        let special = |mode, c| Classes::get(mode).of(c) & SPECIAL != 0;
        for c in ['士', '一', '上'] {
            assert!(special(SpecialCharacters::Compatible, c));
            assert!(!special(SpecialCharacters::Corrected, c));
        }
        assert!(special(SpecialCharacters::Corrected, '。'));
    }
}

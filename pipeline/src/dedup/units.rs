//! Units: what a shingle is a run of.
//!
//! A unit is a word (a run of letters, digits and marks, in lower case) or, in scripts that put no spaces between words,
//! a single character: Han, kana, Thai, Lao, Khmer, Burmese, Tibetan. Everything else separates. So one shingle length
//! serves Chinese, English and text that mixes both, and no segmenter is needed.

use std::ops::Range;

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// Spreads the bits of a hash: splitmix64's finalizer.
#[inline(always)]
pub(super) const fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Lower case of an ASCII byte that belongs to a word; 0 for one that separates.
const ASCII_WORD: [u8; 128] = {
    let mut table = [0; 128];
    let mut byte = 0;
    while byte < 128 {
        let value = byte as u8;
        if value.is_ascii_alphanumeric() {
            table[byte] = value.to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

/// Whether a character is a unit of its own: its script puts no spaces between words.
pub fn stands_alone(character: char) -> bool {
    matches!(u32::from(character),
        0x4E00..=0x9FFF | 0x3400..=0x4DBF | 0x20000..=0x3FFFF | 0xF900..=0xFAFF // Han
        | 0x3005..=0x3007 | 0x3041..=0x3096 | 0x30A1..=0x30FA | 0x30FC..=0x30FE | 0x31F0..=0x31FF | 0xFF66..=0xFF9D // kana
        | 0x0E01..=0x0EDF | 0x0F40..=0x0FBC | 0x1000..=0x109F | 0x1780..=0x17D3) // Thai, Lao, Tibetan, Burmese, Khmer
}

/// The word under way: its hash and its first byte.
struct Word(Option<(u64, usize)>);

impl Word {
    #[inline(always)]
    fn push(&mut self, value: u64, at: usize) {
        let (hash, start) = self.0.unwrap_or((FNV_OFFSET, at));
        self.0 = Some(((hash ^ value).wrapping_mul(FNV_PRIME), start));
    }

    #[inline(always)]
    fn end(&mut self, at: usize, each: &mut impl FnMut(u64, Range<usize>)) {
        if let Some((hash, start)) = self.0.take() {
            each(mix(hash), start..at);
        }
    }
}

/// Appends the hash of every unit of a text.
pub fn units(text: &str, units: &mut Vec<u64>) {
    scan(text, |hash, _| units.push(hash));
}

/// Calls `each` with the hash of every unit of a text and the bytes it stands in.
#[inline(always)]
pub fn scan(text: &str, mut each: impl FnMut(u64, Range<usize>)) {
    let mut word = Word(None);
    for (at, character) in text.char_indices() {
        match ASCII_WORD.get(character as usize) {
            Some(0) => word.end(at, &mut each),
            Some(lower) => word.push(u64::from(*lower), at),
            None if stands_alone(character) => {
                word.end(at, &mut each);
                each(mix(u64::from(character) ^ FNV_OFFSET), at..at + character.len_utf8());
            }
            None if character.is_alphanumeric() => {
                character.to_lowercase().for_each(|lower| word.push(u64::from(lower), at));
            }
            None => word.end(at, &mut each),
        }
    }
    word.end(text.len(), &mut each);
}

/// A hash of all that is not white space, in lower case: what a text too short for a shingle is told apart by.
pub fn whole(text: &str) -> Option<u64> {
    let mut word = Word(None);
    let visible = text.chars().filter(|character| !character.is_whitespace());
    visible.flat_map(char::to_lowercase).for_each(|lower| word.push(u64::from(lower), 0));
    word.0.map(|(hash, _)| mix(!hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<u64> {
        let mut found = Vec::new();
        units(text, &mut found);
        found
    }

    #[test]
    fn words_are_separated_by_what_is_no_letter_and_case_does_not_count() {
        assert_eq!(of("The  river, rose!").len(), 3);
        assert_eq!(of("the river rose"), of("THE RIVER -- Rose"));
        assert_ne!(of("the river"), of("ther iver"));
    }

    #[test]
    fn every_han_character_is_a_unit_with_or_without_words_around_it() {
        assert_eq!(of("河水又涨了").len(), 5);
        assert_eq!(of("用Python写"), of("用 python 写"));
        assert_eq!(of("用Python写").len(), 3);
    }

    #[test]
    fn other_alphabets_are_words_and_fold_case() {
        assert_eq!(of("Река ПОДНЯЛАСЬ"), of("река поднялась"));
        assert_eq!(of("강물이 불었다").len(), 2);
        assert_eq!(of("ไป").len(), 2);
    }

    #[test]
    fn a_short_text_is_told_apart_by_its_signs() {
        assert_eq!(whole("1 + 1"), whole("1+1"));
        assert_ne!(whole("1 + 1"), whole("1 - 1"));
        assert_eq!(whole(" \n"), None);
    }
}

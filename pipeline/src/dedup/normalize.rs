//! Text before its content hash: what exact duplicates may differ in.

use schemas::config::Normalize;
use xxhash_rust::xxh3::xxh3_128;

/// The content hash of a text after normalisation; keeps its buffer between texts.
#[derive(Debug, Clone, Default)]
pub struct Normalizer {
    case: bool,
    whitespace: bool,
    punctuation: bool,
    width: bool,
    buffer: String,
}

impl Normalizer {
    /// What is not to count.
    pub fn new(steps: &[Normalize]) -> Self {
        let has = |step| steps.contains(&step);
        Normalizer {
            case: has(Normalize::Case),
            whitespace: has(Normalize::Whitespace),
            punctuation: has(Normalize::Punctuation),
            width: has(Normalize::Width),
            buffer: String::new(),
        }
    }

    fn is_off(&self) -> bool {
        !(self.case || self.whitespace || self.punctuation || self.width)
    }

    /// xxh3-128 of the normalised text; a text of which nothing is left is hashed as it is.
    pub fn hash(&mut self, text: &[u8]) -> u128 {
        match std::str::from_utf8(text) {
            Ok(valid) if !self.is_off() => {
                self.normalize(valid);
                xxh3_128(if self.buffer.is_empty() { text } else { self.buffer.as_bytes() })
            }
            _ => xxh3_128(text),
        }
    }

    fn normalize(&mut self, text: &str) {
        self.buffer.clear();
        let mut space = false;
        for character in text.chars() {
            let character = if self.width { half_width(character) } else { character };
            if self.punctuation && is_punctuation(character) {
                continue;
            }
            if self.whitespace && character.is_whitespace() {
                space = !self.buffer.is_empty();
                continue;
            }
            if std::mem::take(&mut space) {
                self.buffer.push(' ');
            }
            match self.case {
                true => self.buffer.extend(character.to_lowercase()),
                false => self.buffer.push(character),
            }
        }
    }
}

/// ASCII for the full-width form of it.
fn half_width(character: char) -> char {
    match u32::from(character) {
        0x3000 => ' ',
        code @ 0xFF01..=0xFF5E => char::from_u32(code - 0xFEE0).unwrap_or(character),
        _ => character,
    }
}

/// Marks that structure a sentence; signs that carry meaning (+, =, <, $, %) are none.
fn is_punctuation(character: char) -> bool {
    matches!(character, '!' | '"' | '\'' | '(' | ')' | ',' | '-' | '.' | '/' | ':' | ';' | '?' | '[' | ']' | '_' | '`')
        || matches!(u32::from(character),
            0xA1 | 0xAB | 0xB7 | 0xBB | 0xBF | 0x2010..=0x2027 | 0x2030..=0x205E | 0x3001..=0x3003 | 0x3008..=0x3011
            | 0x3014..=0x301F | 0x30FB | 0xFF01 | 0xFF02 | 0xFF07..=0xFF09 | 0xFF0C..=0xFF0F | 0xFF1A | 0xFF1B
            | 0xFF1F | 0xFF3B | 0xFF3D | 0xFF3F | 0xFF61..=0xFF65)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(steps: &[Normalize], left: &str, right: &str) -> bool {
        let mut normalizer = Normalizer::new(steps);
        normalizer.hash(left.as_bytes()) == normalizer.hash(right.as_bytes())
    }

    #[test]
    fn each_step_forgives_its_own_difference_alone() {
        let pairs = [
            (Normalize::Case, "The River", "the rIVER"),
            (Normalize::Whitespace, " a\n\n b", "a b"),
            (Normalize::Punctuation, "对，是的。", "对是的"),
            (Normalize::Width, "ＡＢ１　！", "AB1 !"),
        ];
        for (step, left, right) in pairs {
            assert!(same(&[step], left, right), "{step:?}");
            assert!(!same(&[], left, right), "{step:?} must be asked for");
            for (other, ..) in pairs.iter().filter(|(other, ..)| *other != step) {
                assert!(!same(&[*other], left, right), "{other:?} forgives what {step:?} should");
            }
        }
    }

    #[test]
    fn texts_of_nothing_but_marks_stay_apart() {
        assert!(!same(&[Normalize::Punctuation], "...", "???"));
        assert!(!same(&[Normalize::Punctuation], "1+1", "1=1"));
    }

    #[test]
    fn without_steps_the_hash_is_that_of_the_bytes() {
        assert_eq!(Normalizer::new(&[]).hash(b"A b"), xxh3_128(b"A b"));
    }
}

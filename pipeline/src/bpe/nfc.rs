//! Normalization form C, which most text has already: what is known to have it is passed on as it is.
//!
//! Text of characters that are in no decomposition and combine with nothing is in form C whatever it says, in every
//! version of Unicode, since what is once assigned keeps these properties. Other text is normalized by crate
//! `unicode-normalization`; Hugging Face's normalizes by Unicode 9, so code points assigned since may differ.

use std::borrow::Cow;
use std::sync::LazyLock;

use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::classes::decode;

/// A bit for each code point below U+10000 that stands in text of form C wherever it stands.
static INERT: LazyLock<Box<[u64; 1024]>> = LazyLock::new(|| {
    let mut bits = Box::new([0; 1024]);
    for c in ('\0'..='\u{ffff}').filter(|c| is_inert(*c)) {
        bits[c as usize / 64] |= 1 << (c as usize % 64);
    }
    bits
});

fn is_inert(c: char) -> bool {
    canonical_combining_class(c) == 0 && is_nfc_quick(std::iter::once(c)) == IsNormalized::Yes
}

/// With these first bytes begin U+4000 to U+9FFF, which are inert.
const INERT_LEADS: std::ops::RangeInclusive<u8> = 0xe4..=0xe9;

/// Whether each character of valid UTF-8 stands in text of form C wherever it stands.
pub fn is_inert_text(text: &[u8]) -> bool {
    let inert = &**INERT;
    let mut at = 0;
    loop {
        match text.get(at) {
            Some(byte) if *byte < 0x80 => {
                at += text.get(at..).map_or(1, |rest| rest.iter().take_while(|byte| **byte < 0x80).count());
            }
            Some(lead) if INERT_LEADS.contains(lead) => at += 3,
            Some(_) => {
                let (code_point, length) = decode(text, at);
                if inert.get(code_point as usize / 64).is_none_or(|bits| bits >> (code_point % 64) & 1 == 0) {
                    return false;
                }
                at += length;
            }
            None => return true,
        }
    }
}

/// A text in form C.
pub fn normalized(text: &[u8]) -> Cow<'_, [u8]> {
    if is_inert_text(text) {
        return Cow::Borrowed(text);
    }
    match std::str::from_utf8(text) {
        Ok(text) if is_nfc_quick(text.chars()) != IsNormalized::Yes => {
            Cow::Owned(text.nfc().collect::<String>().into_bytes())
        }
        _ => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Random;
    use super::*;

    #[test]
    fn text_is_as_the_crate_normalizes_it() {
        let mut changed = 0;
        for seed in 0..4_000 {
            let mut random = Random::new(seed);
            let mut text = random.text(30);
            for _ in 0..random.below(4) {
                text.push_str(
                    ["e\u{301}", "\u{1100}\u{1161}", "\u{2126}", "\u{ac00}\u{11a8}", "\u{30ab}\u{3099}"]
                        [random.below(5)],
                );
            }
            let expected: String = text.nfc().collect();
            changed += usize::from(text != expected);
            assert_eq!(normalized(text.as_bytes()), expected.as_bytes(), "{text:?}");
        }
        assert!(changed > 500, "{changed} texts changed");
    }

    #[test]
    fn inert_characters_are_left_alone_between_any_others() {
        assert!(('\u{4000}'..='\u{9fff}').all(is_inert));
        assert!(is_inert_text("plain, \u{4f60}\u{597d}\u{3002}\u{2026} \u{30ab}\u{ac00}\u{e9}".as_bytes()));
        for c in ["\u{301}", "\u{2126}", "\u{2000}", "\u{3099}", "\u{11a8}", "\u{1d165}", "\u{f900}"] {
            assert!(!is_inert_text(format!("text {c}").as_bytes()), "{c:?}");
        }
    }
}

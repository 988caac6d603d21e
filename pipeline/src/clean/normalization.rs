//! Steps `nfc` and `nfkc`: Unicode normalization (UAX #15), by the crate `unicode-normalization`.
//!
//! Before the crate looks at every character, a scan of bytes finds the texts that need not be looked at: form C
//! leaves everything below U+0300 alone, Han, Hangul syllables, kana without separate marks, and full-width forms.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, is_nfc, is_nfkc};

use super::edit::Edited;

/// Takes step `nfc`.
pub fn nfc(text: &str) -> Edited<'_> {
    if is_plainly_nfc(text) || is_nfc(text) {
        return Edited::same(text);
    }
    compared(text, text.nfc().collect())
}

/// Takes step `nfkc`.
pub fn nfkc(text: &str) -> Edited<'_> {
    if text.is_ascii() || is_nfkc(text) {
        return Edited::same(text);
    }
    compared(text, text.nfkc().collect())
}

/// A normalized text; characters of it that the first one did not have at that place are not counted one by one.
fn compared(text: &str, normalized: String) -> Edited<'_> {
    match normalized == text {
        true => Edited::same(text),
        false => Edited { text: Cow::Owned(normalized), changes: 1 },
    }
}

/// Whether every character is of a range that form C keeps. False says nothing.
fn is_plainly_nfc(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let next = bytes.get(at + 1).copied().unwrap_or_default();
        let last = bytes.get(at + 2).copied().unwrap_or_default();
        at += match byte {
            0..=0x7f => 1,
            // U+0080 to U+02FF.
            0xc2..=0xcb => 2,
            // General punctuation from U+2010 on; U+2000 to U+200F hold two spaces that are not.
            0xe2 if next == 0x80 && last >= 0x90 => 3,
            // CJK punctuation but for tone marks (U+302A to U+302F).
            0xe3 if next == 0x80 && last < 0xaa => 3,
            // Kana but for the separate voice marks (U+3099, U+309A).
            0xe3 if matches!(next, 0x81 | 0x83) || (next == 0x82 && !(0x99..=0x9a).contains(&last)) => 3,
            // U+4000 to U+9FFF.
            0xe4..=0xe9 => 3,
            // Hangul syllables below U+D000.
            0xeb | 0xec => 3,
            // Full-width and half-width forms.
            0xef if next >= 0xbc => 3,
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scan_calls_nothing_normal_that_is_not() {
        for c in ('\0'..=char::MAX).filter(|c| is_plainly_nfc(&c.to_string())) {
            let text = format!("a{c}\u{4e00}{c}");
            assert!(is_nfc(&text), "U+{:04X}", c as u32);
        }
    }

    #[test]
    fn marks_join_their_letter() {
        assert_eq!(nfc("e\u{301}").text, "é");
        assert_eq!(nfc("\u{212b}").text, "Å");
        assert_eq!(nfkc("ﬁ①Ａ㍿").text, "fi1A株式会社");
        assert_eq!(nfc("中文，かな！é"), Edited::same("中文，かな！é"));
    }
}

//! Steps `simplified` and `traditional`: Chinese characters of one script, by OpenCC's dictionaries (phrases before
//! characters), in the crate `simplecc`. It loads them when a step is first made.

use std::borrow::Cow;

use super::edit::Edited;
use super::profile::Profile;

/// Whether the steps may change a text with these bytes: Han characters begin with one of them.
pub fn applies(profile: &Profile) -> bool {
    (0xe3..=0xe9).any(|byte| profile.has(byte)) || profile.has(0xf0)
}

/// Takes step `simplified`.
pub fn simplified(text: &str) -> Edited<'_> {
    compared(text, simplecc::dicts::T2S.replace_all(text))
}

/// Takes step `traditional`.
pub fn traditional(text: &str) -> Edited<'_> {
    compared(text, simplecc::dicts::S2T.replace_all(text))
}

/// Counts the characters that differ, where there are as many as before.
fn compared(text: &str, converted: String) -> Edited<'_> {
    let differ = text.chars().zip(converted.chars()).filter(|(before, after)| before != after).count() as u64;
    match converted == text {
        true => Edited::same(text),
        false => Edited { text: Cow::Owned(converted), changes: differ.max(1) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_is_converted_as_a_whole() {
        assert_eq!(simplified("漢字轉換，頭髮與發展").text, "汉字转换，头发与发展");
        assert_eq!(traditional("头发与发展，皇后与后面").text, "頭髮與發展，皇后與後面");
        assert_eq!(simplified("已是简体").changes, 0);
    }
}

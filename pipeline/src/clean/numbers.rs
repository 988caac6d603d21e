//! Step `numbers`: `1,234,567` becomes `1234567`, so that one number is one string.

use super::chars::{char_at, char_before};
use super::edit::{Edit, Edited};
use super::profile::Profile;

/// Whether the step may change a text with these bytes.
pub fn applies(profile: &Profile) -> bool {
    profile.has(b',') && profile.has_digit()
}

/// Takes the step.
pub fn clean(text: &str) -> Edited<'_> {
    let bytes = text.as_bytes();
    let mut edit = Edit::new(text);
    let mut at = 0;
    while let Some(step) = bytes.get(at..).and_then(|rest| memchr::memchr(b',', rest)) {
        let comma = at + step;
        let first = digits_before(bytes, comma);
        let start = comma - first;
        let alone = !char_before(text, start).is_some_and(|c| c == ',' || c == '.' || c.is_alphanumeric());
        let commas = if (1..=3).contains(&first) && alone { groups(text, comma) } else { 0 };
        (0..commas).for_each(|index| edit.remove(comma + index * 4..comma + index * 4 + 1));
        at = (comma + commas * 4).max(comma + 1);
    }
    edit.finish()
}

fn digits_before(bytes: &[u8], at: usize) -> usize {
    let before = bytes.get(at.saturating_sub(4)..at).unwrap_or_default();
    before.iter().rev().take_while(|byte| byte.is_ascii_digit()).count()
}

/// How many groups of a comma and three digits stand at a byte; none where the last has a fourth digit.
fn groups(text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    let is_group = |index: usize| {
        let group = bytes.get(at + index * 4..at + index * 4 + 4);
        group.is_some_and(|group| group.first() == Some(&b',') && group.iter().skip(1).all(u8::is_ascii_digit))
    };
    let count = (0..).take_while(|index| is_group(*index)).count();
    let ends = !char_at(text, at + count * 4).is_some_and(|c| c.is_ascii_alphanumeric() || c == ',');
    if ends
        || char_at(text, at + count * 4 + 1).is_some_and(|c| !c.is_ascii_digit()) && !is_digit_at(bytes, at + count * 4)
    {
        count
    } else {
        0
    }
}

fn is_digit_at(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_some_and(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_between_thousands_go() {
        assert_eq!(clean("1,234,567.89元, 12,000").text, "1234567.89元, 12000");
        assert_eq!(clean("$1,000, and 2,500.").text, "$1000, and 2500.");
    }

    #[test]
    fn other_commas_stay() {
        for text in ["1,2,3", "1234,567", "1,2345", "(1,234,56)", "a1,234", "v1.1,234", "2019,12,31"] {
            assert_eq!(clean(text), Edited::same(text));
        }
    }
}

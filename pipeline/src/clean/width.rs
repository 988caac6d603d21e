//! Steps `width`, `halfwidth` and `zh_punctuation`: one width for one character.
//!
//! `width` keeps what Chinese and Japanese write full-width (，。！？ and their like); `halfwidth` makes ASCII of all
//! full-width ASCII; `zh_punctuation` goes the other way after a Han character, where text was typed with ASCII marks.

use super::chars::{char_at, char_before, is_cjk, is_han};
use super::edit::{Edit, Edited};
use super::profile::Profile;

/// Whether steps `width` and `halfwidth` may change a text with these bytes.
pub fn applies(profile: &Profile) -> bool {
    profile.has_any(&[0xef, 0xe3])
}

/// Takes step `width`.
pub fn width(text: &str) -> Edited<'_> {
    replace_each(text, |c| match c {
        '！' | '（' | '）' | '，' | '．' | '：' | '；' | '？' | '～' => None,
        c => narrow(c),
    })
}

/// Takes step `halfwidth`.
pub fn halfwidth(text: &str) -> Edited<'_> {
    replace_each(text, narrow)
}

/// The ASCII character of a full-width one, the full kana of a half-width one.
fn narrow(c: char) -> Option<char> {
    match c {
        '\u{3000}' => Some(' '),
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0),
        '\u{ff61}'..='\u{ff9d}' => HALF_KANA.chars().nth(c as usize - 0xff61),
        _ => None,
    }
}

/// Full forms of U+FF61 to U+FF9D; the voice marks that may follow (U+FF9E, U+FF9F) are left to `nfkc`.
const HALF_KANA: &str = "。「」、・ヲァィゥェォャュョッーアイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワン";

fn replace_each(text: &str, of: impl Fn(char) -> Option<char>) -> Edited<'_> {
    let mut edit = Edit::new(text);
    let mut at = 0;
    while let Some(step) = text.as_bytes().get(at..).and_then(|rest| memchr::memchr2(0xef, 0xe3, rest)) {
        at += step;
        let Some(found) = char_at(text, at) else { break };
        let end = at + found.len_utf8();
        let voiced = matches!(char_at(text, end), Some('\u{ff9e}' | '\u{ff9f}'));
        if let Some(new) = of(found).filter(|_| !voiced) {
            edit.replace(at..end, new.encode_utf8(&mut [0; 4]));
        }
        at = end;
    }
    edit.finish()
}

/// Takes step `zh_punctuation`.
pub fn zh_punctuation(text: &str) -> Edited<'_> {
    let mut edit = Edit::new(text);
    for (at, mark) in text.match_indices([',', '.', '!', '?', ':', ';']) {
        let next = char_at(text, at + 1);
        // A mark between a Han character and a letter or digit may belong to a number, a name, a time.
        let is_prose = next.is_none_or(|c| is_cjk(c) || c.is_whitespace() || matches!(c, '"' | '\'' | ')'));
        if is_prose && char_before(text, at).is_some_and(is_han) {
            let wide = match mark {
                "." => '。',
                mark => mark.chars().next().and_then(|c| char::from_u32(c as u32 + 0xfee0)).unwrap_or(' '),
            };
            edit.replace(at..at + 1, wide.encode_utf8(&mut [0; 4]));
        }
    }
    edit.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_digits_become_ascii_and_chinese_marks_stay() {
        assert_eq!(width("ＡＢＣ，１２３！（ａ＋ｂ）％ ｱｲｳ").text, "ABC，123！（a+b）% アイウ");
        assert_eq!(halfwidth("ＡＢＣ，１２３！\u{3000}（ａ）").text, "ABC,123! (a)");
    }

    #[test]
    fn the_table_of_kana_has_one_for_each() {
        assert_eq!(HALF_KANA.chars().count(), 0xff9d - 0xff61 + 1);
        assert_eq!(narrow('\u{ff9d}'), Some('ン'));
    }

    #[test]
    fn ascii_marks_after_han_become_full_width() {
        assert_eq!(zh_punctuation("你好,世界.真的吗?\n3.5元,v1.2").text, "你好，世界。真的吗？\n3.5元,v1.2");
        assert_eq!(zh_punctuation("版本1.2, see a.b:c"), Edited::same("版本1.2, see a.b:c"));
    }
}

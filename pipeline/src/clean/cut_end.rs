//! Step `cut_end`: a text that was cut in the middle of a sentence loses the piece. A text without a whole sentence
//! stays: a list, a poem, a heading.

use super::edit::{Edit, Edited};
use super::sentences;

/// Marks after which nothing is missing.
const WHOLE: [char; 22] = [
    '。', '！', '？', '；', '…', '.', '!', '?', '”', '’', '」', '』', '）', '】', '》', '"', '\'', ')', ']', '>', '`',
    ';',
];

/// Takes the step.
pub fn clean(text: &str) -> Edited<'_> {
    let seen = text.trim_end();
    if seen.is_empty() || seen.ends_with(WHOLE) {
        return Edited::same(text);
    }
    let mut edit = Edit::new(text);
    if let Some(end) = sentences::ends(seen).last() {
        edit.remove(end..text.len());
    }
    edit.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_sentence_goes() {
        assert_eq!(clean("第一句。第二句被截").text, "第一句。");
        assert_eq!(clean("One. Two is cu").text, "One.");
        assert_eq!(clean("工作做出更多的贡献.借此机会,我们").text, "工作做出更多的贡献.");
    }

    #[test]
    fn whole_texts_and_texts_without_sentences_stay() {
        for text in ["完。", "He said \"no.\"", "标题", "a\nb\nc", "", "第一句。（注）"] {
            assert_eq!(clean(text), Edited::same(text));
        }
    }
}

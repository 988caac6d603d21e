//! Step `sentences`: one sentence a line; and where sentences end, which step `cut_end` asks too.
//!
//! A Chinese sentence ends at 。！？；… and the closing quotes behind; an English one at . ! ? before white space and
//! what can begin a sentence, unless an abbreviation, an initial or a number stands before the point.

use super::chars::{char_at, char_before, is_cjk};
use super::edit::{Edit, Edited};

/// Takes the step.
pub fn clean(text: &str) -> Edited<'_> {
    let mut edit = Edit::new(text);
    for end in ends(text) {
        let rest = text.get(end..).unwrap_or_default();
        let after = rest.trim_start_matches([' ', '\t', '\u{3000}']);
        if !after.is_empty() && !after.starts_with(['\n', '\r']) {
            edit.replace(end..end + (rest.len() - after.len()), "\n");
        }
    }
    edit.finish()
}

/// Where sentences end: one past the mark and what closes with it, in ascending order.
pub fn ends(text: &str) -> impl Iterator<Item = usize> + '_ {
    let mut from = 0;
    std::iter::from_fn(move || {
        while let Some(step) = text.get(from..)?.find(is_mark) {
            let first = from + step;
            let marks = text.get(first..)?;
            let last = first + marks.find(|c| !is_mark(c)).unwrap_or(marks.len());
            let closers = text.get(last..)?;
            let end = last + closers.find(|c| !is_closer(c)).unwrap_or(closers.len());
            from = end;
            if is_end(text, first, last, end) {
                return Some(end);
            }
        }
        None
    })
}

fn is_mark(c: char) -> bool {
    matches!(c, '。' | '！' | '？' | '；' | '…' | '.' | '!' | '?')
}

fn is_closer(c: char) -> bool {
    matches!(c, '”' | '’' | '」' | '』' | '）' | '】' | '》' | '"' | '\'' | ')' | ']')
}

/// Whether marks at `first..last`, closed until `end`, end a sentence.
fn is_end(text: &str, first: usize, last: usize, end: usize) -> bool {
    let marks = text.get(first..last).unwrap_or_default();
    if !marks.is_ascii() {
        return true;
    }
    let next = char_at(text, end);
    let spaced = text.get(end..).unwrap_or_default().trim_start().chars().next();
    let begins = match (next, spaced) {
        (None, _) | (_, None) => true,
        (Some(next), _) if is_cjk(next) => true,
        (Some('\n'), _) => true,
        (Some(next), Some(first)) => {
            next.is_whitespace() && (!first.is_lowercase() || is_cjk(first)) && !matches!(first, ',' | ';' | ':')
        }
    };
    begins && (marks != "." || !is_abbreviated(text, first))
}

/// Whether a point belongs to the word before it.
fn is_abbreviated(text: &str, point: usize) -> bool {
    let before = text.get(..point).unwrap_or_default();
    let tail =
        before.char_indices().rev().take(WORD_CHARS_MAX).take_while(|(_, c)| c.is_ascii_alphabetic() || *c == '.');
    let start = tail.last().map_or(point, |(start, _)| start);
    let word = before.get(start..).unwrap_or_default();
    let initial = word.len() == 1 && word.starts_with(|c: char| c.is_ascii_uppercase());
    let numbered = char_before(text, point).is_some_and(|c| c.is_ascii_digit()) && is_list_number(before);
    initial || numbered || word.contains('.') || ABBREVIATIONS.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// `3.` at the start of a line numbers an item.
fn is_list_number(before: &str) -> bool {
    // Only what touches the point is looked at: a long line may have many.
    let digits = before.bytes().rev().take(4).take_while(u8::is_ascii_digit).count();
    let line_start = before.get(..before.len() - digits).unwrap_or_default().trim_end_matches(' ');
    (1..=3).contains(&digits) && (line_start.is_empty() || line_start.ends_with('\n'))
}

const WORD_CHARS_MAX: usize = 8;

const ABBREVIATIONS: [&str; 30] = [
    "mr", "mrs", "ms", "dr", "prof", "sr", "jr", "st", "vs", "etc", "inc", "ltd", "co", "corp", "no", "vol", "fig",
    "eq", "al", "cf", "approx", "dept", "est", "gen", "gov", "sen", "rep", "rev", "ed", "eds",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sentence_a_line() {
        for (text, expected) in [
            ("今天好。“明天呢？”他问。走吧", "今天好。\n“明天呢？”\n他问。\n走吧"),
            ("It is. Is it? \"Yes!\" Ok.", "It is.\nIs it?\n\"Yes!\"\nOk."),
            ("一句。\n二句！", "一句。\n二句！"),
            ("发出的信.可以是", "发出的信.\n可以是"),
        ] {
            assert_eq!(clean(text).text, expected);
            assert_eq!(clean(expected).changes, 0, "{expected}");
        }
    }

    #[test]
    fn points_inside_words_and_numbers_end_nothing() {
        for text in
            ["Dr. Smith paid $3.50", "e.g. this", "J. K. Rowling", "see a.b.c and U.S. Army", "1. First", "v1.2"]
        {
            assert_eq!(clean(text), Edited::same(text), "{text}");
        }
    }
}

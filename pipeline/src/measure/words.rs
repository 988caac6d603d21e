//! What a word is: several answers, chosen per group of columns and recorded in the configuration.

use schemas::config::Words;

use super::classes::{CJK, Classes, LETTER, PUNCTUATION, SPACE};

/// Calls `each` with every word of a text, in order.
pub(super) fn each_word<'a>(text: &'a str, how: Words, classes: &Classes, each: &mut dyn FnMut(&'a str)) {
    match how {
        // Pieces of a model are the splitter's.
        Words::Whitespace | Words::Sentencepiece => {
            text.split([' ', '\n', '\t']).filter(|word| !word.is_empty()).for_each(each)
        }
        Words::Punctuation => pieces(text, classes).for_each(|piece| each_part(piece, classes, each)),
        Words::Characters => each_character_word(text, classes, each),
    }
}

/// What lies between white space.
pub(super) fn pieces<'a>(text: &'a str, classes: &Classes) -> impl Iterator<Item = &'a str> {
    text.split(|c| classes.of(c) & SPACE != 0).filter(|piece| !piece.is_empty())
}

/// Removes white space at both ends, as Python's `strip()` does.
pub(super) fn strip<'a>(text: &'a str, classes: &Classes) -> &'a str {
    text.trim_matches(|c| classes.of(c) & SPACE != 0)
}

/// Removes characters of a class at both ends.
pub(super) fn strip_class<'a>(word: &'a str, class: u16, classes: &Classes) -> &'a str {
    word.trim_matches(|c| classes.of(c) & class != 0)
}

/// Marks at both ends are words of their own, dots that follow each other one word; so are the parts around a hyphen
/// between letters, and the shortened verb of "don't" and "it's". This is near to what spaCy makes of English.
fn each_part<'a>(piece: &'a str, classes: &Classes, each: &mut dyn FnMut(&'a str)) {
    let is_mark = |c: char| classes.of(c) & PUNCTUATION != 0 || matches!(c, '\'' | '•' | '‘' | '’');
    let core = piece.trim_matches(is_mark);
    if core.is_empty() {
        return each_mark(piece, each);
    }
    let start = core.as_ptr() as usize - piece.as_ptr() as usize;
    let (before, rest) = piece.split_at_checked(start).unwrap_or((piece, ""));
    let (core, after) = rest.split_at_checked(core.len()).unwrap_or((rest, ""));
    each_mark(before, each);
    each_hyphenated(core, classes, each);
    each_mark(after, each);
}

/// One mark a word; dots that follow each other are one.
fn each_mark<'a>(marks: &'a str, each: &mut dyn FnMut(&'a str)) {
    let mut rest = marks;
    while let Some(first) = rest.chars().next() {
        let dots = rest.len() - rest.trim_start_matches('.').len();
        let (mark, tail) = rest.split_at_checked(dots.max(first.len_utf8())).unwrap_or((rest, ""));
        each(mark);
        rest = tail;
    }
}

fn each_hyphenated<'a>(core: &'a str, classes: &Classes, each: &mut dyn FnMut(&'a str)) {
    let letter = |c: Option<char>| c.is_some_and(|c| classes.of(c) & LETTER != 0);
    let mut rest = core;
    let mut from = 0;
    while let Some(at) = rest.get(from..).and_then(|tail| tail.find('-')).map(|at| at + from) {
        let (left, right) = (rest.get(..at).unwrap_or_default(), rest.get(at + 1..).unwrap_or_default());
        if letter(left.chars().next_back()) && letter(right.chars().next()) {
            each_contracted(left, each);
            each(rest.get(at..at + 1).unwrap_or_default());
            rest = right;
            from = 0;
        } else {
            from = at + 1;
        }
    }
    each_contracted(rest, each);
}

const CONTRACTIONS: [&str; 14] =
    ["n't", "'s", "'re", "'ve", "'ll", "'d", "'m", "n’t", "’s", "’re", "’ve", "’ll", "’d", "’m"];

fn each_contracted<'a>(word: &'a str, each: &mut dyn FnMut(&'a str)) {
    let short = |ending: &&&str| word.len() > ending.len() && word.ends_with(**ending);
    let stem = CONTRACTIONS.iter().find(short).map_or(word.len(), |ending| word.len() - ending.len());
    let (stem, ending) = word.split_at_checked(stem).unwrap_or((word, ""));
    each(stem);
    if !ending.is_empty() {
        each(ending);
    }
}

/// As by punctuation; moreover every Chinese, Japanese or Korean character is a word.
fn each_character_word<'a>(text: &'a str, classes: &Classes, each: &mut dyn FnMut(&'a str)) {
    for piece in pieces(text, classes) {
        let mut rest = piece;
        while !rest.is_empty() {
            let other = rest.find(|c| classes.of(c) & CJK != 0).unwrap_or(rest.len());
            let (run, tail) = rest.split_at_checked(other).unwrap_or((rest, ""));
            if !run.is_empty() {
                each_part(run, classes, each);
            }
            let len = tail.chars().next().map_or(0, char::len_utf8);
            let (character, tail) = tail.split_at_checked(len).unwrap_or((tail, ""));
            if !character.is_empty() {
                each(character);
            }
            rest = tail;
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::config::SpecialCharacters;

    use super::*;

    fn words(text: &str, how: Words) -> Vec<&str> {
        let mut words = Vec::new();
        each_word(text, how, Classes::get(SpecialCharacters::Compatible), &mut |word| words.push(word));
        words
    }

    #[test]
    fn data_juicer_splits_at_three_characters_alone() {
        assert_eq!(words("a  b\tc\nd\u{3000}e\rf", Words::Whitespace), ["a", "b", "c", "d\u{3000}e\rf"]);
    }

    #[test]
    fn marks_at_the_ends_are_words() {
        assert_eq!(
            words("(\"Well-known,\" he didn't say...) 3-4 - ok", Words::Punctuation),
            ["(", "\"", "Well", "-", "known", ",", "\"", "he", "did", "n't", "say", "...", ")", "3-4", "-", "ok"]
        );
    }

    #[test]
    fn a_chinese_character_is_a_word() {
        assert_eq!(words("用Rust写，很快。 ok", Words::Characters), ["用", "Rust", "写", "，", "很", "快", "。", "ok"]);
    }
}

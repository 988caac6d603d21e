//! Step `flagged_words`: words of a list the user gives give way to a placeholder, each category counted by itself.
//!
//! A word that begins or ends with an ASCII letter or digit is found as a whole word only; Chinese words anywhere. Of
//! words that begin at one place the longest is taken. ASCII case does not matter.

use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};

use super::chars::{char_at, char_before, is_ascii_word};
use super::edit::{Edit, Edited};

/// The words of one category.
#[derive(Debug)]
pub struct Words {
    words: AhoCorasick,
}

impl Words {
    /// Makes ready to find these words.
    ///
    /// # Errors
    /// Where they are too many for one automaton.
    pub fn new(words: &[String]) -> Result<Words, aho_corasick::BuildError> {
        let mut builder = AhoCorasick::builder();
        builder.ascii_case_insensitive(true).match_kind(MatchKind::LeftmostLongest);
        Ok(Words { words: builder.build(words)? })
    }

    /// Takes the step.
    pub fn clean<'a>(&self, text: &'a str, placeholder: &str) -> Edited<'a> {
        let mut edit = Edit::new(text);
        self.find(text).for_each(|found| edit.replace(found, placeholder));
        edit.finish()
    }

    /// Where words stand.
    pub fn find<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
        let whole = |found: &aho_corasick::Match| {
            let (start, end) = (found.start(), found.end());
            let cut_before = is_ascii_word(char_at(text, start)) && is_ascii_word(char_before(text, start));
            let cut_after = is_ascii_word(char_before(text, end)) && is_ascii_word(char_at(text, end));
            !cut_before && !cut_after
        };
        self.words.find_iter(text).filter(whole).map(|found| found.range())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_whole_and_chinese_ones_anywhere() {
        let words = Words::new(&["ass".to_owned(), "坏词".to_owned(), "坏词组".to_owned()]).unwrap();
        assert_eq!(words.clean("Ass, class 坏词组和坏词", "*").text, "*, class *和*");
        assert_eq!(words.clean("assassin", "*"), Edited::same("assassin"));
    }
}

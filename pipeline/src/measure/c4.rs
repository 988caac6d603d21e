//! The statistics of C4's filter (Raffel et al. 2020), as datatrove computes them.
//!
//! C4 judges line by line, in a fixed order of reasons, and drops the whole document for some of them. The counts here
//! are of lines that came as far as that reason, so that a condition over them drops the documents that C4 drops.

use super::characters;
use super::classes::Classes;
use super::lines::python_lines;
use super::words::{pieces, strip};

/// C4's statistics of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct C4 {
    pub lines: u64,
    pub kept_lines: u64,
    pub sentences: u64,
    pub lorem_ipsum: u64,
    pub curly_bracket: u64,
}

const WORD_CHARS_MAX: usize = 1000;
const LINE_WORDS_MIN: usize = 3;
const POLICY: [&str; 6] =
    ["terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"];

enum Fate {
    Left,
    Kept,
    LoremIpsum,
    CurlyBracket,
}

/// Measures a text.
pub(super) fn measure(text: &str, classes: &Classes) -> C4 {
    let mut found = C4::default();
    for line in python_lines(text) {
        found.lines += 1;
        let line = strip(line, classes);
        let cited = without_citations(line);
        let shown = cited.as_deref().unwrap_or(line);
        match fate(line, shown, classes) {
            Fate::Left => {}
            Fate::LoremIpsum => found.lorem_ipsum += 1,
            Fate::CurlyBracket => found.curly_bracket += 1,
            Fate::Kept => {
                found.kept_lines += 1;
                found.sentences += characters::count(shown, classes).sentences.max(1);
            }
        }
    }
    found
}

/// The reasons, in C4's order. Words are those of the line with its citations.
fn fate(line: &str, shown: &str, classes: &Classes) -> Fate {
    let too_long = |word: &str| word.len() > WORD_CHARS_MAX && word.chars().nth(WORD_CHARS_MAX).is_some();
    if line.len() > WORD_CHARS_MAX && pieces(line, classes).any(too_long) {
        return Fate::Left;
    }
    if !shown.ends_with(['.', '?', '!', '"', '\'']) || shown.ends_with("...") {
        return Fate::Left;
    }
    if pieces(line, classes).take(LINE_WORDS_MIN).count() < LINE_WORDS_MIN {
        return Fate::Left;
    }
    let lower = shown.to_lowercase();
    if lower.contains("lorem ipsum") {
        Fate::LoremIpsum
    } else if lower.contains("javascript") {
        Fate::Left
    } else if shown.contains('{') {
        Fate::CurlyBracket
    } else if POLICY.iter().any(|policy| lower.contains(policy)) {
        Fate::Left
    } else {
        Fate::Kept
    }
}

/// The line without `[12]`, `[]`, `[edit]` and `[citation needed]`; None where there is none of them.
fn without_citations(line: &str) -> Option<String> {
    line.contains('[').then_some(())?;
    let mut kept = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('[') {
        let (before, from) = rest.split_at_checked(at)?;
        kept.push_str(before);
        let citation = citation_bytes(from);
        kept.push_str(if citation == 0 { "[" } else { "" });
        rest = from.get(citation.max(1)..)?;
    }
    kept.push_str(rest);
    (kept.len() < line.len()).then_some(kept)
}

/// Bytes of the citation at the start of `text`; 0 where there is none.
fn citation_bytes(text: &str) -> usize {
    let inside = text.strip_prefix('[').and_then(|text| text.split_once(']')).map(|(inside, _)| inside);
    let is_citation =
        |inside: &&str| inside.chars().all(|c| c.is_ascii_digit()) || *inside == "edit" || *inside == "citation needed";
    inside.filter(is_citation).map_or(0, |inside| inside.len() + 2)
}

#[cfg(test)]
mod tests {
    use schemas::config::SpecialCharacters;

    use super::*;

    fn of(text: &str) -> C4 {
        measure(text, Classes::get(SpecialCharacters::Compatible))
    }

    #[test]
    fn lines_without_an_end_or_three_words_are_left() {
        let found = of("This line is kept. It has two sentences.\nno end here at all\nToo short.\nWait for it...");
        assert_eq!((found.lines, found.kept_lines, found.sentences), (4, 1, 2));
    }

    #[test]
    fn a_citation_behind_the_full_stop_does_not_hide_it() {
        assert_eq!(of("A well known fact.[12][citation needed]").kept_lines, 1);
        assert_eq!(of("A well known fact.[sic]").kept_lines, 0);
    }

    #[test]
    fn reasons_to_drop_the_document_count_only_in_lines_that_reach_them() {
        let found = of("Lorem ipsum dolor sit.\nfn main() { }\nA brace { in prose.\nUse javascript { here.");
        assert_eq!((found.lorem_ipsum, found.curly_bracket, found.kept_lines), (1, 1, 0));
    }
}

//! What one pass over the characters of a text counts: classes, lines, sentences.

use super::classes::{CJK, Classes, LETTER, LINE_END, NUMBER, SPACE, SPECIAL, TERMINAL};

/// Counts over the characters of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CharacterCounts {
    /// Code points.
    pub chars: u64,
    /// Letters and numbers.
    pub alnum: u64,
    /// Special characters.
    pub special: u64,
    /// Han, kana, hangul.
    pub cjk: u64,
    /// Line feeds.
    pub line_feeds: u64,
    /// Lines.
    pub lines: u64,
    /// Characters of the longest line, without its end.
    pub longest_line: u64,
    /// Sentences.
    pub sentences: u64,
    /// Lines that hold more than white space.
    pub filled_lines: u64,
    /// Filled lines whose last character, white space aside, does not end a sentence.
    pub open_lines: u64,
}

/// Quotation marks and brackets that may close a sentence after its mark.
const CLOSING: [char; 12] = ['"', '\'', ')', ']', '}', '”', '’', '」', '』', '）', '】', '》'];

/// One pass over a text.
struct Counter {
    counts: CharacterCounts,
    line_start: u64,
    /// The sentence so far holds a letter or number.
    sentence_filled: bool,
    /// The character before was a mark after which a sentence may end: a full stop only before white space.
    after_full_stop: bool,
    line_filled: bool,
    line_closed: bool,
    before: u32,
}

/// Counts the characters of a text.
pub(super) fn count(text: &str, classes: &Classes) -> CharacterCounts {
    let mut counter = Counter {
        counts: CharacterCounts::default(),
        line_start: 0,
        sentence_filled: false,
        after_full_stop: false,
        line_filled: false,
        line_closed: false,
        before: 0,
    };
    let mut rest = text.as_bytes();
    loop {
        let (code, class, len) = classes.next(rest);
        if len == 0 {
            break;
        }
        rest = rest.get(len..).unwrap_or_default();
        counter.add(code, class);
    }
    counter.finish()
}

const LINE_FEED: u32 = 0x0a;
const CARRIAGE_RETURN: u32 = 0x0d;
const FULL_STOP: u32 = 0x2e;
const ELLIPSIS: u32 = 0x2026;

impl Counter {
    #[inline]
    fn add(&mut self, code: u32, class: u16) {
        let counts = &mut self.counts;
        counts.chars += 1;
        counts.alnum += u64::from(class & (LETTER | NUMBER) != 0);
        counts.special += u64::from(class & SPECIAL != 0);
        counts.cjk += u64::from(class & CJK != 0);
        if class & (LETTER | NUMBER) != 0 {
            self.sentence_filled = true;
            self.line_filled = true;
            self.line_closed = false;
            self.after_full_stop = false;
        } else {
            self.mark(code, class);
        }
        self.before = code;
    }

    /// Everything that is neither letter nor number.
    fn mark(&mut self, code: u32, class: u16) {
        if class & SPACE != 0 && self.after_full_stop {
            self.end_sentence();
        }
        if class & LINE_END != 0 {
            self.end_line(code);
        } else if class & SPACE == 0 {
            self.line_filled = true;
            let ends = class & TERMINAL != 0 || code == ELLIPSIS;
            let closes = self.line_closed && char::from_u32(code).is_some_and(|c| CLOSING.contains(&c));
            self.line_closed = ends || closes;
            self.after_full_stop = code == FULL_STOP || (self.after_full_stop && closes);
            if ends && code != FULL_STOP {
                self.end_sentence();
            }
        }
    }

    fn end_line(&mut self, code: u32) {
        if code == LINE_FEED {
            self.counts.line_feeds += 1;
            if self.before == CARRIAGE_RETURN {
                self.line_start = self.counts.chars;
                return;
            }
        }
        self.close_line(self.counts.chars - 1 - self.line_start);
        self.line_start = self.counts.chars;
    }

    fn close_line(&mut self, chars: u64) {
        self.end_sentence();
        let counts = &mut self.counts;
        counts.lines += 1;
        counts.longest_line = counts.longest_line.max(chars);
        counts.filled_lines += u64::from(self.line_filled);
        counts.open_lines += u64::from(self.line_filled && !self.line_closed);
        self.line_filled = false;
        self.line_closed = false;
        self.after_full_stop = false;
    }

    fn end_sentence(&mut self) {
        self.counts.sentences += u64::from(self.sentence_filled);
        self.sentence_filled = false;
        self.after_full_stop = false;
    }

    fn finish(mut self) -> CharacterCounts {
        if self.line_start < self.counts.chars {
            self.close_line(self.counts.chars - self.line_start);
        }
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use schemas::config::SpecialCharacters;

    use super::*;

    fn counts(text: &str) -> CharacterCounts {
        count(text, Classes::get(SpecialCharacters::Compatible))
    }

    fn lines(text: &str) -> (u64, u64) {
        let counts = counts(text);
        (counts.lines, counts.longest_line)
    }

    #[test]
    fn lines_break_where_splitlines_does() {
        assert_eq!(lines(""), (0, 0));
        assert_eq!(lines("\n"), (1, 0));
        assert_eq!(lines("a\r\nbb\rc\n"), (3, 2));
        assert_eq!(lines("a\n\r"), (2, 1));
        assert_eq!(lines("a\u{b}b\u{c}c\u{1c}d\u{1d}e\u{1e}f\u{85}g\u{2028}h\u{2029}i"), (9, 1));
        assert_eq!(lines("a\u{1f}b"), (1, 3));
    }

    #[test]
    fn sentences_end_at_marks_and_lines_but_not_inside_numbers() {
        assert_eq!(counts("It is 3.14. Is it?! Yes").sentences, 3);
        assert_eq!(counts("他来了。她说：“好！”\n完").sentences, 3);
        assert_eq!(counts("... !!! ---\n\n").sentences, 0);
        assert_eq!(counts("He said \"no.\" She left.").sentences, 2);
    }

    #[test]
    fn a_line_is_open_when_no_mark_ends_it() {
        let counts = counts("A title\nIt ends.\n“引号。”\n \n半句");
        assert_eq!((counts.filled_lines, counts.open_lines), (4, 2));
    }
}

//! Step `whitespace`: spaces in a row become one, lines lose the space at their end, more than one blank line becomes
//! one, every kind of line end becomes `\n`, and the text begins and ends with what can be seen.
//!
//! Indentation of ASCII spaces and tabs stays (code); indentation of other spaces (Chinese paragraphs) goes.

use std::borrow::Cow;

use super::edit::Edited;

/// Takes the step.
pub fn clean(text: &str) -> Edited<'_> {
    if is_tidy(text.as_bytes()) {
        return Edited::same(text);
    }
    let mut tidy = Tidy { out: String::with_capacity(text.len()), changes: 0, blank: 0 };
    let mut rest = text;
    while !rest.is_empty() {
        let (line, end_bytes) = split_line(rest);
        tidy.line(line);
        let after = line.len() + end_bytes;
        tidy.changes += u64::from(end_bytes > 0 && rest.get(line.len()..after).is_none_or(|end| end != "\n"));
        rest = rest.get(after..).unwrap_or_default();
    }
    let kept = tidy.out.trim_end().len();
    tidy.out.truncate(kept);
    match tidy.out == text {
        true => Edited::same(text),
        false => Edited { changes: tidy.changes.max(1), text: Cow::Owned(tidy.out) },
    }
}

/// The first line and how many bytes its end has.
fn split_line(text: &str) -> (&str, usize) {
    let is_end = |c| matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let Some(end) = text.find(is_end) else { return (text, 0) };
    let (line, rest) = text.split_at(end);
    let length = if rest.starts_with("\r\n") { 2 } else { rest.chars().next().map_or(0, char::len_utf8) };
    (line, length)
}

struct Tidy {
    out: String,
    changes: u64,
    blank: usize,
}

impl Tidy {
    fn line(&mut self, line: &str) {
        let content = line.trim_end();
        self.changes += u64::from(content.len() < line.len());
        if content.is_empty() {
            self.blank += 1;
            self.changes += u64::from(self.blank == 2 || self.out.is_empty());
            return;
        }
        if !self.out.is_empty() {
            self.out.push_str(if self.blank > 0 { "\n\n" } else { "\n" });
        }
        self.blank = 0;
        let body = content.trim_start();
        let indentation = content.get(..content.len() - body.len()).unwrap_or_default();
        if indentation.is_ascii() && !self.out.is_empty() {
            self.out.push_str(indentation);
        } else {
            self.changes += u64::from(!indentation.is_empty());
        }
        self.words(body);
    }

    fn words(&mut self, body: &str) {
        let mut rest = body;
        while let Some(start) = rest.find(char::is_whitespace) {
            let (word, spaces) = rest.split_at(start);
            let after = spaces.trim_start();
            let run = spaces.get(..spaces.len() - after.len()).unwrap_or_default();
            let folded = if run == "\t" { "\t" } else { " " };
            self.changes += u64::from(run != folded);
            self.out.push_str(word);
            self.out.push_str(folded);
            rest = after;
        }
        self.out.push_str(rest);
    }
}

/// Whether there is nothing to do, by bytes.
fn is_tidy(bytes: &[u8]) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t' | b'\n'));
    if is_space(bytes.first()) || is_space(bytes.last()) {
        return false;
    }
    let mut at = 0;
    let mut in_indentation = false;
    while let Some(&byte) = bytes.get(at) {
        let next = bytes.get(at + 1);
        match byte {
            b'\n' => {
                if next == Some(&b'\n') && bytes.get(at + 2) == Some(&b'\n') {
                    return false;
                }
                in_indentation = true;
                at += 1;
                continue;
            }
            b' ' | b'\t' => match next {
                Some(b'\n') => return false,
                Some(b' ' | b'\t') if !in_indentation => return false,
                _ => {
                    at += 1;
                    continue;
                }
            },
            b'\r' | 0xb | 0xc => return false,
            0xc2 if matches!(next, Some(0x85 | 0xa0)) => return false,
            0xe1 if matches!((next, bytes.get(at + 2)), (Some(0x9a), Some(0x80))) => return false,
            0xe2 if matches!((next, bytes.get(at + 2)), (Some(0x80), Some(0x80..=0x8a | 0xa8 | 0xa9 | 0xaf)))
                || matches!((next, bytes.get(at + 2)), (Some(0x81), Some(0x9f))) =>
            {
                return false;
            }
            0xe3 if matches!((next, bytes.get(at + 2)), (Some(0x80), Some(0x80))) => return false,
            _ => {}
        }
        in_indentation = false;
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spaces_lines_and_ends_are_folded() {
        let text = "\n  a  b \u{3000}c\t\td\r\n\u{3000}\u{3000}段落\u{a0}x \n\n\n\n    code\te\u{2028}end \n ";
        assert_eq!(clean(text).text, "a b c d\n段落 x\n\n    code\te\nend");
    }

    #[test]
    fn nothing_but_space_is_nothing() {
        assert_eq!(clean(" \u{3000}\n\t").text, "");
    }

    proptest! {
        #[test]
        fn the_scan_calls_nothing_tidy_that_is_not(text in "[a \t\n\r\u{b}\u{85}\u{a0}\u{1680}\u{2003}\u{2028}\u{205f}\u{3000}中]{0,24}") {
            let folded = clean(&text).text.into_owned();
            prop_assert!(is_tidy(folded.as_bytes()), "{folded:?}");
            prop_assert_eq!(&clean(&folded).text, &folded);
        }
    }
}

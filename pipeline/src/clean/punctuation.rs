//! Step `punctuation`: marks piled up become what one writer would have put: `！！！！` one mark, `......` three dots,
//! `?!?!?!` each mark once, rows of `=`, `-`, `*` three.

use super::chars::char_at;
use super::edit::{Edit, Edited};

/// How a run of one mark is cut: runs of at least `min` become `keep`.
struct Limit {
    min: usize,
    keep: usize,
}

fn limit(c: char) -> Option<Limit> {
    let (min, keep) = match c {
        '!' | '?' | '！' | '？' | '，' | '。' | '、' | '；' | '：' | '～' | '·' | '．' => (3, 1),
        '…' | '—' => (3, 2),
        ',' | ';' | ':' => (4, 1),
        '.' => (4, 3),
        '-' | '=' | '_' | '*' | '#' | '+' | '~' | '/' | '\\' | '|' | '<' | '>' | '^' | '&' | '@' | '$' | '%' | '"'
        | '\'' | '`' => (6, 3),
        _ => return None,
    };
    Some(Limit { min, keep })
}

/// Bytes with which a mark begins.
const CANDIDATE: [bool; 256] = candidates();

const fn candidates() -> [bool; 256] {
    let mut table = [false; 256];
    let marks = b"!?,;:.-=_*#+~/\\|<>^&@$%\"'`\xc2\xe2\xe3\xef";
    let mut index = 0;
    while index < marks.len() {
        table[marks[index] as usize] = true;
        index += 1;
    }
    table
}

/// Takes the step.
pub fn clean(text: &str) -> Edited<'_> {
    let bytes = text.as_bytes();
    let mut edit = Edit::new(text);
    let mut at = 0;
    while let Some(step) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| CANDIDATE[usize::from(*byte)])) {
        at += step;
        let length = sequence_length(bytes.get(at).copied().unwrap_or_default());
        // Two marks side by side begin with two candidates; everything else is passed by without decoding.
        let doubled = bytes.get(at + length).is_some_and(|byte| CANDIDATE[usize::from(*byte)]);
        at = if doubled { run(text, at, &mut edit) } else { at + length };
    }
    edit.finish()
}

fn sequence_length(lead: u8) -> usize {
    match lead {
        0..=0x7f => 1,
        0x80..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    }
}

/// Cuts the run that begins at a byte; returns where it ends.
fn run(text: &str, at: usize, edit: &mut Edit<'_>) -> usize {
    let Some(first) = char_at(text, at) else { return at + 1 };
    let rest = text.get(at..).unwrap_or_default();
    if is_cry(first) {
        return cries(rest, at, edit);
    }
    let bytes = rest.find(|c| c != first).unwrap_or(rest.len());
    let count = bytes / first.len_utf8();
    if let Some(limit) = limit(first)
        && count >= limit.min
    {
        edit.remove(at + limit.keep * first.len_utf8()..at + bytes);
    }
    at + bytes
}

fn is_cry(c: char) -> bool {
    matches!(c, '!' | '?' | '！' | '？')
}

/// A run of question and exclamation marks keeps the first of each.
fn cries(rest: &str, at: usize, edit: &mut Edit<'_>) -> usize {
    let bytes = rest.find(|c| !is_cry(c)).unwrap_or(rest.len());
    let run = rest.get(..bytes).unwrap_or_default();
    let mut distinct = String::new();
    for c in run.chars().filter(|c| is_cry(*c)) {
        if !distinct.contains(c) {
            distinct.push(c);
        }
    }
    let most = if distinct.chars().count() == 1 { 2 } else { distinct.chars().count() };
    if run.chars().count() > most {
        edit.replace(at..at + bytes, &distinct);
    }
    at + bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn piled_marks_are_cut() {
        for (text, expected) in [
            ("好！！！！！", "好！"),
            ("真的?!?!?!", "真的?!"),
            ("等等。。。。", "等等。"),
            ("well......", "well..."),
            ("………………", "……"),
            ("==========\n----------", "===\n---"),
            ("什么，，，，呢", "什么，呢"),
        ] {
            assert_eq!(clean(text).text, expected);
            assert_eq!(clean(expected).changes, 0);
        }
    }

    #[test]
    fn what_one_writes_on_purpose_stays() {
        for text in ["好！！", "wait...", "……", "---", "a::b", "x == y && z", "```rust", "https://a.b", "“‘引’”。"]
        {
            assert_eq!(clean(text), Edited::same(text));
        }
    }
}

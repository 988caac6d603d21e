//! Step `markdown`: Markdown becomes text: marks of headings, quotations, emphasis, rules, fences and tables go; of
//! links and images their words stay. The text of code stays as it is.

use super::edit::{Edit, Edited};
use super::profile::Profile;

/// Whether the step may change a text with these bytes.
pub fn applies(profile: &Profile) -> bool {
    profile.has_any(b"#>*_`[~-|")
}

/// Takes the step.
pub fn clean(text: &str) -> Edited<'_> {
    let mut edit = Edit::new(text);
    let mut at = 0;
    let mut in_code = false;
    for line in text.split_inclusive('\n') {
        let body = line.trim_end_matches(['\n', '\r']);
        if is_fence(body) {
            in_code = !in_code;
            edit.remove(at..at + line.len());
        } else if !in_code && (is_rule(body) || is_table_rule(body)) {
            edit.remove(at..at + line.len());
        } else if !in_code {
            let mark = leading_marks(body);
            edit.remove(at..at + mark);
            inline(text, at + mark, at + body.len(), &mut edit);
        }
        at += line.len();
    }
    edit.finish()
}

fn is_fence(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("```") || line.starts_with("~~~")
}

/// `***`, `- - -`.
fn is_rule(line: &str) -> bool {
    let mut marks = line.chars().filter(|c| !c.is_whitespace());
    let Some(first) = marks.next().filter(|c| matches!(c, '*' | '-' | '_')) else { return false };
    let mut count = 1;
    marks.all(|c| {
        count += 1;
        c == first
    }) && count >= 3
}

/// `|---|:-:|`.
fn is_table_rule(line: &str) -> bool {
    let line = line.trim();
    line.contains('|') && line.contains("--") && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '))
}

/// Bytes of the marks of headings and quotations that a line begins with.
fn leading_marks(line: &str) -> usize {
    let mut rest = line;
    while let Some(after) = rest.trim_start_matches(' ').strip_prefix('>') {
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
    let hashes = rest.bytes().take_while(|byte| *byte == b'#').count();
    if (1..=6).contains(&hashes) && rest.as_bytes().get(hashes) == Some(&b' ') {
        rest = rest.get(hashes..).unwrap_or_default().trim_start_matches(' ');
    }
    line.len() - rest.len()
}

/// Emphasis, code and links of `text[start..end]`.
fn inline(text: &str, start: usize, end: usize, edit: &mut Edit<'_>) {
    let mut at = start;
    // What was once looked for and not found in this line is not looked for again.
    let mut absent: Vec<&str> = Vec::new();
    while let Some(step) = text.get(at..end).and_then(|rest| rest.find(['*', '_', '`', '[', '!', '~'])) {
        at += step;
        let rest = text.get(at..end).unwrap_or_default();
        if let Some(link) = link(rest) {
            edit.remove(at..at + link.label.start);
            edit.remove(at + link.label.end..at + link.end);
            at += link.end;
            continue;
        }
        let mark = ["**", "__", "~~", "`"].into_iter().find(|mark| rest.starts_with(mark));
        let Some(mark) = mark.filter(|mark| !absent.contains(mark)) else {
            at += 1;
            continue;
        };
        let inner = rest.get(mark.len()..).unwrap_or_default();
        match inner.find(mark) {
            Some(length) if length > 0 && !inner.starts_with(' ') => {
                edit.remove(at..at + mark.len());
                let close = at + mark.len() + length;
                edit.remove(close..close + mark.len());
                at = close + mark.len();
            }
            Some(_) => at += mark.len(),
            None => {
                absent.push(mark);
                at += mark.len();
            }
        }
    }
}

struct Link {
    label: std::ops::Range<usize>,
    end: usize,
}

/// `[words](address)` or `![words](address)` at the start of a text. Bounded, so that a row of brackets costs little.
fn link(rest: &str) -> Option<Link> {
    const LABEL_BYTES_MAX: usize = 300;
    const ADDRESS_BYTES_MAX: usize = 2_000;
    let open = if rest.starts_with('!') { 2 } else { 1 };
    (rest.as_bytes().get(open - 1) == Some(&b'[')).then_some(())?;
    let find = |from: usize, max: usize, byte: u8| {
        let window = rest.as_bytes().get(from..)?;
        memchr::memchr(byte, window.get(..window.len().min(max))?).map(|at| from + at)
    };
    let close = find(open, LABEL_BYTES_MAX, b']')?;
    (rest.as_bytes().get(close + 1) == Some(&b'(')).then_some(())?;
    let end = find(close + 2, ADDRESS_BYTES_MAX, b')')?;
    let address = rest.get(close + 2..end)?;
    (!address.contains('(')).then_some(Link { label: open..close, end: end + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_go_and_words_stay() {
        let text = "# Title\n> quoted **bold** and `code`\n\n---\n```rust\nlet a = b ** c;\n```\n| a | b |\n|---|---|\n\
                    [words](https://x.y) ![alt](z.png) a_b __c__ ~~d~~";
        let expected = "Title\nquoted bold and code\n\nlet a = b ** c;\n| a | b |\nwords alt a_b c d";
        assert_eq!(clean(text).text, expected);
    }

    #[test]
    fn what_is_no_mark_stays() {
        for text in ["#hashtag", "2 * 3 * 4", "a ** b", "[1] see", "array[0](x", "- item", "snake_case_name"] {
            assert_eq!(clean(text), Edited::same(text));
        }
    }
}

//! Step `urls`: web addresses (http, https, ftp, `www.`) give way to a placeholder, which is nothing unless the
//! configuration says otherwise.

use memchr::memmem;

use super::chars::{char_at, char_before, is_ascii_word};
use super::edit::{Edit, Edited};
use super::profile::Profile;

const SCHEMES: [&str; 4] = ["https", "http", "ftps", "ftp"];

/// Whether the step may change a text with these bytes.
pub fn applies(profile: &Profile) -> bool {
    profile.has(b'/') && profile.has(b':') || profile.has(b'.') && profile.has_any(b"wW")
}

/// Takes the step.
pub fn clean<'a>(text: &'a str, placeholder: &str) -> Edited<'a> {
    let mut edit = Edit::new(text);
    let mut at = 0;
    while let Some((start, host)) = next_start(text, at) {
        let end = url_end(text, host);
        if end > host {
            edit.replace(start..end, placeholder);
        }
        at = end.max(host);
    }
    edit.finish()
}

/// The next address from a byte on: where it begins, and where its host does.
fn next_start(text: &str, from: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let rest = bytes.get(from..)?;
    let scheme = memmem::find_iter(rest, b"://").find_map(|found| {
        let colon = from + found;
        let before = text.get(from..colon)?;
        let ends = |scheme: &&&str| {
            let tail = before.len().checked_sub(scheme.len()).and_then(|start| before.get(start..));
            tail.is_some_and(|tail| tail.eq_ignore_ascii_case(scheme))
        };
        let scheme = SCHEMES.iter().find(ends)?;
        Some((colon - scheme.len(), colon + 3))
    });
    let bound = scheme.map_or(bytes.len(), |(start, _)| start);
    let www = www(text, from, bound);
    www.or(scheme)
}

/// The next `www.` that begins a word, before a bound.
fn www(text: &str, from: usize, bound: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes().get(..bound)?;
    let mut at = from;
    while let Some(dot) = bytes.get(at..).and_then(|rest| memchr::memchr(b'.', rest)) {
        let start = (at + dot).checked_sub(3);
        at += dot + 1;
        if let Some(start) = start.filter(|start| *start >= from)
            && bytes.get(start..at - 1).is_some_and(|word| word.eq_ignore_ascii_case(b"www"))
            && !char_before(text, start).is_some_and(|c| is_ascii_word(Some(c)) || c == '.' || c == '-')
            && is_ascii_word(char_at(text, at))
        {
            return Some((start, at));
        }
    }
    None
}

/// The end of an address whose host begins at a byte; a mark at its end belongs to the sentence.
fn url_end(text: &str, host: usize) -> usize {
    let rest = text.get(host..).unwrap_or_default();
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%|".contains(c);
    let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
    let address = rest.get(..length).unwrap_or_default();
    let mut excess = count(address, ')').saturating_sub(count(address, '('));
    let mut trimmed = without_marks(address);
    while let (true, Some(inner)) = (excess > 0, trimmed.strip_suffix(')')) {
        trimmed = without_marks(inner);
        excess -= 1;
    }
    if trimmed.ends_with(']') && !trimmed.contains('[') {
        trimmed = without_marks(trimmed.trim_end_matches(']'));
    }
    host + trimmed.len()
}

fn count(text: &str, c: char) -> usize {
    text.matches(c).count()
}

fn without_marks(address: &str) -> &str {
    address.trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', '|', '*'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_and_the_sentence_stays() {
        for (text, expected) in [
            ("见https://a.b/c?d=1#e。", "见。"),
            ("(http://x.org/a_(b)), ok", "(), ok"),
            ("看www.例子", "看www.例子"),
            ("看 WWW.example.com/x 吧", "看  吧"),
            ("ftp://h/p, HTTP://H", ", "),
            ("a://b std::x file:///etc x.www.y", "a://b std::x file:///etc x.www.y"),
        ] {
            assert_eq!(clean(text, "").text, expected, "{text}");
        }
        assert_eq!(clean("https://a.b", "<URL>").text, "<URL>");
    }
}

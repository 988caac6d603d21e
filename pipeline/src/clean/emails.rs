//! Step `emails`: e-mail addresses give way to a placeholder.

use super::chars::{char_at, is_ascii_word};
use super::edit::{Edit, Edited};
use super::profile::Profile;

const LOCAL_BYTES_MAX: usize = 64;
const DOMAIN_BYTES_MAX: usize = 253;

/// Whether the step may change a text with these bytes.
pub fn applies(profile: &Profile) -> bool {
    profile.has(b'@') && profile.has(b'.')
}

/// Takes the step.
pub fn clean<'a>(text: &'a str, placeholder: &str) -> Edited<'a> {
    let bytes = text.as_bytes();
    let mut edit = Edit::new(text);
    let mut done = 0;
    for at in memchr::memchr_iter(b'@', bytes) {
        let start = local_start(bytes, at, done);
        if let (true, Some(end)) = (start < at, domain_end(text, at + 1)) {
            edit.replace(start..end, placeholder);
            done = end;
        }
    }
    edit.finish()
}

fn local_start(bytes: &[u8], at: usize, from: usize) -> usize {
    let from = from.max(at.saturating_sub(LOCAL_BYTES_MAX));
    let before = bytes.get(from..at).unwrap_or_default();
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || b"._%+-".contains(byte);
    let length = before.iter().rev().take_while(is_part).count();
    let start = at - length;
    let marks = bytes.get(start..at).unwrap_or_default().iter().take_while(|byte| !byte.is_ascii_alphanumeric());
    start + marks.count()
}

/// The end of a domain with at least two labels, the last of letters.
fn domain_end(text: &str, at: usize) -> Option<usize> {
    let rest = text.as_bytes().get(at..)?;
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let length = rest.iter().take(DOMAIN_BYTES_MAX).take_while(is_part).count();
    let domain = text.get(at..at + length)?.trim_end_matches(['.', '-']);
    let (labels, last) = domain.rsplit_once('.')?;
    let letters = last.bytes().take_while(u8::is_ascii_alphabetic).count();
    let sound = labels.split('.').all(|label| !label.is_empty() && !label.starts_with('-'));
    let end = at + labels.len() + 1 + letters;
    (sound && letters >= 2 && !is_ascii_word(char_at(text, end))).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_give_way() {
        for (text, expected) in [
            ("写信给zhang.san+x@mail.example.com.cn。", "写信给E。"),
            ("<a_b@x.org>, c@d-e.net.", "<E>, E."),
            ("@user a@b @x.y a@b.c1 a@.com ..@x.org", "@user a@b @x.y a@b.c1 a@.com ..@x.org"),
            ("a@b.com@c.org", "E@c.org"),
        ] {
            assert_eq!(clean(text, "E").text, expected, "{text}");
        }
    }
}

//! Step `ips`: IPv4 and IPv6 addresses give way to a placeholder.

use std::net::Ipv6Addr;
use std::str::FromStr;

use super::chars::{char_at, char_before, is_ascii_word};
use super::digits::{self, Cursor};
use super::edit::{Edit, Edited};
use super::profile::Profile;

/// The longest text of an IPv6 address, IPv4 part included.
const IPV6_BYTES_MAX: usize = 45;
/// Fewer hexadecimal digits are an operator (`a::b`) more often than an address.
const IPV6_DIGITS_MIN: usize = 5;

/// Whether the step may change a text with these bytes.
pub fn applies(profile: &Profile) -> bool {
    profile.has_digit() && profile.has_any(b".:")
}

/// Takes the step: IPv6 first, which may hold an IPv4 address.
pub fn clean<'a>(text: &'a str, placeholder: &str) -> Edited<'a> {
    let first = ipv6(text, placeholder);
    if first.changes == 0 {
        return digits::replace(text, placeholder, ipv4);
    }
    let second = digits::replace(&first.text, placeholder, ipv4);
    Edited { changes: first.changes + second.changes, text: second.text.into_owned().into() }
}

fn ipv4(bytes: &[u8]) -> Option<usize> {
    let mut cursor = Cursor::new(bytes);
    for part in 0..4 {
        if part > 0 {
            cursor.literal(b".")?;
        }
        let digits = cursor.digits(1, 3)?;
        let value = digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        if value > 255 || (digits.len() > 1 && digits.starts_with(b"0")) {
            return None;
        }
    }
    // A fifth part makes it a version or a section.
    let mut further = cursor.clone();
    (!(further.one_of(b".") && further.first_digits(1).is_some())).then_some(cursor.at())
}

fn ipv6<'a>(text: &'a str, placeholder: &str) -> Edited<'a> {
    let bytes = text.as_bytes();
    let mut edit = Edit::new(text);
    let mut at = 0;
    while let Some(step) = bytes.get(at..).and_then(|rest| memchr::memchr(b':', rest)) {
        let colon = at + step;
        let is_part = |byte: &&u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
        let before = bytes.get(at.max(colon.saturating_sub(4))..colon).unwrap_or_default();
        let start = colon - before.iter().rev().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let run = bytes.get(start..).unwrap_or_default().iter().take(IPV6_BYTES_MAX + 1).take_while(is_part).count();
        let run = text.get(start..start + run).unwrap_or_default().trim_end_matches('.');
        let run = if run.ends_with("::") { run } else { run.trim_end_matches(':') };
        let end = start + run.len();
        let stands_alone = !is_ascii_word(char_before(text, start)) && !is_ascii_word(char_at(text, end));
        if stands_alone && is_address(run) {
            edit.replace(start..end, placeholder);
        }
        at = end.max(colon + 1);
    }
    edit.finish()
}

fn is_address(run: &str) -> bool {
    let digits = run.bytes().filter(u8::is_ascii_hexdigit).count();
    digits >= IPV6_DIGITS_MIN && run.bytes().any(|byte| byte.is_ascii_digit()) && Ipv6Addr::from_str(run).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_give_way() {
        for address in ["192.168.1.20", "8.8.8.8", "2001:db8::8a2e:370:7334", "fe80::1", "::ffff:10.0.0.1"] {
            assert_eq!(clean(&format!("来自{address}，"), "IP").text, "来自IP，", "{address}");
        }
    }

    #[test]
    fn versions_times_and_operators_stay() {
        for text in ["1.2.3", "256.1.1.1", "1.2.3.4.5", "12:30:45", "std::fs", "a::b", "01.02.03.04", "v1.2.3.4"] {
            assert_eq!(clean(text, "IP"), Edited::same(text));
        }
    }
}

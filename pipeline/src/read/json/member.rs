//! Looks into a nested value that has been checked before: `{meta.title}` of a template.

use schemas::columns::Kind;

use super::cursor::{Cursor, Discard, Rules};
use super::nested::Nest;

/// The lexeme of a member of an object, given the object's lexeme; None where there is no such member.
pub fn member<'a>(object: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let mut cursor = Cursor::new(object, Rules { depth_max: u32::MAX, accept_nan: false });
    let (mut nest, mut scratch) = (Nest::default(), Vec::new());
    cursor.skip_space();
    cursor.expect(b'{', "'{'").ok()?;
    cursor.skip_space();
    loop {
        let here = cursor.key(&mut scratch).ok()? == key.as_bytes();
        cursor.colon().ok()?;
        let start = cursor.at();
        skip(&mut cursor, &mut nest)?;
        if here {
            return Some(cursor.since(start));
        }
        cursor.another(b'}', "'}'").ok().filter(|more| *more)?;
    }
}

/// Kind and content of a lexeme that has been checked before: a string unescaped, anything else as it is.
pub fn content(lexeme: &[u8]) -> (Kind, Vec<u8>) {
    let mut cursor = Cursor::new(lexeme, Rules { depth_max: u32::MAX, accept_nan: false });
    match cursor.peek() {
        Some(b'{' | b'[') => (Kind::Json, lexeme.to_vec()),
        Some(b'"') => {
            let mut content = Vec::new();
            cursor.step();
            // Cannot fail: the lexeme was checked as part of its line.
            let _ = cursor.string(&mut content);
            (Kind::String, content)
        }
        _ => (cursor.scalar().unwrap_or(Kind::Null), lexeme.to_vec()),
    }
}

/// Kind of a number that is a whole lexeme; None where it is none.
pub fn number_kind(lexeme: &[u8]) -> Option<Kind> {
    let mut cursor = Cursor::new(lexeme, Rules { depth_max: 1, accept_nan: false });
    let kind = cursor.scalar().ok()?;
    (cursor.at() == lexeme.len() && matches!(kind, Kind::Int | Kind::WideInt | Kind::BigInt | Kind::Float))
        .then_some(kind)
}

fn skip(cursor: &mut Cursor<'_>, nest: &mut Nest) -> Option<()> {
    match cursor.peek()? {
        b'{' | b'[' => nest.value(cursor).ok(),
        b'"' => {
            cursor.step();
            cursor.string(&mut Discard).ok()
        }
        _ => cursor.scalar().ok().map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_found_behind_nested_values_and_escapes() {
        let object = br#"{"a": [{"b": 1}], "t\u0069tle" : "x\"y" , "z": {}}"#;
        assert_eq!(member(object, "title"), Some(br#""x\"y""#.as_slice()));
        assert_eq!(member(object, "z"), Some(b"{}".as_slice()));
        assert_eq!(member(object, "b"), None);
        assert_eq!(member(b"[1]", "a"), None);
        assert_eq!(member(b"{}", "a"), None);
    }
}

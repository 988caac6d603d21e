//! A strict, iterative JSON parser for one line: one object in, fields in an arena out, in a single pass.
//!
//! Stricter than most: duplicate keys at any level, lone surrogates, raw control bytes and floats beyond f64 are
//! faults, because readers differ on them and a corpus must not depend on who reads it. No recursion, so depth costs
//! memory and not stack; nesting is capped all the same (`--max-depth`).

mod cursor;
mod member;
mod names;
mod nested;
mod number;

use schemas::columns::Kind;

use self::cursor::{Cursor, Rules};
pub use self::member::{content, member, number_kind};
use self::names::Names;
use self::nested::Nest;
use super::fault::Fault;
use super::options::Options;
use crate::record::{FieldValue, Records, Span};

/// What the text column of a line holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// The line has no such column.
    Absent,
    /// A value that is not a string.
    Other(Kind),
    /// A string, unescaped in the arena.
    String(Span),
}

/// Parses the lines of one block.
pub struct Parser<'o> {
    /// None where a template makes the text, and every column stays a field.
    text_column: Option<&'o [u8]>,
    rules: Rules,
    names: Names,
    nest: Nest,
    key: Vec<u8>,
}

impl<'o> Parser<'o> {
    /// A parser for one block; names of columns are numbered by its [`Records`].
    pub fn new(options: &'o Options) -> Parser<'o> {
        Parser {
            text_column: options.template.is_none().then_some(options.text_column.as_bytes()),
            rules: Rules { depth_max: options.depth_max, accept_nan: options.accept_nan },
            names: Names::default(),
            nest: Nest::default(),
            key: Vec::new(),
        }
    }

    /// Appends the fields of a line that is valid UTF-8 to `records`, and returns its text.
    ///
    /// # Errors
    /// What is wrong with the line. Fields, names and arena may hold a part of it then; [`Parser::forget`] and the
    /// caller take it back.
    pub fn object(&mut self, line: &[u8], records: &mut Records) -> Result<Text, Fault> {
        let mut cursor = Cursor::new(line, self.rules);
        self.names.begin();
        let mut text = Text::Absent;
        let mut text_seen = false;
        cursor.skip_space();
        cursor.expect(b'{', "'{' (a line is one JSON object)")?;
        cursor.skip_space();
        if !cursor.eat(b'}') {
            for place in 0.. {
                let key_at = cursor.at();
                let key = cursor.key(&mut self.key)?;
                if self.text_column == Some(key) {
                    if std::mem::replace(&mut text_seen, true) {
                        return Err(repeated(key, key_at));
                    }
                    cursor.colon()?;
                    text = text_value(&mut cursor, records, &mut self.nest)?;
                } else {
                    let Some(name) = self.names.resolve(key, place, &mut records.names) else {
                        return Err(repeated(key, key_at));
                    };
                    cursor.colon()?;
                    let (kind, value) = value(&mut cursor, records, &mut self.nest)?;
                    records.fields.push(FieldValue { name, kind, value });
                }
                if !cursor.another(b'}', "',' or '}'")? {
                    break;
                }
            }
        }
        cursor.end()?;
        Ok(text)
    }

    /// Appends a field that did not come from JSON; `place` is its number in the record. A name that the record has
    /// already is left out.
    pub fn field(&mut self, place: usize, name: &str, kind: Kind, value: &[u8], records: &mut Records) {
        if place == 0 {
            self.names.begin();
        }
        if let Some(name) = self.names.resolve(name.as_bytes(), place, &mut records.names) {
            let value = records.push_bytes(if kind == Kind::Null { b"null" } else { value });
            records.fields.push(FieldValue { name, kind, value });
        }
    }

    /// Takes back the names that only a damaged line had.
    pub fn forget(&mut self, names: &mut Vec<String>, names_before: usize) {
        self.names.forget(names, names_before);
    }
}

#[cold]
fn repeated(key: &[u8], at: usize) -> Fault {
    let shown: String = String::from_utf8_lossy(key).chars().take(64).collect();
    let detail = format!("expected each key once, found {shown:?} again at byte {at}");
    Fault::new(schemas::rule::InvalidRule::JsonSyntax, detail)
}

#[inline]
fn text_value(cursor: &mut Cursor<'_>, records: &mut Records, nest: &mut Nest) -> Result<Text, Fault> {
    Ok(match value(cursor, records, nest)? {
        (Kind::String, span) => Text::String(span),
        (kind, _) => Text::Other(kind),
    })
}

/// Parses any value; its content (strings) or lexeme (anything else) goes to the arena.
#[inline]
fn value(cursor: &mut Cursor<'_>, records: &mut Records, nest: &mut Nest) -> Result<(Kind, Span), Fault> {
    let start = cursor.at();
    let kind = match cursor.peek() {
        Some(b'"') => {
            let arena_start = records.arena.len() as u32;
            cursor.step();
            cursor.string(&mut records.arena)?;
            return Ok((Kind::String, Span { start: arena_start, end: records.arena.len() as u32 }));
        }
        Some(b'{' | b'[') => {
            nest.value(cursor)?;
            return Ok((Kind::Json, nest.push_lexeme(cursor.since(start), start, records)));
        }
        _ => cursor.scalar()?,
    };
    let lexeme = if kind == Kind::Null { b"null" } else { cursor.since(start) };
    Ok((kind, records.push_bytes(lexeme)))
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

//! Text made of several fields: `{title}\n{content}`.

use schemas::columns::Kind;
use schemas::rule::InvalidRule;

use super::error::Error;
use super::fault::Fault;
use super::json::{self, member};
use crate::record::{FieldValue, Records, Span};

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Field(String),
}

impl Template {
    /// Parses a template. `\n`, `\t`, `\r` and `\\` are escapes, because a shell passes them on as they are; `{{` and
    /// `}}` stand for braces.
    ///
    /// # Errors
    /// [`Error::Template`] where a brace is not closed or a name is empty, or where no field is named.
    pub fn parse(template: &str) -> Result<Template, Error> {
        let fail = |offset, detail: &str| {
            Err(Error::Template { template: template.to_owned(), offset, detail: detail.to_owned() })
        };
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = template.char_indices().peekable();
        while let Some((offset, character)) = rest.next() {
            let next = rest.peek().map(|(_, next)| *next);
            match (character, next) {
                ('{', Some('{')) | ('}', Some('}')) => {
                    literal.push(character);
                    rest.next();
                }
                ('{', _) => {
                    let name: String = rest.by_ref().map(|(_, part)| part).take_while(|part| *part != '}').collect();
                    if name.is_empty()
                        || !template.get(offset + 1 + name.len()..).is_some_and(|end| end.starts_with('}'))
                    {
                        return fail(offset, "expected a name and '}' after '{'");
                    }
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    pieces.push(Piece::Field(name));
                }
                ('}', _) => return fail(offset, "expected '{' before '}'"),
                ('\\', Some(escape @ ('n' | 't' | 'r' | '\\'))) => {
                    literal.push(unescaped(escape));
                    rest.next();
                }
                _ => literal.push(character),
            }
        }
        pieces.push(Piece::Literal(literal));
        if !pieces.iter().any(|piece| matches!(piece, Piece::Field(_))) {
            return fail(0, "expected at least one {field}");
        }
        Ok(Template { pieces })
    }

    /// The template of no text at all: no field is missing.
    pub(super) fn nothing() -> Template {
        Template { pieces: Vec::new() }
    }

    /// Appends the text of a document, given its fields, to the arena.
    ///
    /// A field that is absent or null leaves nothing; numbers and booleans stand as written.
    ///
    /// # Errors
    /// `text_missing` where every field is absent or null, `text_type` where one is an array or object,
    /// `line_too_long` where the text grows beyond `bytes_max`.
    pub fn render(&self, records: &mut Records, first_field: usize, bytes_max: usize) -> Result<Span, Fault> {
        let start = records.arena.len();
        let mut any = false;
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => {
                    records.push_bytes(literal.as_bytes());
                }
                Piece::Field(name) => any |= push_field(records, first_field, name)?,
            }
            if records.arena.len() - start > bytes_max {
                let detail = format!("expected at most {bytes_max} bytes of text from the template, found more");
                return Err(Fault::new(InvalidRule::LineTooLong, detail));
            }
        }
        if !any && !self.pieces.is_empty() {
            return Err(Fault::new(InvalidRule::TextMissing, "every field of the template is absent or null"));
        }
        Ok(Span { start: start as u32, end: records.arena.len() as u32 })
    }
}

fn unescaped(escape: char) -> char {
    match escape {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        other => other,
    }
}

/// Appends one field; false where it is absent or null.
fn push_field(records: &mut Records, first_field: usize, name: &str) -> Result<bool, Fault> {
    let Some((kind, value)) = find(records, first_field, name) else { return Ok(false) };
    match kind {
        Kind::Null => return Ok(false),
        Kind::Json => {
            let detail = format!("expected a string or a number in {name}, found an array or object");
            return Err(Fault::new(InvalidRule::TextType, detail));
        }
        _ => records.arena.extend_from_slice(&value),
    }
    Ok(true)
}

/// A field by its whole name, else by its path through nested objects.
fn find(records: &Records, first_field: usize, name: &str) -> Option<(Kind, Vec<u8>)> {
    let fields = records.fields.get(first_field..)?;
    let named = |name: &str| -> Option<&FieldValue> {
        fields.iter().find(|field| records.names.get(field.name as usize).is_some_and(|column| column == name))
    };
    if let Some(field) = named(name) {
        return Some((field.kind, records.bytes(field.value).to_vec()));
    }
    let (head, path) = name.split_once('.')?;
    let field = named(head).filter(|field| field.kind == Kind::Json)?;
    let mut lexeme = records.bytes(field.value);
    for key in path.split('.') {
        lexeme = member(lexeme, key)?;
    }
    Some(json::content(lexeme))
}

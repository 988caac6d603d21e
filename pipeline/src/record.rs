//! A block of records: what every reader (JSONL, Parquet, CSV, ...) makes and every later stage takes.
//!
//! One arena of bytes per block; documents and fields are spans into it, so a block costs a handful of allocations
//! however many lines it holds. A field keeps its JSON lexeme (numbers, nested values) or its unescaped content
//! (strings), because the type of a column is known only when every task has been read.

use schemas::columns::{Kind, RAW_BYTES_MAX};
use schemas::rule::InvalidRule;

/// Bytes `start..end` of a [`Records`] arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// Where a record stands in its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Record number within the task that reads it, from 0. Blank lines count; for Parquet and CSV rows count.
    pub line: u64,
    /// Offset in the decompressed stream of the input; None for Parquet.
    pub byte_offset: Option<u64>,
}

/// One field of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldValue {
    /// Index into [`Records::names`].
    pub name: u32,
    /// What the value is.
    pub kind: Kind,
    /// The unescaped content of a string; the JSON lexeme of anything else.
    pub value: Span,
}

/// One document: its text and its other fields, in the order of the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Where it stands.
    pub position: Position,
    /// Its text, valid UTF-8.
    pub text: Span,
    /// Its fields but for the text column: `fields[first_field..last_field]` of [`Records::fields`].
    pub first_field: u32,
    /// One past its last field.
    pub last_field: u32,
    /// Its line in [`Records::source`]; empty where the input has no lines.
    pub raw: Span,
}

/// One damaged line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Where it stands.
    pub position: Position,
    /// What is wrong with it.
    pub rule: InvalidRule,
    /// What was expected and found, for `rejects.value`: "expected ',' or '}' at byte 31, found 'x'".
    pub detail: String,
    /// Its first bytes, at most [`schemas::columns::RAW_BYTES_MAX`].
    pub raw: Vec<u8>,
}

/// The records of one block, in input order.
#[derive(Debug, Default)]
pub struct Records {
    /// Bytes the spans point into.
    pub arena: Vec<u8>,
    /// The bytes the block was read from, where it has lines: what a reject shows of a line that a later check refuses.
    pub source: Vec<u8>,
    /// Names of the columns of this block, in order of first appearance, without the text column.
    pub names: Vec<String>,
    /// Fields of all documents.
    pub fields: Vec<FieldValue>,
    /// Good lines.
    pub documents: Vec<Document>,
    /// Damaged lines.
    pub invalid: Vec<Invalid>,
    /// Lines in the block, of every kind.
    pub lines: u64,
    /// Lines of nothing but white space.
    pub blank: u64,
}

/// A column of strings to add to a block.
#[derive(Debug)]
pub struct NewColumn {
    /// Its name.
    pub name: String,
    /// A value a document; None: no value.
    pub values: Vec<Option<String>>,
}

impl Records {
    /// Gives documents values of columns, where they have none or null.
    pub fn fill_columns(&mut self, columns: &[NewColumn]) {
        if columns.is_empty() || self.documents.is_empty() {
            return;
        }
        let index = |name: &str, names: &mut Vec<String>| {
            names.iter().position(|known| known == name).unwrap_or_else(|| {
                names.push(name.to_owned());
                names.len() - 1
            }) as u32
        };
        let names: Vec<u32> = columns.iter().map(|column| index(&column.name, &mut self.names)).collect();
        let mut documents = std::mem::take(&mut self.documents);
        let mut fields: Vec<FieldValue> = Vec::with_capacity(self.fields.len() + documents.len() * columns.len());
        for (row, document) in documents.iter_mut().enumerate() {
            let first = fields.len();
            let is_replaced = |field: &FieldValue| field.kind == Kind::Null && names.contains(&field.name);
            fields.extend(self.fields_of(document).iter().filter(|field| !is_replaced(field)));
            for (column, name) in columns.iter().zip(&names) {
                let known = fields.iter().skip(first).any(|field| field.name == *name);
                if let (Some(Some(value)), false) = (column.values.get(row), known) {
                    let value = self.push_bytes(value.as_bytes());
                    fields.push(FieldValue { name: *name, kind: Kind::String, value });
                }
            }
            (document.first_field, document.last_field) = (first as u32, fields.len() as u32);
        }
        (self.documents, self.fields) = (documents, fields);
    }

    /// A value of a document as it stands in the input; None where it has none, or null.
    pub fn value_of(&self, document: &Document, column: &str) -> Option<&str> {
        let name = self.names.iter().position(|name| name == column)?;
        let field = self.fields_of(document).iter().find(|field| field.name as usize == name);
        field.filter(|field| field.kind != Kind::Null).map(|field| self.str(field.value))
    }

    /// The bytes of a span.
    pub fn bytes(&self, span: Span) -> &[u8] {
        self.arena.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// The text of a span that holds UTF-8, as every span a reader makes does.
    pub fn str(&self, span: Span) -> &str {
        std::str::from_utf8(self.bytes(span)).unwrap_or_default()
    }

    /// The first bytes of the line a document was read from; empty where the input has no lines.
    pub fn raw_of(&self, document: &Document) -> &[u8] {
        let end = document.raw.end.min(document.raw.start.saturating_add(RAW_BYTES_MAX as u32));
        self.source.get(document.raw.start as usize..end as usize).unwrap_or_default()
    }

    /// The fields of a document.
    pub fn fields_of(&self, document: &Document) -> &[FieldValue] {
        self.fields.get(document.first_field as usize..document.last_field as usize).unwrap_or_default()
    }

    /// Appends bytes and returns their span.
    pub fn push_bytes(&mut self, bytes: &[u8]) -> Span {
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(bytes);
        Span { start, end: self.arena.len() as u32 }
    }
}

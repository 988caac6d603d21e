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

impl Records {
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

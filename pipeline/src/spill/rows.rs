//! Rows: documents on their way to `data/`, and rejected lines on their way to `rejects/`.
//!
//! A frame holds the rows of one block, about a megabyte of text, with the names of its columns once. Values stay
//! JSON lexemes until every task has been read and the column's type is known.

use std::ops::Range;

use schemas::columns::Kind;
use schemas::manifest::Split;

use super::wire::{Cursor, put_bytes, put_u32, put_u64};

const NONE: u64 = u64::MAX;

/// Where a row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Position of its input among the inputs.
    pub input: u32,
    /// Record number from 0: within its part until the part's first line is known, then within its input.
    pub line: u64,
    /// Offset in the decompressed stream; None for Parquet.
    pub byte_offset: Option<u64>,
    /// Which of the documents made of its line it is: 0, or the number of a repetition.
    pub copy: u32,
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Index into [`RowBlock::names`].
    pub name: u32,
    /// What it is.
    pub kind: Kind,
    /// Content or lexeme, in the payload.
    pub bytes: Range<usize>,
}

/// Why a row is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// `read`, `clean`, `filter`, `dedup`.
    pub stage: String,
    /// Rule of that stage.
    pub rule: String,
    /// What decided.
    pub value: String,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it comes from.
    pub origin: Origin,
    /// Its side of the split.
    pub side: Split,
    /// Code points of the text; None for an invalid line.
    pub n_chars: Option<u64>,
    /// The text of a document; the first bytes of an invalid line; empty for a dropped document.
    pub body: Range<usize>,
    /// Its values, in `values[first..last]`.
    pub values: Range<usize>,
    /// Present in rejects.
    pub rejection: Option<Rejection>,
}

/// What a row is written from.
pub struct RowParts<'a> {
    /// Where it comes from.
    pub origin: Origin,
    /// Its side of the split.
    pub side: Split,
    /// Code points of the text.
    pub n_chars: Option<u64>,
    /// Text or raw bytes.
    pub body: &'a [u8],
    /// Present in rejects.
    pub rejection: Option<Rejection>,
}

/// Builds the payload of a frame.
#[derive(Debug, Default)]
pub struct RowWriter {
    rows: Vec<u8>,
    count: u32,
    values_at: usize,
    values: u32,
}

impl RowWriter {
    /// Starts a row; its values follow by [`RowWriter::value`].
    pub fn row(&mut self, row: &RowParts<'_>) {
        self.close_row();
        self.count += 1;
        let out = &mut self.rows;
        put_u32(out, row.origin.input);
        put_u64(out, row.origin.line);
        put_u64(out, row.origin.byte_offset.unwrap_or(NONE));
        put_u32(out, row.origin.copy);
        out.push(match row.side {
            Split::Train => 0,
            Split::Val => 1,
        });
        put_u64(out, row.n_chars.unwrap_or(NONE));
        put_bytes(out, row.body);
        match &row.rejection {
            None => out.push(0),
            Some(rejection) => {
                out.push(1);
                put_bytes(out, rejection.stage.as_bytes());
                put_bytes(out, rejection.rule.as_bytes());
                put_bytes(out, rejection.value.as_bytes());
            }
        }
        self.values_at = out.len();
        put_u32(out, 0);
    }

    /// Adds a value to the row.
    pub fn value(&mut self, name: u32, kind: Kind, bytes: &[u8]) {
        put_u32(&mut self.rows, name);
        self.rows.push(kind as u8);
        put_bytes(&mut self.rows, bytes);
        self.values += 1;
    }

    fn close_row(&mut self) {
        if self.count > 0
            && let Some(slot) = self.rows.get_mut(self.values_at..self.values_at + 4)
        {
            slot.copy_from_slice(&self.values.to_le_bytes());
        }
        self.values = 0;
    }

    /// Rows so far.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The payload; empty where there is no row.
    pub fn finish(mut self, names: &[String]) -> Vec<u8> {
        if self.count == 0 {
            return Vec::new();
        }
        self.close_row();
        let mut out = Vec::with_capacity(self.rows.len() + 16 + names.len() * 16);
        put_u32(&mut out, names.len() as u32);
        names.iter().for_each(|name| put_bytes(&mut out, name.as_bytes()));
        put_u32(&mut out, self.count);
        out.extend_from_slice(&self.rows);
        out
    }
}

/// The rows of one frame; text and values are ranges of the payload.
#[derive(Debug, Default)]
pub struct RowBlock {
    /// Names of the columns.
    pub names: Vec<String>,
    /// The rows, in order.
    pub rows: Vec<Row>,
    /// Values of all rows.
    pub values: Vec<Value>,
    payload: Vec<u8>,
}

impl RowBlock {
    /// Decodes a payload; None where it is not one.
    pub fn decode(payload: Vec<u8>) -> Option<RowBlock> {
        let mut block = RowBlock::default();
        let mut cursor = Cursor::new(&payload);
        for _ in 0..cursor.u32()? {
            block.names.push(cursor.string()?);
        }
        let count = cursor.u32()?;
        let base = payload.as_ptr() as usize;
        for _ in 0..count {
            let row = decode_row(&mut cursor, base, &mut block.values)?;
            block.rows.push(row);
        }
        block.payload = payload;
        Some(block)
    }

    /// Rows of a payload, without decoding them.
    pub fn count(payload: &[u8]) -> Option<u32> {
        let mut cursor = Cursor::new(payload);
        for _ in 0..cursor.u32()? {
            cursor.bytes()?;
        }
        cursor.u32()
    }

    /// Bytes of a range of the payload.
    pub fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.payload.get(range.clone()).unwrap_or_default()
    }

    /// A range of the payload that holds UTF-8.
    pub fn str(&self, range: &Range<usize>) -> &str {
        std::str::from_utf8(self.bytes(range)).unwrap_or_default()
    }

    /// The values of a row.
    pub fn values_of(&self, row: &Row) -> &[Value] {
        self.values.get(row.values.clone()).unwrap_or_default()
    }

    /// Writes a row into another frame with the same names.
    pub fn copy_row(&self, row: &Row, parts: &RowParts<'_>, out: &mut RowWriter) {
        out.row(parts);
        for value in self.values_of(row) {
            out.value(value.name, value.kind, self.bytes(&value.bytes));
        }
    }
}

fn range_of(bytes: &[u8], base: usize) -> Range<usize> {
    let start = bytes.as_ptr() as usize - base;
    start..start + bytes.len()
}

fn decode_row(cursor: &mut Cursor<'_>, base: usize, values: &mut Vec<Value>) -> Option<Row> {
    let origin = Origin {
        input: cursor.u32()?,
        line: cursor.u64()?,
        byte_offset: Some(cursor.u64()?).filter(|offset| *offset != NONE),
        copy: cursor.u32()?,
    };
    let side = if cursor.byte()? == 0 { Split::Train } else { Split::Val };
    let n_chars = Some(cursor.u64()?).filter(|count| *count != NONE);
    let body = range_of(cursor.bytes()?, base);
    let rejection = match cursor.byte()? {
        0 => None,
        _ => Some(Rejection { stage: cursor.string()?, rule: cursor.string()?, value: cursor.string()? }),
    };
    let first = values.len();
    for _ in 0..cursor.u32()? {
        let (name, kind) = (cursor.u32()?, cursor.kind()?);
        values.push(Value { name, kind, bytes: range_of(cursor.bytes()?, base) });
    }
    Some(Row { origin, side, n_chars, body, values: first..values.len(), rejection })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_their_values_come_back() {
        let mut writer = RowWriter::default();
        let origin = Origin { input: 3, line: 7, byte_offset: Some(99), copy: 2 };
        let rejection = Rejection { stage: "filter".into(), rule: "max_chars".into(), value: "9".into() };
        writer
            .row(&RowParts { origin, side: Split::Val, n_chars: Some(2), body: "文本".as_bytes(), rejection: None });
        writer.value(0, Kind::Int, b"12");
        writer.value(1, Kind::String, b"x");
        let last = Origin { byte_offset: None, ..origin };
        writer.row(&RowParts {
            origin: last,
            side: Split::Train,
            n_chars: None,
            body: b"",
            rejection: Some(rejection.clone()),
        });
        let block = RowBlock::decode(writer.finish(&["a".into(), "b".into()])).unwrap();
        assert_eq!(block.str(&block.rows[0].body), "文本");
        assert_eq!(block.rows[0].origin, origin);
        let values = block.values_of(&block.rows[0]);
        assert_eq!((values.len(), block.bytes(&values[1].bytes)), (2, b"x".as_slice()));
        assert_eq!(block.rows[1].rejection, Some(rejection));
        assert_eq!(block.rows[1].origin.byte_offset, None);
    }

    #[test]
    fn a_short_payload_is_refused() {
        let mut writer = RowWriter::default();
        let origin = Origin { input: 0, line: 0, byte_offset: None, copy: 0 };
        writer.row(&RowParts { origin, side: Split::Train, n_chars: None, body: b"abc", rejection: None });
        let payload = writer.finish(&[]);
        assert!(RowBlock::decode(payload[..payload.len() - 1].to_vec()).is_none());
    }
}

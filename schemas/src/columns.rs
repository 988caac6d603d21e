//! Columns: kinds of values, how kinds of one column unite, and the Arrow schemas of the Parquet files.
//!
//! A read task sees a part of the input, so it records the kinds it saw; the order stage unites them over all tasks.
//! Union: null < bool; int64 < float64 where every integer is exact; anything else is a string (JSON text).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use serde::{Deserialize, Serialize};

use crate::dtype::Dtype;

/// Names a source column cannot have; one that does becomes `source_NAME`.
pub const RESERVED: [&str; 10] =
    ["doc_id", "text", "source", "line", "byte_offset", "copy", "tokens", "n_tokens", "shard", "token_offset"];

/// Most source columns that become columns of their own; the others go into [`EXTRA`].
pub const COLUMNS_MAX: usize = 1_000;

/// Column of JSON objects that holds what is beyond [`COLUMNS_MAX`].
pub const EXTRA: &str = "extra";

/// Largest integer magnitude up to which every integer is exact as a float64.
pub const EXACT_INTEGER_MAX: u64 = 1 << 53;

/// Kind of one JSON value, narrow enough that a union over kinds decides a column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Kind {
    /// `null`, or absent.
    Null = 0,
    /// `true`, `false`.
    Bool = 1,
    /// An integer that float64 holds exactly: magnitude at most 2^53.
    Int = 2,
    /// An integer of i64 that float64 may not hold exactly.
    WideInt = 3,
    /// An integer beyond i64.
    BigInt = 4,
    /// A number with a fraction or an exponent.
    Float = 5,
    /// A string.
    String = 6,
    /// An array or an object, as JSON text.
    Json = 7,
}

impl Kind {
    /// The kind with this discriminant.
    pub const fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            0 => Kind::Null,
            1 => Kind::Bool,
            2 => Kind::Int,
            3 => Kind::WideInt,
            4 => Kind::BigInt,
            5 => Kind::Float,
            6 => Kind::String,
            7 => Kind::Json,
            _ => return None,
        })
    }
}

/// The kinds seen in one column, as a bit set. Union is `|`, so the order of parts does not matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kinds(pub u8);

impl Kinds {
    /// Adds one kind.
    pub fn insert(&mut self, kind: Kind) {
        self.0 |= 1 << kind as u8;
    }

    /// Adds the kinds of another part.
    pub fn merge(&mut self, other: Kinds) {
        self.0 |= other.0;
    }

    fn has(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// The type of a column in which these kinds were seen.
    pub fn column_type(self) -> ColumnType {
        let text = self.has(Kind::String) || self.has(Kind::Json) || self.has(Kind::BigInt);
        let number = self.has(Kind::Int) || self.has(Kind::WideInt) || self.has(Kind::Float);
        let inexact = self.has(Kind::Float) && self.has(Kind::WideInt);
        if text || (number && self.has(Kind::Bool)) || inexact {
            ColumnType::String
        } else if self.has(Kind::Float) {
            ColumnType::Float64
        } else if number {
            ColumnType::Int64
        } else if self.has(Kind::Bool) {
            ColumnType::Bool
        } else {
            ColumnType::Null
        }
    }
}

/// The type of a source column in `data/` and `rejects/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// Only nulls were seen; written as a nullable string column so that every reader opens it.
    Null,
    /// Booleans.
    Bool,
    /// 64-bit integers.
    Int64,
    /// 64-bit floats.
    Float64,
    /// Strings; values of other kinds stand there as their JSON text.
    String,
}

impl ColumnType {
    /// The Arrow type of the column.
    pub fn arrow(self) -> DataType {
        match self {
            ColumnType::Null | ColumnType::String => DataType::Utf8,
            ColumnType::Bool => DataType::Boolean,
            ColumnType::Int64 => DataType::Int64,
            ColumnType::Float64 => DataType::Float64,
        }
    }
}

/// A source column of the dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Name in the input.
    pub source_name: String,
    /// Name in the dataset: the same, or `source_NAME` where that is reserved.
    pub name: String,
    /// Type over all inputs.
    pub column_type: ColumnType,
}

/// Name of a source column in the dataset.
pub fn dataset_name(source_name: &str) -> String {
    if RESERVED.contains(&source_name) || source_name == EXTRA {
        format!("source_{source_name}")
    } else {
        source_name.to_owned()
    }
}

/// Arrow type of the `tokens` column: list<element: uint16 or uint32>.
pub fn tokens_type(dtype: Dtype) -> DataType {
    let element = match dtype {
        Dtype::U16 => DataType::UInt16,
        Dtype::U32 => DataType::UInt32,
    };
    DataType::List(Arc::new(Field::new("element", element, false)))
}

fn source_fields<'a>(columns: &'a [Column], extra: bool) -> impl Iterator<Item = Field> + 'a {
    let fields = columns.iter().map(|column| Field::new(&column.name, column.column_type.arrow(), true));
    fields.chain(extra.then(|| Field::new(EXTRA, DataType::Utf8, true)))
}

/// Schema of `data/*.parquet`: one row a document, in shard order.
///
/// `doc_id, text, source, line, byte_offset, copy`, the source columns, `extra` if any, then
/// `tokens, n_tokens, shard, token_offset`. `line` counts from 1; `byte_offset` is null for Parquet inputs; `shard`
/// is the number of the `.bin` file; `token_offset` counts tokens from its start.
pub fn data_schema(columns: &[Column], extra: bool, dtype: Dtype) -> Schema {
    let mut fields = vec![
        Field::new("doc_id", DataType::Utf8, false),
        Field::new("text", DataType::Utf8, false),
        Field::new("source", DataType::Utf8, false),
        Field::new("line", DataType::Int64, false),
        Field::new("byte_offset", DataType::Int64, true),
        Field::new("copy", DataType::Int32, false),
    ];
    fields.extend(source_fields(columns, extra));
    fields.extend([
        Field::new("tokens", tokens_type(dtype), false),
        Field::new("n_tokens", DataType::Int32, false),
        Field::new("shard", DataType::Int32, false),
        Field::new("token_offset", DataType::Int64, false),
    ]);
    Schema::new(fields)
}

/// Schema of `rejects/*.parquet`: one row a line that was not kept, in input order.
///
/// `source, line, byte_offset, stage, rule, value, doc_id, n_chars, raw`, then every source column. `value` is what
/// decided; `raw` the bytes of an invalid line (at most [`RAW_BYTES_MAX`]).
pub fn rejects_schema(columns: &[Column]) -> Schema {
    let mut fields = vec![
        Field::new("source", DataType::Utf8, false),
        Field::new("line", DataType::Int64, false),
        Field::new("byte_offset", DataType::Int64, true),
        Field::new("stage", DataType::Utf8, false),
        Field::new("rule", DataType::Utf8, false),
        Field::new("value", DataType::Utf8, true),
        Field::new("doc_id", DataType::Utf8, true),
        Field::new("n_chars", DataType::Int64, true),
        Field::new("raw", DataType::Binary, true),
    ];
    let taken: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
    fields.extend(columns.iter().map(|column| {
        let name = if taken.contains(&column.name) { format!("source_{}", column.name) } else { column.name.clone() };
        Field::new(name, column.column_type.arrow(), true)
    }));
    Schema::new(fields)
}

/// Schema of `duplicates/*.parquet`: one row a document that has a duplicate or is one, in input order.
///
/// `cluster` is the same for a kept document and those dropped for it; `rule` and `similarity` are null for the kept one,
/// and `similarity` (Jaccard, of shingles) where pairs were not verified. `dataset` names the earlier dataset that holds
/// a kept document; null for the dataset's own.
pub fn duplicates_schema() -> Schema {
    Schema::new(vec![
        Field::new("cluster", DataType::Int64, false),
        Field::new("doc_id", DataType::Utf8, false),
        Field::new("source", DataType::Utf8, false),
        Field::new("line", DataType::Int64, false),
        Field::new("byte_offset", DataType::Int64, true),
        Field::new("kept", DataType::Boolean, false),
        Field::new("rule", DataType::Utf8, true),
        Field::new("similarity", DataType::Float64, true),
        Field::new("dataset", DataType::Utf8, true),
    ])
}

/// Schema of `keys/*.parquet`: the match keys of every document that was kept, in input order.
///
/// `hash` is the content hash (16 bytes, big-endian); `signature` the low 16 bits of each of its values (little-endian),
/// null where near-duplicates were not looked for and for a text without shingles.
pub fn keys_schema() -> Schema {
    Schema::new(vec![
        Field::new("doc_id", DataType::Utf8, false),
        Field::new("source", DataType::Utf8, false),
        Field::new("line", DataType::Int64, false),
        Field::new("byte_offset", DataType::Int64, true),
        Field::new("hash", DataType::Binary, false),
        Field::new("signature", DataType::Binary, true),
    ])
}

/// Most bytes of an invalid line that `rejects/` keeps.
pub const RAW_BYTES_MAX: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn united(kinds: &[Kind]) -> ColumnType {
        let mut union = Kinds::default();
        kinds.iter().for_each(|kind| union.insert(*kind));
        union.column_type()
    }

    #[test]
    fn integers_become_floats_only_where_every_integer_is_exact() {
        assert_eq!(united(&[Kind::Int, Kind::Float]), ColumnType::Float64);
        assert_eq!(united(&[Kind::WideInt, Kind::Float]), ColumnType::String);
        assert_eq!(united(&[Kind::WideInt, Kind::Int]), ColumnType::Int64);
    }

    #[test]
    fn anything_else_is_a_string() {
        assert_eq!(united(&[Kind::Bool, Kind::Int]), ColumnType::String);
        assert_eq!(united(&[Kind::BigInt]), ColumnType::String);
        assert_eq!(united(&[Kind::Json, Kind::Null]), ColumnType::String);
        assert_eq!(united(&[Kind::Null]), ColumnType::Null);
        assert_eq!(united(&[Kind::Null, Kind::Bool]), ColumnType::Bool);
    }

    #[test]
    fn a_reserved_name_gets_a_prefix() {
        assert_eq!(dataset_name("tokens"), "source_tokens");
        assert_eq!(dataset_name("perplexity"), "perplexity");
    }
}

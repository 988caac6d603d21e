//! From Arrow rows to records: the same kinds of values as JSON has, so that one column reads alike in any format.
//!
//! Dates, times and decimals become strings in ISO 8601 and decimal notation; nested values JSON text; bytes that are
//! not text hexadecimal; NaN and infinities, which JSON does not have, null.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float32Array, Float64Array, Int64Array, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type, UInt64Type};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use schemas::columns::{EXACT_INTEGER_MAX, Kind};
use schemas::rule::InvalidRule;

use super::fault::Fault;
use super::json::Parser;
use super::options::Options;
use crate::record::{Document, Position, Records, Span};

/// Rows of a Parquet file.
pub struct Rows {
    /// The rows, with top-level strings as bytes.
    pub batch: RecordBatch,
    /// Number of the first.
    pub first_line: u64,
    /// Which columns were declared to be strings.
    pub strings: Arc<Vec<bool>>,
}

/// A column, ready to be read row by row.
enum Column {
    Null,
    Bool(BooleanArray),
    Int(Int64Array),
    Unsigned(UInt64Array),
    Single(Float32Array),
    Double(Float64Array),
    /// Bytes; whether they were declared to be text.
    Bytes(BinaryArray, bool),
    /// Anything with an established text form.
    Display(ArrayRef),
    Nested(ArrayRef),
}

impl Column {
    fn new(array: &ArrayRef, declared_string: bool) -> Column {
        let to = |to: &DataType| cast(array, to).ok();
        let column = match array.data_type() {
            DataType::Null => Some(Column::Null),
            DataType::Boolean => array.as_boolean_opt().cloned().map(Column::Bool),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                to(&DataType::Int64).and_then(|array| array.as_primitive_opt::<Int64Type>().cloned()).map(Column::Int)
            }
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
                let array = to(&DataType::UInt64);
                array.and_then(|array| array.as_primitive_opt::<UInt64Type>().cloned()).map(Column::Unsigned)
            }
            DataType::Float16 | DataType::Float32 => {
                let array = to(&DataType::Float32);
                array.and_then(|array| array.as_primitive_opt::<Float32Type>().cloned()).map(Column::Single)
            }
            DataType::Float64 => array.as_primitive_opt::<Float64Type>().cloned().map(Column::Double),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                let array = to(&DataType::Binary);
                array
                    .and_then(|array| array.as_binary_opt::<i32>().cloned())
                    .map(|array| Column::Bytes(array, declared_string))
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                let array = to(&DataType::Binary);
                array.and_then(|array| array.as_binary_opt::<i32>().cloned()).map(|array| Column::Bytes(array, true))
            }
            nested if nested.is_nested() => Some(Column::Nested(Arc::clone(array))),
            _ => None,
        };
        column.unwrap_or_else(|| Column::Display(Arc::clone(array)))
    }

    /// Appends the lexeme or content of a value; returns its kind.
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<Kind, Fault> {
        let array: &dyn Array = match self {
            Column::Null => return Ok(Kind::Null),
            Column::Bool(array) => array,
            Column::Int(array) => array,
            Column::Unsigned(array) => array,
            Column::Single(array) => array,
            Column::Double(array) => array,
            Column::Bytes(array, _) => array,
            Column::Display(array) | Column::Nested(array) => array,
        };
        if row >= array.len() || array.is_null(row) {
            return Ok(Kind::Null);
        }
        Ok(match self {
            Column::Null => Kind::Null,
            Column::Bool(array) => {
                out.extend_from_slice(if array.value(row) { b"true" } else { b"false" });
                Kind::Bool
            }
            Column::Int(array) => integer(array.value(row).unsigned_abs(), array.value(row) < 0, out),
            Column::Unsigned(array) => integer(array.value(row), false, out),
            Column::Single(array) => float(f64::from(array.value(row)), &serde_json::to_vec(&array.value(row)), out),
            Column::Double(array) => float(array.value(row), &serde_json::to_vec(&array.value(row)), out),
            Column::Bytes(array, string) => return bytes(array.value(row), *string, out),
            Column::Display(array) => display(array, row, out)?,
            Column::Nested(array) => {
                json_text(array, row, out)?;
                Kind::Json
            }
        })
    }
}

fn integer(magnitude: u64, negative: bool, out: &mut Vec<u8>) -> Kind {
    let sign = if negative { "-" } else { "" };
    out.extend_from_slice(format!("{sign}{magnitude}").as_bytes());
    match magnitude {
        _ if magnitude <= EXACT_INTEGER_MAX => Kind::Int,
        _ if negative || i64::try_from(magnitude).is_ok() => Kind::WideInt,
        _ => Kind::BigInt,
    }
}

fn float(value: f64, lexeme: &Result<Vec<u8>, serde_json::Error>, out: &mut Vec<u8>) -> Kind {
    match lexeme {
        Ok(lexeme) if value.is_finite() => {
            out.extend_from_slice(lexeme);
            Kind::Float
        }
        _ => Kind::Null,
    }
}

fn bytes(value: &[u8], string: bool, out: &mut Vec<u8>) -> Result<Kind, Fault> {
    match simdutf8::compat::from_utf8(value) {
        Ok(_) => out.extend_from_slice(value),
        Err(error) if string => {
            let byte = value.get(error.valid_up_to()).copied().unwrap_or_default();
            let detail = format!("expected UTF-8 at byte {} of a string, found byte 0x{byte:02x}", error.valid_up_to());
            return Err(Fault::new(InvalidRule::BadUtf8, detail));
        }
        Err(_) => value.iter().for_each(|byte| out.extend_from_slice(format!("{byte:02x}").as_bytes())),
    }
    Ok(Kind::String)
}

fn unreadable(error: impl std::fmt::Display) -> Fault {
    Fault::new(InvalidRule::StreamCorrupt, format!("expected a readable value, found: {error}"))
}

fn display(array: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<Kind, Fault> {
    let options = FormatOptions::default().with_display_error(false);
    let formatter = ArrayFormatter::try_new(array, &options).map_err(unreadable)?;
    let text = formatter.value(row).try_to_string().map_err(unreadable)?;
    out.extend_from_slice(text.as_bytes());
    Ok(Kind::String)
}

/// Appends a nested value as JSON.
fn json_text(array: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
    if array.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    match array.data_type() {
        DataType::List(_) => json_list(&array.as_list::<i32>().value(row), out),
        DataType::LargeList(_) => json_list(&array.as_list::<i64>().value(row), out),
        DataType::FixedSizeList(_, _) => json_list(&array.as_fixed_size_list().value(row), out),
        DataType::Struct(fields) => {
            let members = array.as_struct();
            json_members(fields.iter().map(|field| field.name().clone()).zip(members.columns()), row, out)
        }
        DataType::Map(_, _) => json_map(&array.as_map().value(row), out),
        _ => json_scalar(array, row, out),
    }
}

fn json_list(values: &ArrayRef, out: &mut Vec<u8>) -> Result<(), Fault> {
    out.push(b'[');
    for row in 0..values.len() {
        if row > 0 {
            out.push(b',');
        }
        json_text(values, row, out)?;
    }
    out.push(b']');
    Ok(())
}

fn json_members<'a>(
    members: impl Iterator<Item = (String, &'a ArrayRef)>,
    row: usize,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    out.push(b'{');
    for (place, (name, values)) in members.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        json_string(&name, out)?;
        out.push(b':');
        json_text(values, row, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn json_map(entries: &arrow::array::StructArray, out: &mut Vec<u8>) -> Result<(), Fault> {
    let [keys, values] = entries.columns() else { return Err(unreadable("a map without keys and values")) };
    let keys = Column::new(keys, true);
    out.push(b'{');
    for row in 0..values.len() {
        if row > 0 {
            out.push(b',');
        }
        let mut key = Vec::new();
        keys.write(row, &mut key)?;
        json_string(&String::from_utf8_lossy(&key), out)?;
        out.push(b':');
        json_text(values, row, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn json_scalar(array: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
    let one = array.slice(row, 1);
    let mut content = Vec::new();
    match Column::new(&one, true).write(0, &mut content)? {
        Kind::Null => out.extend_from_slice(b"null"),
        Kind::String => json_string(&String::from_utf8_lossy(&content), out)?,
        _ => out.extend_from_slice(&content),
    }
    Ok(())
}

fn json_string(text: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
    serde_json::to_writer(out, text).map_err(unreadable)
}

impl Rows {
    /// Parses the rows.
    pub fn parse(self, options: &Options) -> Records {
        let schema = self.batch.schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let declared = |index: usize| self.strings.get(index).copied().unwrap_or_default();
        let columns: Vec<Column> =
            self.batch.columns().iter().enumerate().map(|(index, array)| Column::new(array, declared(index))).collect();
        let mut records = Records::default();
        let mut parser = Parser::new(options);
        let mut scratch = Vec::new();
        for row in 0..self.batch.num_rows() {
            let position = Position { line: self.first_line + row as u64, byte_offset: None };
            let (arena, first_field) = (records.arena.len(), records.fields.len());
            records.lines += 1;
            match document(&names, &columns, row, options, &mut parser, &mut records, &mut scratch) {
                Ok(text) => {
                    let (first_field, last_field) = (first_field as u32, records.fields.len() as u32);
                    records.documents.push(Document { position, text, first_field, last_field, raw: Span::default() });
                }
                Err(fault) => {
                    records.arena.truncate(arena);
                    records.fields.truncate(first_field);
                    records.invalid.push(fault.into_invalid(position, b""));
                }
            }
        }
        records
    }
}

fn document(
    names: &[&str],
    columns: &[Column],
    row: usize,
    options: &Options,
    parser: &mut Parser<'_>,
    records: &mut Records,
    scratch: &mut Vec<u8>,
) -> Result<Span, Fault> {
    let first_field = records.fields.len();
    let mut text = None;
    let mut place = 0;
    for (name, column) in names.iter().zip(columns) {
        scratch.clear();
        let kind = column.write(row, scratch)?;
        if options.template.is_none() && *name == options.text_column {
            text = Some((kind, records.push_bytes(scratch)));
        } else {
            parser.field(place, name, kind, scratch, records);
            place += 1;
        }
    }
    let column = &options.text_column;
    match (&options.template, text) {
        (Some(template), _) => template.render(records, first_field, options.line_bytes_max),
        (None, Some((Kind::String, span))) if span.end as usize - span.start as usize > options.line_bytes_max => {
            let detail =
                format!("expected at most {} bytes of text, found {}", options.line_bytes_max, span.end - span.start);
            Err(Fault::new(InvalidRule::LineTooLong, detail))
        }
        (None, Some((Kind::String, span))) => Ok(span),
        (None, Some((Kind::Null, _))) => Err(Fault::new(InvalidRule::TextMissing, format!("column {column} is null"))),
        (None, Some(_)) => {
            let detail = format!("expected a string in column {column}, found another type");
            Err(Fault::new(InvalidRule::TextType, detail))
        }
        (None, None) => Err(Fault::new(InvalidRule::TextMissing, format!("column {column} is absent"))),
    }
}

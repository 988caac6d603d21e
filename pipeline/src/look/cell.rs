//! Values of a row: typed where the schema fixes the type, JSON where the input decided it.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, UInt16Type, UInt32Type};
use serde_json::{Map, Number, Value};

/// The string in a column of a row; None where it is null, absent or no string.
pub fn text<'a>(batch: &'a RecordBatch, row: usize, column: &str) -> Option<&'a str> {
    let array = batch.column_by_name(column)?.as_string_opt::<i32>()?;
    (row < array.len() && array.is_valid(row)).then(|| array.value(row))
}

/// The integer in a column of a row, whatever its width; None where it is null, absent or no integer.
pub fn integer(batch: &RecordBatch, row: usize, column: &str) -> Option<i64> {
    let array = batch.column_by_name(column)?;
    if row >= array.len() || array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Int32 => Some(i64::from(array.as_primitive::<Int32Type>().value(row))),
        DataType::Int64 => Some(array.as_primitive::<Int64Type>().value(row)),
        _ => None,
    }
}

/// The bytes in a column of a row; None where it is null, absent or not binary.
pub fn binary<'a>(batch: &'a RecordBatch, row: usize, column: &str) -> Option<&'a [u8]> {
    let array = batch.column_by_name(column)?.as_binary_opt::<i32>()?;
    (row < array.len() && array.is_valid(row)).then(|| array.value(row))
}

/// The token ids in a column of a row; None where it is null, absent or no list of ids.
pub fn ids(batch: &RecordBatch, row: usize, column: &str) -> Option<Vec<u32>> {
    let list = batch.column_by_name(column)?.as_list_opt::<i32>()?;
    if row >= list.len() || list.is_null(row) {
        return None;
    }
    let values = list.value(row);
    match values.data_type() {
        DataType::UInt16 => Some(values.as_primitive::<UInt16Type>().values().iter().copied().map(u32::from).collect()),
        DataType::UInt32 => Some(values.as_primitive::<UInt32Type>().values().to_vec()),
        _ => None,
    }
}

/// Any value as JSON. Bytes become text with U+FFFD for what is not UTF-8; a float that is no number becomes null.
pub fn json(array: &dyn Array, row: usize) -> Value {
    if row >= array.len() || array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Utf8 => Value::from(array.as_string::<i32>().value(row)),
        DataType::Boolean => Value::from(array.as_boolean().value(row)),
        DataType::Int32 => Value::from(array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => Value::from(array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt16 => Value::from(array.as_primitive::<UInt16Type>().value(row)),
        DataType::UInt32 => Value::from(array.as_primitive::<UInt32Type>().value(row)),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Binary => Value::from(String::from_utf8_lossy(array.as_binary::<i32>().value(row)).into_owned()),
        DataType::List(_) => {
            let values = array.as_list::<i32>().value(row);
            (0..values.len()).map(|index| json(&values, index)).collect()
        }
        _ => Value::Null,
    }
}

fn float(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// A row as a JSON object, columns in the order of the batch.
pub fn object(batch: &RecordBatch, row: usize) -> Map<String, Value> {
    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
    columns.map(|(field, array)| (field.name().clone(), json(array, row))).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BinaryArray, Float64Array, Int32Array, StringArray};

    use super::*;

    fn batch() -> RecordBatch {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("name", Arc::new(StringArray::from(vec![Some("a"), None]))),
            ("count", Arc::new(Int32Array::from(vec![Some(7), None]))),
            ("score", Arc::new(Float64Array::from(vec![f64::NAN, 0.5]))),
            ("raw", Arc::new(BinaryArray::from(vec![&b"\xff"[..], b"b"]))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn a_null_an_absent_column_and_a_row_beyond_the_end_are_none() {
        let batch = batch();
        assert_eq!(text(&batch, 0, "name"), Some("a"));
        assert_eq!(text(&batch, 1, "name"), None);
        assert_eq!(text(&batch, 0, "count"), None);
        assert_eq!(text(&batch, 9, "name"), None);
        assert_eq!(integer(&batch, 0, "count"), Some(7));
        assert_eq!(integer(&batch, 0, "absent"), None);
    }

    #[test]
    fn a_row_becomes_json_in_column_order() {
        let row = Value::Object(object(&batch(), 0)).to_string();
        assert_eq!(row, r#"{"name":"a","count":7,"score":null,"raw":"�"}"#);
    }
}

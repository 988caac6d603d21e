//! [`ColumnSketches`]: what the report keeps of the columns of many rows, from Arrow batches.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

use super::shares::Shares;
use super::sketch::Sketch;

/// Columns of places and contents, which have no distribution worth looking at.
const LEFT_OUT: [&str; 15] = [
    "doc_id",
    "text",
    "id",
    "line",
    "byte_offset",
    "copy",
    "tokens",
    "shard",
    "token_offset",
    "extra",
    "stage",
    "rule",
    "value",
    "raw",
    // What `rejects/`, which has a column of that name, calls the measured one.
    "source_n_chars",
];
/// Number of tokens of a document.
pub const N_TOKENS: &str = "n_tokens";
/// Number of characters of a document.
pub const N_CHARS: &str = "n_chars";

/// Distributions of numbers and shares of values, by column.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ColumnSketches {
    /// Rows seen.
    pub rows: u64,
    /// Columns of numbers.
    pub numbers: BTreeMap<String, Sketch>,
    /// Columns of strings and booleans.
    pub values: BTreeMap<String, Shares>,
}

impl ColumnSketches {
    /// Looks at every row of a batch.
    pub fn push(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
        let tokens = token_counts(batch);
        for (name, array) in names(&batch.schema()).iter().zip(batch.columns()) {
            if LEFT_OUT.contains(&name.as_str()) {
                continue;
            }
            self.column(name, array, &tokens);
        }
        if let (Some(text), None) = (batch.column_by_name("text"), batch.column_by_name(N_CHARS)) {
            self.characters(text);
        }
    }

    fn column(&mut self, name: &str, array: &ArrayRef, tokens: &[u64]) {
        match array.data_type() {
            DataType::Int32 | DataType::Int64 | DataType::Float64 => {
                let sketch = self.numbers.entry(name.to_owned()).or_default();
                let Ok(floats) = cast(array, &DataType::Float64) else { return };
                floats.as_primitive::<Float64Type>().iter().for_each(|value| sketch.push(value));
            }
            DataType::Utf8 => {
                let shares = self.values.entry(name.to_owned()).or_default();
                let rows = array.as_string::<i32>().iter().zip(tokens);
                rows.for_each(|(value, tokens)| shares.push(value, *tokens));
            }
            DataType::Boolean => {
                let shares = self.values.entry(name.to_owned()).or_default();
                let name = |value| if value { "true" } else { "false" };
                let rows = array.as_boolean().iter().zip(tokens);
                rows.for_each(|(value, tokens)| shares.push(value.map(name), *tokens));
            }
            _ => {}
        }
    }

    fn characters(&mut self, text: &ArrayRef) {
        let sketch = self.numbers.entry(N_CHARS.to_owned()).or_default();
        let Some(texts) = text.as_string_opt::<i32>() else { return };
        texts.iter().for_each(|text| sketch.push(text.map(|text| text.chars().count() as f64)));
    }

    /// Adds the rows that come after.
    pub fn merge(&mut self, next: &ColumnSketches) {
        self.rows += next.rows;
        for (name, sketch) in &next.numbers {
            self.numbers.entry(name.clone()).or_default().merge(sketch);
        }
        for (name, shares) in &next.values {
            self.values.entry(name.clone()).or_default().merge(shares);
        }
    }
}

fn names(schema: &SchemaRef) -> Vec<String> {
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

/// Tokens of each row; 0 where there are none.
fn token_counts(batch: &RecordBatch) -> Vec<u64> {
    let counts = batch.column_by_name(N_TOKENS).and_then(|array| cast(array, &DataType::Float64).ok());
    match counts {
        Some(counts) => {
            counts.as_primitive::<Float64Type>().iter().map(|count| count.unwrap_or_default() as u64).collect()
        }
        None => vec![0; batch.num_rows()],
    }
}

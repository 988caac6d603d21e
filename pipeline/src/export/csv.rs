//! CSV by RFC 4180: `SIDE.csv`, a header, CRLF, quotes where they are needed; null is an empty field.

use arrow::array::RecordBatch;
use serde_json::Value;
use shards::dataset::Dataset;

use super::output::Output;
use super::source::{for_each_row, text_columns};
use super::{Error, Request};
use crate::look::cell;

pub(super) fn write(dataset: &Dataset, request: &Request, output: &mut Output) -> Result<(), Error> {
    let columns = text_columns(dataset)?;
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    for side in &request.sides {
        let name = format!("{}.csv", side.name());
        let mut file = output.create(&name)?;
        let mut line = Vec::new();
        record(&mut line, columns.iter().copied());
        file.append(&line)?;
        let documents = for_each_row(dataset, *side, &columns, |batch, row| {
            let fields = fields(batch, row);
            line.clear();
            record(&mut line, fields.iter().map(String::as_str));
            Ok(file.append(&line)?)
        })?;
        output.commit(&name, file)?;
        output.count(documents, 0);
    }
    Ok(())
}

fn fields(batch: &RecordBatch, row: usize) -> Vec<String> {
    let shown = |value: Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    };
    batch.columns().iter().map(|array| shown(cell::json(array, row))).collect()
}

fn record<'a>(line: &mut Vec<u8>, fields: impl Iterator<Item = &'a str>) {
    for (index, field) in fields.enumerate() {
        if index > 0 {
            line.push(b',');
        }
        if field.contains(['"', ',', '\r', '\n']) {
            line.push(b'"');
            line.extend_from_slice(field.replace('"', "\"\"").as_bytes());
            line.push(b'"');
        } else {
            line.extend_from_slice(field.as_bytes());
        }
    }
    line.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use schemas::dtype::Dtype;

    use super::super::testing::{sample, to};
    use super::*;
    use crate::export::{Format, export};

    #[test]
    fn quotes_commas_and_line_breaks_survive() {
        let (made, out) = sample(Dtype::U16);
        export(&made.open(), &to(Format::Csv, out.path())).unwrap();
        let mut reader = ::csv::Reader::from_path(out.path().join("train.csv")).unwrap();
        assert_eq!(reader.headers().unwrap(), vec!["doc_id", "text", "score"]);
        let records: Vec<::csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(records.len(), 4);
        assert_eq!(records[1], vec!["b", "a, \"b\"\r\nc", "0.5"]);
    }

    #[test]
    fn lines_end_in_crlf() {
        let mut line = Vec::new();
        record(&mut line, ["a", "", "\""].into_iter());
        assert_eq!(line, b"a,,\"\"\"\"\r\n");
    }
}

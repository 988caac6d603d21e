//! JSON lines: `SIDE.jsonl`, an object a document with `doc_id`, `text` and the columns of the input, nulls too.
//!
//! Nested values stand in `data/` as JSON text, and so they do here, as strings.

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
        let name = format!("{}.jsonl", side.name());
        let mut file = output.create(&name)?;
        let documents = for_each_row(dataset, *side, &columns, |batch, row| {
            let line = Value::Object(cell::object(batch, row));
            file.append(format!("{line}\n").as_bytes())?;
            Ok(())
        })?;
        output.commit(&name, file)?;
        output.count(documents, 0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use schemas::dtype::Dtype;
    use serde_json::json;

    use super::super::testing::{sample, to};
    use super::*;
    use crate::export::{Format, export};
    use crate::look::testing::{Doc, Shape, dataset_shaped};

    #[test]
    fn a_line_is_a_document_with_its_columns() {
        let (made, out) = sample(Dtype::U16);
        export(&made.open(), &to(Format::Jsonl, out.path())).unwrap();
        let text = std::fs::read_to_string(out.path().join("train.jsonl")).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[1], json!({"doc_id": "b", "text": "a, \"b\"\r\nc", "score": 0.5}));
    }

    #[test]
    fn a_dataset_without_rows_is_refused() {
        let made = dataset_shaped(&[Doc::new("a", "one")], Shape { parquet: false, ..Shape::default() });
        let out = tempfile::tempdir().unwrap();
        let error = export(&made.open(), &to(Format::Jsonl, out.path())).unwrap_err().to_string();
        assert!(error.contains("--no-parquet"), "{error}");
    }
}

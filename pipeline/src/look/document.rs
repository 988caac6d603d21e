//! One document whole: its row, its ids, and its text as a model would see it.

use schemas::manifest::Split;
use serde::Serialize;
use serde_json::{Map, Value};
use shards::dataset::Dataset;

use super::query::Query;
use super::rows::RowFile;
use super::{Error, cell};
use crate::tokenize::Encoder;

/// A document of a dataset.
#[derive(Debug, Clone, Serialize)]
pub struct DocumentView {
    /// Side of the split.
    pub split: Split,
    /// Every column but `tokens`, in file order.
    pub row: Map<String, Value>,
    /// Its ids, BOS and EOS included.
    pub tokens: Vec<u32>,
    /// The text that its ids decode to, special tokens shown.
    pub decoded: String,
}

/// The documents that a query means.
///
/// # Errors
/// [`Error::NoData`] for a dataset without `data/`; where a file cannot be read, or an id is not in the vocabulary.
pub fn documents(dataset: &Dataset, query: &Query) -> Result<Vec<DocumentView>, Error> {
    require_data(dataset, "a document's row")?;
    let decoder = super::decoder(dataset)?;
    let mut views = Vec::new();
    for split in Split::ALL {
        for entry in dataset.data_files(split) {
            let file = RowFile::open(&dataset.dir().join(&entry.path))?;
            for batch in file.find(None, &query.alternatives())? {
                let batch = batch?;
                for row in 0..batch.num_rows() {
                    let tokens = cell::ids(&batch, row, "tokens").ok_or_else(|| no_tokens(&file))?;
                    views.push(view(&decoder, split, cell::object(&batch, row), tokens)?);
                }
            }
        }
    }
    Ok(views)
}

fn view(decoder: &Encoder, split: Split, mut row: Map<String, Value>, tokens: Vec<u32>) -> Result<DocumentView, Error> {
    row.shift_remove("tokens");
    let decoded = decoder.decode(&tokens, false)?;
    Ok(DocumentView { split, row, tokens, decoded })
}

fn no_tokens(file: &RowFile) -> Error {
    let found =
        file.schema().field_with_name("tokens").map_or("no column".to_owned(), |field| field.data_type().to_string());
    Error::Column { path: file.path().to_owned(), column: "tokens".to_owned(), expected: "a list of token ids", found }
}

/// Refuses a dataset that has documents but no rows of them.
///
/// # Errors
/// [`Error::NoData`].
pub fn require_data(dataset: &Dataset, purpose: &'static str) -> Result<(), Error> {
    let has_rows = Split::ALL.iter().any(|split| dataset.data_files(*split).next().is_some());
    if has_rows || dataset.manifest().documents.total == 0 {
        return Ok(());
    }
    let hint =
        "make the dataset again without --no-parquet, or look into a shard: pipeline inspect DIR --shard F --at N";
    Err(Error::NoData { folder: dataset.dir().to_owned(), purpose, hint })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::testing::{Doc, dataset};

    #[test]
    fn a_document_is_shown_with_its_columns_and_what_its_ids_mean() {
        let made = dataset(&[Doc::new("a", "one"), Doc::new("b", "two")]);
        let dataset = made.open();
        let views = documents(&dataset, &Query::parse("b", dataset.manifest())).unwrap();
        assert_eq!(views.len(), 1);
        assert_eq!(views[0].row["text"], "two");
        assert_eq!(views[0].row["score"], 0.5);
        assert!(!views[0].row.contains_key("tokens"));
        assert_eq!(views[0].decoded, "<s>two</s>");
        assert_eq!(views[0].tokens.len(), 5);
    }
}

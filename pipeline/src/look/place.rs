//! A stretch of a shard: the ids around a token, the text they mean, and the documents they belong to.

use schemas::manifest::Split;
use serde::Serialize;
use shards::dataset::Dataset;
use shards::shard::ShardReader;

use super::Error;
use super::fate::{Origin, origin};
use super::rows::{Equals, RowFile};

/// Most tokens shown at once: what a stretch costs in memory does not depend on what is asked for.
pub const COUNT_MAX: u64 = 1 << 20;

/// A stretch of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlaceView {
    /// Path of the shard.
    pub shard: String,
    /// Tokens in the shard.
    pub shard_tokens: u64,
    /// The token asked for.
    pub at: u64,
    /// First token shown.
    pub from: u64,
    /// The ids shown.
    pub ids: Vec<u32>,
    /// The text they mean, special tokens shown, U+FFFD where a character is cut.
    pub text: String,
    /// The documents they belong to, in order.
    pub documents: Vec<DocumentBounds>,
}

/// Where a document lies in a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DocumentBounds {
    /// Number of the document in the shard, from 0.
    pub document: u64,
    /// Its first token.
    pub token_offset: u64,
    /// Its length in tokens.
    pub n_tokens: u64,
    /// Where it came from; None for a dataset without `data/`.
    #[serde(flatten)]
    pub origin: Option<Origin>,
}

/// Shows `count` tokens (at most [`COUNT_MAX`]) of a shard around token `at`.
///
/// # Errors
/// [`Error::NoSuchShard`]; a token beyond the end; where a file cannot be read.
pub fn place(dataset: &Dataset, shard: &str, at: u64, count: u64) -> Result<PlaceView, Error> {
    let (split, number) = find_shard(dataset, shard)?;
    let reader = dataset.shard(split, number)?;
    reader.document_at(at)?; // refuses a token beyond the end by its own number
    let count = count.clamp(1, COUNT_MAX);
    let from = at.saturating_sub(count / 2);
    let end = from.saturating_add(count).max(at + 1).min(reader.tokens());
    let mut bytes = vec![0; (end - from) as usize * reader.dtype().token_bytes()];
    reader.read_at(from, &mut bytes)?;
    let ids: Vec<u32> = shards::tokens::decode(&bytes, reader.dtype()).collect();
    let text = super::decoder(dataset)?.decode(&ids, false)?;
    let documents = bounds(dataset, split, number, &reader, from, end)?;
    let shard = shards::shard::bin_path(split, number as u32);
    Ok(PlaceView { shard, shard_tokens: reader.tokens(), at, from, ids, text, documents })
}

/// A shard by its path in the dataset, or by the last part of it.
fn find_shard(dataset: &Dataset, named: &str) -> Result<(Split, usize), Error> {
    let splits = &dataset.manifest().splits;
    let shards = || {
        Split::ALL.into_iter().flat_map(|split| {
            splits.get(split).shards.iter().enumerate().map(move |(number, path)| (split, number, path))
        })
    };
    let is_called =
        |path: &str| named == path || named.ends_with(&format!("/{path}")) || path.ends_with(&format!("/{named}"));
    let found = shards().find(|(_, _, path)| is_called(path)).map(|(split, number, _)| (split, number));
    found.ok_or_else(|| {
        let few: Vec<&str> = shards().map(|(_, _, path)| path.as_str()).take(4).collect();
        let more = if shards().count() > few.len() { ", ..." } else { "" };
        Error::NoSuchShard {
            folder: dataset.dir().to_owned(),
            expected: format!("{}{more}", few.join(", ")),
            found: named.to_owned(),
        }
    })
}

fn bounds(
    dataset: &Dataset,
    split: Split,
    number: usize,
    reader: &ShardReader,
    from: u64,
    end: u64,
) -> Result<Vec<DocumentBounds>, Error> {
    let mut documents = Vec::new();
    for span in reader.spans_from(reader.document_at(from)?) {
        let span = span?;
        if span.token_offset >= end {
            break;
        }
        let origin = origin_of(dataset, split, number, span.token_offset, span.n_tokens)?;
        documents.push(DocumentBounds {
            document: span.document,
            token_offset: span.token_offset,
            n_tokens: span.n_tokens,
            origin,
        });
    }
    Ok(documents)
}

/// The row of the document that starts at a token of a shard; an empty document before it starts there too.
fn origin_of(
    dataset: &Dataset,
    split: Split,
    shard: usize,
    token_offset: u64,
    n_tokens: u64,
) -> Result<Option<Origin>, Error> {
    let equals = [("shard", shard as u64), ("token_offset", token_offset), ("n_tokens", n_tokens)];
    let row =
        equals.map(|(column, number)| Equals::Integer(column, i64::try_from(number).unwrap_or(i64::MAX))).to_vec();
    let columns = ["doc_id", "source", "line", "byte_offset", "shard", "token_offset", "n_tokens"];
    for entry in dataset.data_files(split) {
        let file = RowFile::open(&dataset.dir().join(&entry.path))?;
        if let Some(batch) = file.find(Some(&columns), std::slice::from_ref(&row))?.next() {
            return Ok(Some(origin(&batch?, 0)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::testing::{Doc, dataset};

    #[test]
    fn a_token_is_shown_with_the_documents_around_it() {
        let made = dataset(&[Doc::new("a", "one"), Doc::new("b", "two"), Doc::new("c", "three")]);
        let view = place(&made.open(), "train-00000.bin", 6, 4).unwrap();
        assert_eq!((view.from, view.ids.len(), view.text.as_str()), (4, 4, "</s><s>tw"));
        let ids: Vec<&str> =
            view.documents.iter().filter_map(|bounds| bounds.origin.as_ref()?.doc_id.as_deref()).collect();
        assert_eq!(ids, ["a", "b"]);
        assert_eq!((view.documents[1].token_offset, view.documents[1].n_tokens), (5, 5));
    }

    #[test]
    fn the_last_token_is_shown_and_the_one_after_it_refused() {
        let made = dataset(&[Doc::new("a", "one")]);
        assert_eq!(place(&made.open(), "tokens/train-00000.bin", 4, 64).unwrap().ids.len(), 5);
        let error = place(&made.open(), "tokens/train-00000.bin", 5, 64).unwrap_err().to_string();
        assert!(
            error.contains("train-00000.") && error.ends_with("expected a token offset below 5, found 5"),
            "{error}"
        );
    }

    #[test]
    fn a_shard_that_is_not_there_is_refused_with_those_that_are() {
        let made = dataset(&[Doc::new("a", "one")]);
        let error = place(&made.open(), "train-00009.bin", 0, 1).unwrap_err().to_string();
        assert!(error.contains("tokens/train-00000.bin") && error.contains("train-00009.bin"), "{error}");
    }
}

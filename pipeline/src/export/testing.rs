//! The dataset that the formats' tests write, and ids read by the documented layout.

use std::path::Path;

use schemas::dtype::Dtype;
use schemas::manifest::Split;

use super::{Format, Request};
use crate::look::testing::{Doc, Made, Shape, dataset_shaped, ids};

const TRAIN: [(&str, &str); 4] = [("a", "one"), ("b", "a, \"b\"\r\nc"), ("c", ""), ("d", "xy")];
const VAL: (&str, &str) = ("v", "held out");

/// Two training shards of two documents and one held-out document, and a folder to export to.
pub(super) fn sample(dtype: Dtype) -> (Made, tempfile::TempDir) {
    let mut docs: Vec<Doc> = TRAIN.iter().map(|(id, text)| Doc::new(id, text)).collect();
    docs.insert(2, Doc::new(VAL.0, VAL.1).val());
    let made = dataset_shaped(&docs, Shape { dtype, shard_documents: 2, parquet: true });
    (made, tempfile::tempdir().unwrap())
}

/// The ids of each of its documents.
pub(super) fn sample_ids(side: Split) -> Vec<Vec<u32>> {
    match side {
        Split::Train => TRAIN.iter().map(|(_, text)| ids(text)).collect(),
        Split::Val => vec![ids(VAL.1)],
    }
}

/// Both sides in a format, with the defaults of the command line.
pub(super) fn to(format: Format, out: &Path) -> Request {
    Request {
        format,
        out: out.to_owned(),
        sides: Split::ALL.to_vec(),
        single_file: false,
        name: "data".to_owned(),
        shard_tokens: 100_000_000,
        force: false,
    }
}

pub(super) fn le_u16(bytes: &[u8]) -> Vec<u32> {
    assert_eq!(bytes.len() % 2, 0);
    bytes.chunks_exact(2).map(|pair| u32::from(u16::from_le_bytes([pair[0], pair[1]]))).collect()
}

pub(super) fn le_u32(bytes: &[u8]) -> Vec<u32> {
    assert_eq!(bytes.len() % 4, 0);
    bytes.chunks_exact(4).map(|four| u32::from_le_bytes(four.try_into().unwrap())).collect()
}

#[test]
fn an_export_is_not_overwritten_unasked_and_force_leaves_nothing_old() {
    let (made, out) = sample(Dtype::U16);
    let request = Request { shard_tokens: 4, ..to(Format::LlmC, out.path()) };
    super::export(&made.open(), &request).unwrap();
    let error = super::export(&made.open(), &to(Format::LlmC, out.path())).unwrap_err().to_string();
    assert!(error.contains("--force"), "{error}");
    super::export(&made.open(), &Request { force: true, ..to(Format::LlmC, out.path()) }).unwrap();
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 2);
}

#[test]
fn one_side_can_be_added_beside_the_other() {
    let (made, out) = sample(Dtype::U16);
    for side in Split::ALL {
        super::export(&made.open(), &Request { sides: vec![side], ..to(Format::Mds, out.path()) }).unwrap();
    }
    assert!(out.path().join("train/index.json").exists() && out.path().join("val/index.json").exists());
}

#[test]
fn an_export_into_the_dataset_is_refused() {
    let (made, _out) = sample(Dtype::U16);
    let error = super::export(&made.open(), &to(Format::Jsonl, made.path())).unwrap_err().to_string();
    assert!(error.contains("the dataset itself"), "{error}");
}

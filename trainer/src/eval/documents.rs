//! Documents to be judged: of a side of a dataset, or of text files.

use std::path::Path;

use schemas::dtype::Dtype;
use schemas::manifest::Split;
use shards::dataset::Dataset;
use shards::shard::ShardReader;

use super::rows::column;
use crate::error::{Error, Result};
use crate::generate::TextCodec;

/// A document and the group it counts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The value of the column asked for; empty where none is.
    pub group: String,
    /// Its ids, BOS and EOS included.
    pub tokens: Vec<u32>,
}

/// The documents of a side of a dataset, grouped by a column of its Parquet files.
pub struct Documents<'a> {
    dataset: &'a Dataset,
    split: Split,
    by: Option<&'a str>,
}

/// The ids of a document.
fn ids(dtype: Dtype, bytes: &[u8]) -> Vec<u32> {
    match dtype {
        Dtype::U16 => bytes.chunks_exact(2).map(|b| u32::from(u16::from_le_bytes([b[0], b[1]]))).collect(),
        Dtype::U32 => bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
    }
}

impl<'a> Documents<'a> {
    /// The documents of `split`, grouped by the values of the column `by`.
    pub fn new(dataset: &'a Dataset, split: Split, by: Option<&'a str>) -> Documents<'a> {
        Documents { dataset, split, by }
    }

    /// Goes through them in the order of the shards.
    pub fn iter(&self) -> impl Iterator<Item = Result<Document>> + '_ {
        (0..self.dataset.shard_count(self.split)).flat_map(|number| {
            let opened = self.open(number);
            // A shard that does not open is one error in its place.
            let (shard, failed) = match opened {
                Ok(shard) => (Some(shard), None),
                Err(error) => (None, Some(Err(error))),
            };
            shard.into_iter().flatten().chain(failed)
        })
    }

    fn open(&self, number: usize) -> Result<ShardDocuments> {
        let shard = self.dataset.shard(self.split, number)?;
        let groups = self.by.map(|by| column(self.dataset, self.split, number, by)).transpose()?;
        Ok(ShardDocuments { shard, groups, next: 0 })
    }
}

/// The documents of one shard.
struct ShardDocuments {
    shard: ShardReader,
    groups: Option<Vec<String>>,
    next: u64,
}

impl ShardDocuments {
    fn read(&self, document: u64) -> Result<Document> {
        let mut bytes = Vec::new();
        self.shard.read_document(self.shard.span(document)?, &mut bytes)?;
        let group = self.groups.as_ref().and_then(|groups| groups.get(document as usize));
        Ok(Document { group: group.cloned().unwrap_or_default(), tokens: ids(self.shard.dtype(), &bytes) })
    }
}

impl Iterator for ShardDocuments {
    type Item = Result<Document>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.shard.documents() {
            return None;
        }
        let document = self.read(self.next);
        // After an error the rest of the shard is not worth a try.
        self.next = if document.is_ok() { self.next + 1 } else { u64::MAX };
        Some(document)
    }
}

/// The texts of a file: each line's `text` of a `.jsonl`, else the whole file.
fn texts(path: &Path) -> Result<Vec<String>> {
    let file = std::fs::read_to_string(path).map_err(Error::io(path))?;
    if path.extension().is_none_or(|extension| extension != "jsonl") {
        return Ok(vec![file]);
    }
    let text = |(number, line): (usize, &str)| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        let problem = || format!("line {}: no object with a string `text`", number + 1);
        let missing = || Error::Data { path: path.to_path_buf(), problem: problem() };
        value["text"].as_str().map(str::to_owned).ok_or_else(missing)
    };
    file.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(text).collect()
}

impl Document {
    /// The documents of a text file, between BOS and EOS where the model has them.
    ///
    /// # Errors
    /// Where the file is not UTF-8, or a line of a `.jsonl` has no text.
    pub fn of_file(path: &Path, codec: &TextCodec, bos: Option<u32>, eos: Option<u32>) -> Result<Vec<Document>> {
        let document = |text: String| {
            let mut tokens: Vec<u32> = bos.into_iter().collect();
            tokens.extend(codec.encode(&text)?);
            tokens.extend(eos);
            Ok(Document { group: String::new(), tokens })
        };
        texts(path)?.into_iter().map(document).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::{Evaluator, Groups};
    use crate::generate::testing::{bytes_codec, shaped};
    use crate::testing::tiny_dataset;

    #[test]
    fn every_document_of_every_shard_is_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        tiny_dataset(folder.path(), 50, 3);
        let dataset = Dataset::open(folder.path()).unwrap();
        let all: Vec<Document> = Documents::new(&dataset, Split::Train, None).iter().collect::<Result<_>>().unwrap();
        assert_eq!(all.len(), 180);
        assert!(all.iter().all(|document| document.tokens[0] == 1 && document.tokens.ends_with(&[2])));
    }

    #[test]
    fn a_shard_that_is_gone_is_one_error() {
        let folder = tempfile::tempdir().unwrap();
        tiny_dataset(folder.path(), 50, 2);
        let dataset = Dataset::open(folder.path()).unwrap();
        std::fs::remove_file(folder.path().join("tokens/train-00000.bin")).unwrap();
        let errors = Documents::new(&dataset, Split::Train, None).iter().filter(Result::is_err).count();
        assert_eq!(errors, 1);
    }

    #[test]
    fn text_is_judged_in_bytes_that_do_not_depend_on_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let codec = bytes_codec(folder.path());
        let path = folder.path().join("a.jsonl");
        std::fs::write(&path, "{\"text\": \"abcdefghij\"}\n\n{\"text\": \"你\"}\n").unwrap();
        let documents = Document::of_file(&path, &codec, Some(1), None).unwrap();
        let model = shaped(256, 4, None);
        let mut groups = Groups::default();
        Evaluator::new(&model, Some(&codec), None).judge(documents.into_iter().map(Ok), &mut groups).unwrap();
        let total = groups.total();
        assert_eq!((total.documents, total.tokens), (2, 13));
        // BOS is byte 1 here, so it counts as text too.
        assert_eq!(total.bytes, 15);
    }

    #[test]
    fn a_line_without_text_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::fs::write(&path, "{\"text\": \"a\"}\n[1]\n").unwrap();
        assert!(texts(&path).unwrap_err().to_string().contains("line 2"));
    }
}

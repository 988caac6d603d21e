//! MosaicML Streaming's MDS: `SIDE/shard.00000.mds` and `SIDE/index.json`, version 2, a sample a document with the columns
//! `id` (str) and `tokens` (ndarray:uint16 or ndarray:uint32).
//!
//! A shard: u32 n, u32 offsets[n + 1] from the start of the file, the columns as JSON, the samples. A sample: the u32
//! lengths of both columns (neither has a fixed size), then both. An array: a byte of 4 x dimensions + log2 of the
//! width of its lengths, its length in that width, its values. Shards are cut where MosaicML's own writer cuts them.

use schemas::dtype::Dtype;
use schemas::manifest::Split;
use serde_json::{Value, json};
use shards::dataset::Dataset;

use super::chunk::{CHUNK_BYTES, Chunk};
use super::output::{Output, Pattern};
use super::source::{Document, for_each_document};
use super::{Error, Request};

pub(super) fn patterns(side: &str) -> Vec<Pattern> {
    vec![Pattern::numbered(&format!("{side}/shard."), ".mds"), Pattern::exact(&format!("{side}/index.json"))]
}

pub(super) fn write(dataset: &Dataset, request: &Request, output: &mut Output) -> Result<(), Error> {
    for side in &request.sides {
        let mut writer = Writer::new(dataset, *side, output);
        for_each_document(dataset, *side, |document| writer.push(document))?;
        writer.finish()?;
    }
    output.note("read with StreamingDataset(local=DIR, split=\"train\")");
    Ok(())
}

struct Writer<'a> {
    dataset: &'a Dataset,
    side: Split,
    output: &'a mut Output,
    config: Value,
    description: Vec<u8>,
    chunk: Chunk,
    shards: Vec<Value>,
    empty: u64,
}

impl<'a> Writer<'a> {
    fn new(dataset: &'a Dataset, side: Split, output: &'a mut Output) -> Writer<'a> {
        let config = config(dataset.manifest().dtype);
        let description = python_json(&config).into_bytes();
        Writer { dataset, side, output, config, description, chunk: Chunk::default(), shards: Vec::new(), empty: 0 }
    }

    fn push(&mut self, document: &Document<'_>) -> Result<(), Error> {
        if document.n_tokens == 0 {
            self.empty += 1; // the format has no empty array
            return Ok(());
        }
        let head = array_head(document.n_tokens);
        let (id, tokens) = (document.id.as_bytes(), document.tokens);
        let lengths = [id.len() as u64, (head.len() + tokens.len()) as u64].map(|bytes| u32::try_from(bytes).ok());
        let [Some(id_bytes), Some(array_bytes)] = lengths else { return Err(self.too_long(document.id)) };
        let sample_bytes = 8 + u64::from(id_bytes) + u64::from(array_bytes);
        // The writer counts 4 bytes a sample and 8 a shard, and looks before it appends.
        let bytes =
            8 + self.description.len() as u64 + 4 * (self.chunk.samples() + 1) + self.chunk.data_bytes() + sample_bytes;
        if bytes > CHUNK_BYTES && self.chunk.samples() > 0 {
            self.flush(document.id)?;
        }
        let parts = [&id_bytes.to_le_bytes()[..], &array_bytes.to_le_bytes(), id, &head, tokens];
        self.chunk.push(&parts, document.n_tokens);
        Ok(())
    }

    fn flush(&mut self, last_id: &str) -> Result<(), Error> {
        let basename = format!("shard.{:05}.mds", self.shards.len());
        let name = format!("{}/{basename}", self.side.name());
        let mut file = self.output.create(&name)?;
        if !self.chunk.write(&self.description, &mut file)? {
            return Err(self.too_long(last_id));
        }
        let bytes = self.output.commit(&name, file)?;
        let mut shard = self.config.clone();
        if let Some(fields) = shard.as_object_mut() {
            fields.insert("raw_data".to_owned(), json!({"basename": basename, "bytes": bytes, "hashes": {}}));
            fields.insert("samples".to_owned(), json!(self.chunk.samples()));
            fields.insert("zip_data".to_owned(), Value::Null);
        }
        self.shards.push(shard);
        self.output.count(self.chunk.samples(), self.chunk.tokens);
        self.chunk.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<(), Error> {
        if self.chunk.samples() > 0 {
            self.flush("the last one")?;
        }
        let index = json!({"shards": self.shards, "version": 2});
        self.output.write(&format!("{}/index.json", self.side.name()), python_json(&index).as_bytes())?;
        if self.empty > 0 {
            self.output
                .note(format!("{} documents without tokens were left out: the format has no empty array", self.empty));
        }
        Ok(())
    }

    fn too_long(&self, id: &str) -> Error {
        Error::DoesNotFit {
            path: self.dataset.dir().to_owned(),
            place: format!("document {id}").into(),
            format: "mds",
            expected: "samples of less than 4 GiB".into(),
            found: "a longer one".into(),
            hint: "drop long documents with `pipeline run --max-chars`, or export to datatrove",
        }
    }
}

/// Keys in alphabetical order, as the reader of the format compares nothing but writers write.
fn config(dtype: Dtype) -> Value {
    let array = match dtype {
        Dtype::U16 => "ndarray:uint16",
        Dtype::U32 => "ndarray:uint32",
    };
    json!({
        "column_encodings": ["str", array],
        "column_names": ["id", "tokens"],
        "column_sizes": [null, null],
        "compression": null,
        "format": "mds",
        "hashes": [],
        "size_limit": CHUNK_BYTES,
        "version": 2
    })
}

/// One dimension, its length in the narrowest width that holds it.
fn array_head(length: u64) -> Vec<u8> {
    let (code, width) = match length {
        0..=0xFF => (0, 1),
        0x100..=0xFFFF => (1, 2),
        0x1_0000..=0xFFFF_FFFF => (2, 4),
        _ => (3, 8),
    };
    let mut head = vec![1 << 2 | code];
    head.extend(length.to_le_bytes().iter().take(width));
    head
}

/// JSON with a blank after `,` and `:`, as Python writes it: the same dataset written there has the same bytes.
pub(super) fn python_json(value: &Value) -> String {
    let join = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Array(values) => format!("[{}]", join(values.iter().map(python_json).collect())),
        Value::Object(fields) => {
            let field =
                |(key, value): (&String, &Value)| format!("{}: {}", Value::from(key.as_str()), python_json(value));
            format!("{{{}}}", join(fields.iter().map(field).collect()))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::testing::{le_u16, le_u32, sample, sample_ids, to};
    use super::*;
    use crate::export::{Format, export};
    use crate::look::testing::{Doc, Shape, dataset, dataset_shaped};

    /// Samples of a side, read from the layout: index, offsets, columns by the JSON in the shard.
    fn read(folder: &Path) -> Vec<(String, Vec<u32>)> {
        let index: Value = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
        assert_eq!(index["version"], 2);
        let mut samples = Vec::new();
        for shard in index["shards"].as_array().unwrap() {
            let bytes = std::fs::read(folder.join(shard["raw_data"]["basename"].as_str().unwrap())).unwrap();
            assert_eq!(bytes.len() as u64, shard["raw_data"]["bytes"].as_u64().unwrap());
            let n = le_u32(&bytes[..4])[0] as usize;
            assert_eq!(n as u64, shard["samples"].as_u64().unwrap());
            let offsets = le_u32(&bytes[4..4 + 4 * (n + 1)]);
            let config: Value = serde_json::from_slice(&bytes[4 + 4 * (n + 1)..offsets[0] as usize]).unwrap();
            assert_eq!(config["column_names"], json!(["id", "tokens"]));
            samples.extend(
                offsets.windows(2).map(|pair| read_sample(&bytes[pair[0] as usize..pair[1] as usize], &config)),
            );
        }
        samples
    }

    fn read_sample(sample: &[u8], config: &Value) -> (String, Vec<u32>) {
        let sizes = le_u32(&sample[..8]);
        let (id, array) = sample[8..].split_at(sizes[0] as usize);
        assert_eq!(array.len(), sizes[1] as usize);
        assert_eq!(array[0] >> 2, 1);
        let width = 1usize << (array[0] & 3);
        let length = array[1..1 + width].iter().rev().fold(0usize, |length, byte| length << 8 | usize::from(*byte));
        let values = &array[1 + width..];
        let ids = if config["column_encodings"][1] == "ndarray:uint16" { le_u16(values) } else { le_u32(values) };
        assert_eq!(ids.len(), length);
        (String::from_utf8(id.to_vec()).unwrap(), ids)
    }

    #[test]
    fn samples_are_the_documents_with_their_ids() {
        for dtype in [Dtype::U16, Dtype::U32] {
            let (made, out) = sample(dtype);
            export(&made.open(), &to(Format::Mds, out.path())).unwrap();
            let (names, ids): (Vec<String>, Vec<Vec<u32>>) = read(&out.path().join("train")).into_iter().unzip();
            assert_eq!(names, ["a", "b", "c", "d"]);
            assert_eq!(ids, sample_ids(Split::Train));
            assert_eq!(read(&out.path().join("val")).len(), 1);
        }
    }

    #[test]
    fn a_long_document_has_a_wide_length() {
        let text = "x".repeat(300);
        let made = dataset(&[Doc::new("a", &text)]);
        let out = tempfile::tempdir().unwrap();
        export(&made.open(), &to(Format::Mds, out.path())).unwrap();
        assert_eq!(read(&out.path().join("train"))[0].1.len(), 302);
        assert_eq!(array_head(70_000), [6, 0x70, 0x11, 1, 0]);
    }

    #[test]
    fn without_rows_an_id_is_the_place_in_the_shard() {
        let made =
            dataset_shaped(&[Doc::new("a", "one"), Doc::new("b", "two")], Shape { parquet: false, ..Shape::default() });
        let out = tempfile::tempdir().unwrap();
        export(&made.open(), &to(Format::Mds, out.path())).unwrap();
        assert_eq!(read(&out.path().join("train"))[1].0, "train-00000/1");
    }

    #[test]
    fn json_is_spaced_as_python_spaces_it() {
        let text = python_json(&json!({"a": [1, null], "b": {}}));
        assert_eq!(text, r#"{"a": [1, null], "b": {}}"#);
    }
}

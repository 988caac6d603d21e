//! litdata, for its token loader: `SIDE/chunk-0-0.bin` and `SIDE/index.json`, an item a document.
//!
//! A chunk: u32 n, u32 offsets[n + 1] from the start of the file, the ids of all items back to back. The loader cuts a
//! chunk into blocks of its own length, drops the rest of each chunk, and never looks at the offsets. u16 ids are
//! declared as a NumPy array (torch's list of types there has no u16), u32 ones as an int32 tensor, which they fit.

use schemas::dtype::Dtype;
use schemas::manifest::Split;
use serde_json::{Value, json};
use shards::dataset::Dataset;

use super::chunk::{CHUNK_BYTES, Chunk};
use super::mds::python_json;
use super::output::{Output, Pattern};
use super::source::{Document, for_each_document};
use super::{Error, Request};

/// One array without structure around it, as PyTorch's pytree writes it.
const LEAF: &str = r#"[1, {"type": null, "context": null, "children_spec": []}]"#;

pub(super) fn patterns(side: &str) -> Vec<Pattern> {
    vec![Pattern::numbered(&format!("{side}/chunk-0-"), ".bin"), Pattern::exact(&format!("{side}/index.json"))]
}

pub(super) fn write(dataset: &Dataset, request: &Request, output: &mut Output) -> Result<(), Error> {
    for side in &request.sides {
        let mut writer = Writer { side: *side, output, chunk: Chunk::default(), chunks: Vec::new() };
        for_each_document(dataset, *side, |document| writer.push(dataset, document))?;
        writer.finish(dataset)?;
    }
    output.note("read with StreamingDataset(\"DIR/train\", item_loader=TokensLoader(block_size=...))");
    Ok(())
}

struct Writer<'a> {
    side: Split,
    output: &'a mut Output,
    chunk: Chunk,
    chunks: Vec<Value>,
}

impl Writer<'_> {
    fn push(&mut self, dataset: &Dataset, document: &Document<'_>) -> Result<(), Error> {
        if self.chunk.data_bytes() + document.tokens.len() as u64 > CHUNK_BYTES && self.chunk.samples() > 0 {
            self.flush(dataset)?;
        }
        self.chunk.push(&[document.tokens], document.n_tokens);
        Ok(())
    }

    fn flush(&mut self, dataset: &Dataset) -> Result<(), Error> {
        let filename = format!("chunk-0-{}.bin", self.chunks.len());
        let name = format!("{}/{filename}", self.side.name());
        let mut file = self.output.create(&name)?;
        if !self.chunk.write(&[], &mut file)? {
            return Err(too_long(dataset));
        }
        let bytes = self.output.commit(&name, file)?;
        let (samples, tokens) = (self.chunk.samples(), self.chunk.tokens);
        self.chunks.push(json!({"chunk_bytes": bytes, "chunk_size": samples, "dim": tokens, "filename": filename}));
        self.output.count(samples, tokens);
        self.chunk.clear();
        Ok(())
    }

    fn finish(mut self, dataset: &Dataset) -> Result<(), Error> {
        if self.chunk.samples() > 0 {
            self.flush(dataset)?;
        }
        // The time of the last change names the reader's cache folder; the dataset's identity serves, and is repeatable.
        let updated = &dataset.manifest().manifest_hash;
        let index = json!({"chunks": self.chunks, "config": config(dataset.manifest().dtype), "updated_at": updated});
        self.output.write(&format!("{}/index.json", self.side.name()), python_json(&index).as_bytes())
    }
}

fn too_long(dataset: &Dataset) -> Error {
    Error::DoesNotFit {
        path: dataset.dir().to_owned(),
        place: "a document".into(),
        format: "litdata",
        expected: "documents of less than 4 GiB".into(),
        found: "a longer one".into(),
        hint: "drop long documents with `pipeline run --max-chars`, or export to datatrove",
    }
}

fn config(dtype: Dtype) -> Value {
    let data_format = match dtype {
        Dtype::U16 => "no_header_numpy:5",
        Dtype::U32 => "no_header_tensor:16",
    };
    json!({
        "chunk_bytes": CHUNK_BYTES,
        "chunk_size": null,
        "compression": null,
        "data_format": [data_format],
        "data_spec": LEAF,
        "encryption": null,
        "item_loader": "TokensLoader"
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::testing::{le_u16, le_u32, sample, sample_ids, to};
    use super::*;
    use crate::export::{Format, export};

    /// Items of a side, read from the layout.
    fn read(folder: &Path) -> Vec<Vec<u32>> {
        let index: Value = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
        let is_narrow = index["config"]["data_format"][0] == "no_header_numpy:5";
        let mut items = Vec::new();
        for chunk in index["chunks"].as_array().unwrap() {
            let bytes = std::fs::read(folder.join(chunk["filename"].as_str().unwrap())).unwrap();
            assert_eq!(bytes.len() as u64, chunk["chunk_bytes"].as_u64().unwrap());
            let n = le_u32(&bytes[..4])[0] as usize;
            assert_eq!(n as u64, chunk["chunk_size"].as_u64().unwrap());
            let ids = |bytes: &[u8]| if is_narrow { le_u16(bytes) } else { le_u32(bytes) };
            let offsets = le_u32(&bytes[4..4 + 4 * (n + 1)]);
            assert_eq!(offsets[0] as usize, 4 + 4 * (n + 1));
            items.extend(offsets.windows(2).map(|pair| ids(&bytes[pair[0] as usize..pair[1] as usize])));
            assert_eq!(ids(&bytes[offsets[0] as usize..]).len() as u64, chunk["dim"].as_u64().unwrap());
        }
        items
    }

    #[test]
    fn items_are_the_documents() {
        for dtype in [Dtype::U16, Dtype::U32] {
            let (made, out) = sample(dtype);
            export(&made.open(), &to(Format::LitData, out.path())).unwrap();
            assert_eq!(read(&out.path().join("train")), sample_ids(Split::Train));
            assert_eq!(read(&out.path().join("val")), sample_ids(Split::Val));
        }
    }
}

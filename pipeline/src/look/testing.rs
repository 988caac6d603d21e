//! Small datasets for tests, written with the `shards` crate: one input, one token a byte of text (id = byte + 3),
//! BOS 1, EOS 2, line n of `in.jsonl` at byte 100 (n - 1).

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Float64Array, Int32Array, Int64Array, ListBuilder, RecordBatch, StringArray, UInt16Builder,
    UInt32Builder,
};
use schemas::columns::{Column, ColumnType, data_schema, rejects_schema};
use schemas::config::Config;
use schemas::dtype::Dtype;
use schemas::ledger::Ledger;
use schemas::manifest::{DocumentCounts, FileEntry, InputEntry, Manifest, Split, SplitEntry, Splits, TokenizerEntry};
use shards::commit::{sha256_hex, write_atomic};
use shards::dataset::{Dataset, write_manifest};
use shards::parquet::DataFile;
use shards::shard::ShardWriter;

/// What a line of the input is to become.
#[derive(Debug, Clone)]
enum End {
    Kept(Split),
    Blank,
    Dropped { stage: &'static str, rule: &'static str, value: &'static str },
    Invalid { rule: &'static str, raw: Vec<u8> },
}

/// A line of the input.
#[derive(Debug, Clone)]
pub(crate) struct Doc {
    id: String,
    text: String,
    end: End,
}

impl Doc {
    /// A document of the training side.
    pub(crate) fn new(id: &str, text: &str) -> Doc {
        Doc { id: id.to_owned(), text: text.to_owned(), end: End::Kept(Split::Train) }
    }

    /// A blank line.
    pub(crate) fn blank() -> Doc {
        Doc { end: End::Blank, ..Doc::new("", "") }
    }

    /// On the validation side instead.
    pub(crate) fn val(self) -> Doc {
        Doc { end: End::Kept(Split::Val), ..self }
    }

    /// Dropped instead.
    pub(crate) fn dropped(self, stage: &'static str, rule: &'static str, value: &'static str) -> Doc {
        Doc { end: End::Dropped { stage, rule, value }, ..self }
    }

    /// A damaged line instead.
    pub(crate) fn invalid(self, rule: &'static str, raw: &[u8]) -> Doc {
        Doc { end: End::Invalid { rule, raw: raw.to_vec() }, ..self }
    }
}

/// How a test dataset is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Width of a token id.
    pub dtype: Dtype,
    /// Documents of a shard.
    pub shard_documents: usize,
    /// Whether `data/` is written.
    pub parquet: bool,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape { dtype: Dtype::U16, shard_documents: usize::MAX, parquet: true }
    }
}

/// A dataset in a temporary folder.
pub(crate) struct Made {
    folder: tempfile::TempDir,
}

impl Made {
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn open(&self) -> Dataset {
        super::open(self.path()).unwrap()
    }
}

/// The ids of a text, as the test tokenizer has them.
pub(crate) fn ids(text: &str) -> Vec<u32> {
    let bytes = text.bytes().map(|byte| u32::from(byte) + 3);
    std::iter::once(1).chain(bytes).chain(std::iter::once(2)).collect()
}

/// A dataset of these lines.
pub(crate) fn dataset(docs: &[Doc]) -> Made {
    dataset_shaped(docs, Shape::default())
}

/// A dataset of these lines in a given shape.
pub(crate) fn dataset_shaped(docs: &[Doc], shape: Shape) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let mut files = copies(dir);
    let splits = Splits {
        train: write_split(dir, docs, Split::Train, shape, &mut files),
        val: write_split(dir, docs, Split::Val, shape, &mut files),
    };
    files.extend(write_rejects(dir, docs));
    let ledger = ledger(docs);
    let manifest = Manifest {
        documents: DocumentCounts { total: ledger.kept, kept: ledger.kept, repeated: 0, generated: 0 },
        dtype: shape.dtype,
        ledger,
        splits,
        config_hash: files[0].sha256.clone(),
        tokenizer: TokenizerEntry { hash: files[1].sha256.clone(), vocab_size: 259, bos_id: Some(1), eos_id: Some(2) },
        files,
        ..manifest_with_inputs(&["in.jsonl"])
    };
    let inputs = vec![InputEntry { lines: docs.len() as u64, ..manifest.inputs[0].clone() }];
    write_manifest(dir, Manifest { inputs, ..manifest }).unwrap();
    Made { folder }
}

/// A manifest of nothing but inputs.
pub(crate) fn manifest_with_inputs(paths: &[&str]) -> Manifest {
    let input = |path: &&str| InputEntry {
        path: (*path).to_owned(),
        bytes: 1000,
        hash: "0".repeat(32),
        lines: 0,
        license: None,
        origin: None,
    };
    Manifest {
        format_version: schemas::FORMAT_VERSION,
        tool_version: schemas::TOOL_VERSION.to_owned(),
        config_hash: String::new(),
        tokenizer: TokenizerEntry { hash: String::new(), vocab_size: 0, bos_id: None, eos_id: None },
        dtype: Dtype::U16,
        inputs: paths.iter().map(input).collect(),
        ledger: Ledger::default(),
        documents: DocumentCounts::default(),
        splits: Splits::default(),
        files: Vec::new(),
        complete: true,
        manifest_hash: String::new(),
    }
}

fn copies(dir: &Path) -> Vec<FileEntry> {
    let config = toml::to_string(&Config::default()).unwrap();
    let special = r#"{"bos_token":"<s>","eos_token":"</s>"}"#;
    let files =
        [("config.toml", config), ("tokenizer.json", tokenizer_json()), ("tokenizer_config.json", special.to_owned())];
    let write = |(name, content): (&str, String)| {
        write_atomic(dir.join(name), content.as_bytes()).unwrap();
        FileEntry {
            path: name.to_owned(),
            bytes: content.len() as u64,
            documents: None,
            tokens: None,
            sha256: sha256_hex(content.as_bytes()),
        }
    };
    files.into_iter().map(write).collect()
}

/// A byte-level BPE without merges: every byte is a token.
pub(crate) fn tokenizer_json() -> String {
    let mut vocab = String::from(r#""<unk>":0,"<s>":1,"</s>":2"#);
    for byte in 0..=255u8 {
        let name = serde_json::to_string(&byte_character(byte).to_string()).unwrap();
        write!(vocab, ",{name}:{}", u32::from(byte) + 3).unwrap();
    }
    let special = |id: u32, content: &str| {
        format!(
            r#"{{"id":{id},"content":"{content}","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}}"#
        )
    };
    let added = [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")].join(",");
    format!(
        r#"{{"version":"1.0","truncation":null,"padding":null,"added_tokens":[{added}],"normalizer":null,"pre_tokenizer":{{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}},"post_processor":null,"decoder":{{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}},"model":{{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"ignore_merges":false,"vocab":{{{vocab}}},"merges":[]}}}}"#
    )
}

/// The printable character that stands for a byte in byte-level vocabularies.
fn byte_character(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    if printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|other| !printable(*other)).count() as u32;
    char::from_u32(256 + before).unwrap()
}

fn columns() -> [Column; 1] {
    [Column { source_name: "score".to_owned(), name: "score".to_owned(), column_type: ColumnType::Float64 }]
}

type Line<'a> = (usize, &'a Doc);

fn write_split(dir: &Path, docs: &[Doc], split: Split, shape: Shape, files: &mut Vec<FileEntry>) -> SplitEntry {
    let is_side = |doc: &Doc| matches!(doc.end, End::Kept(side) if side == split);
    let lines: Vec<Line<'_>> = docs.iter().enumerate().filter(|(_, doc)| is_side(doc)).collect();
    let mut entry = SplitEntry { documents: lines.len() as u64, ..SplitEntry::default() };
    let mut places = Vec::new();
    for (number, lines) in lines.chunks(shape.shard_documents).enumerate() {
        let mut writer = ShardWriter::create(dir, split, number as u32, shape.dtype).unwrap();
        for (_, doc) in lines {
            places.push((number as i32, writer.tokens() as i64));
            let mut bytes = Vec::new();
            shards::tokens::encode(&ids(&doc.text), shape.dtype, &mut bytes).unwrap();
            writer.push_document(&bytes).unwrap();
        }
        entry.tokens += writer.tokens();
        let written = writer.finish().unwrap();
        entry.shards.push(written[0].path.clone());
        files.extend(written);
    }
    if shape.parquet && !lines.is_empty() {
        files.push(write_data(dir, split, &lines, &places, shape.dtype));
    }
    entry
}

fn strings<'a>(lines: &[Line<'a>], of: impl Fn(&'a Doc) -> &'a str) -> ArrayRef {
    Arc::new(lines.iter().map(|(_, doc)| Some(of(doc))).collect::<StringArray>())
}

fn places_of(lines: &[Line<'_>]) -> [ArrayRef; 3] {
    let sources: ArrayRef = Arc::new(lines.iter().map(|_| Some("in.jsonl")).collect::<StringArray>());
    let numbers: Int64Array = lines.iter().map(|(line, _)| Some(*line as i64 + 1)).collect();
    let offsets: Int64Array = lines.iter().map(|(line, _)| Some(*line as i64 * 100)).collect();
    [sources, Arc::new(numbers), Arc::new(offsets)]
}

fn token_lists(lines: &[Line<'_>], dtype: Dtype) -> ArrayRef {
    let field = |data_type| arrow::datatypes::Field::new("element", data_type, false);
    match dtype {
        Dtype::U16 => {
            let mut lists =
                ListBuilder::new(UInt16Builder::new()).with_field(field(arrow::datatypes::DataType::UInt16));
            lines.iter().for_each(|(_, doc)| lists.append_value(ids(&doc.text).iter().map(|id| Some(*id as u16))));
            Arc::new(lists.finish())
        }
        Dtype::U32 => {
            let mut lists =
                ListBuilder::new(UInt32Builder::new()).with_field(field(arrow::datatypes::DataType::UInt32));
            lines.iter().for_each(|(_, doc)| lists.append_value(ids(&doc.text).into_iter().map(Some)));
            Arc::new(lists.finish())
        }
    }
}

fn write_data(dir: &Path, split: Split, lines: &[Line<'_>], places: &[(i32, i64)], dtype: Dtype) -> FileEntry {
    let [sources, numbers, offsets] = places_of(lines);
    let columns_before: Vec<ArrayRef> = vec![
        strings(lines, |doc| &doc.id),
        strings(lines, |doc| &doc.text),
        sources,
        numbers,
        offsets,
        Arc::new(Int32Array::from(vec![0; lines.len()])),
        Arc::new(Float64Array::from(vec![0.5; lines.len()])),
        token_lists(lines, dtype),
        Arc::new(lines.iter().map(|(_, doc)| Some(ids(&doc.text).len() as i32)).collect::<Int32Array>()),
        Arc::new(places.iter().map(|(shard, _)| Some(*shard)).collect::<Int32Array>()),
        Arc::new(places.iter().map(|(_, offset)| Some(*offset)).collect::<Int64Array>()),
    ];
    let schema = Arc::new(data_schema(&columns(), false, dtype));
    let tokens = lines.iter().map(|(_, doc)| ids(&doc.text).len() as u64).sum();
    let batch = RecordBatch::try_new(schema, columns_before).unwrap();
    let path = format!("data/{}-00000-of-00001.parquet", split.name());
    FileEntry { tokens: Some(tokens), ..write_parquet(dir, &path, &batch) }
}

fn write_parquet(dir: &Path, path: &str, batch: &RecordBatch) -> FileEntry {
    let mut file = DataFile::create(dir.join(path), batch.schema(), Vec::new()).unwrap();
    let encoded = file.encoder().encode(batch).unwrap();
    file.append(encoded).unwrap();
    let digest = file.finish().unwrap();
    FileEntry {
        path: path.to_owned(),
        bytes: digest.bytes,
        documents: Some(batch.num_rows() as u64),
        tokens: None,
        sha256: digest.sha256,
    }
}

fn rejection(doc: &Doc) -> Option<(&str, &str, &str, Option<&[u8]>)> {
    match &doc.end {
        End::Dropped { stage, rule, value } => Some((stage, rule, value, None)),
        End::Invalid { rule, raw } => Some(("read", rule, "", Some(raw))),
        _ => None,
    }
}

fn write_rejects(dir: &Path, docs: &[Doc]) -> Option<FileEntry> {
    let lines: Vec<Line<'_>> = docs.iter().enumerate().filter(|(_, doc)| rejection(doc).is_some()).collect();
    let rejections: Vec<_> = lines.iter().filter_map(|(_, doc)| rejection(doc)).collect();
    let [sources, numbers, offsets] = places_of(&lines);
    let columns_before: Vec<ArrayRef> = vec![
        sources,
        numbers,
        offsets,
        Arc::new(rejections.iter().map(|(stage, ..)| Some(*stage)).collect::<StringArray>()),
        Arc::new(rejections.iter().map(|(_, rule, ..)| Some(*rule)).collect::<StringArray>()),
        Arc::new(rejections.iter().map(|(_, _, value, _)| Some(*value)).collect::<StringArray>()),
        Arc::new(
            lines.iter().map(|(_, doc)| Some(doc.id.as_str()).filter(|id| !id.is_empty())).collect::<StringArray>(),
        ),
        Arc::new(lines.iter().map(|(_, doc)| Some(doc.text.chars().count() as i64)).collect::<Int64Array>()),
        Arc::new(rejections.iter().map(|(.., raw)| *raw).collect::<BinaryArray>()),
        Arc::new(Float64Array::from(vec![0.5; lines.len()])),
    ];
    let schema = Arc::new(rejects_schema(&columns()));
    let batch = RecordBatch::try_new(schema, columns_before).unwrap();
    (!lines.is_empty()).then(|| write_parquet(dir, "rejects/part-00000.parquet", &batch))
}

fn ledger(docs: &[Doc]) -> Ledger {
    let mut ledger = Ledger { lines: docs.len() as u64, ..Ledger::default() };
    for doc in docs {
        match &doc.end {
            End::Kept(_) => ledger.kept += 1,
            End::Blank => ledger.blank += 1,
            End::Dropped { stage, rule, .. } => ledger.drop(stage, rule, 1),
            End::Invalid { rule, .. } => ledger.invalidate(rule, 1),
        }
    }
    ledger
}

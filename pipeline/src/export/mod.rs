//! A dataset in another trainer's format: one file a format, each with the layout it writes.
//!
//! Tokens are copied from the shards, ids and columns read from `data/`, both streamed, so memory does not grow with
//! the dataset. Every file appears complete or not at all, an index after what it lists.
//!
//! # Layout
//! - tokens: [`nanogpt`], [`llmc`], [`datatrove`], and [`mds`] and [`litdata`], whose shards are made of [`chunk`]s;
//! - text: [`jsonl`], [`csv`], [`txt`];
//! - [`source`]: documents and rows of a side, in order; [`output`]: the folder written to; [`error`].

pub mod chunk;
pub mod csv;
pub mod datatrove;
pub mod error;
pub mod jsonl;
pub mod litdata;
pub mod llmc;
pub mod mds;
pub mod nanogpt;
pub mod output;
pub mod source;
#[cfg(test)]
mod testing;
pub mod txt;

use std::path::PathBuf;

use schemas::manifest::Split;
use shards::dataset::Dataset;

pub use error::Error;
use output::{Output, Pattern, Written};

/// A format that a dataset can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `train.bin`, `val.bin`, or one file of both.
    NanoGpt,
    /// `NAME_train_000001.bin` with a header.
    LlmC,
    /// `.ds` and `.ds.index`, for datatrove and nanotron.
    Datatrove,
    /// MosaicML Streaming's MDS.
    Mds,
    /// litdata, for its token loader.
    LitData,
    /// A JSON object a document.
    Jsonl,
    /// RFC 4180.
    Csv,
    /// Text alone.
    Txt,
}

/// What to write where.
#[derive(Debug, Clone)]
pub struct Request {
    /// The format.
    pub format: Format,
    /// The folder to write to.
    pub out: PathBuf,
    /// The sides to write, in order.
    pub sides: Vec<Split>,
    /// nanogpt: one file of all sides.
    pub single_file: bool,
    /// llm.c: what file names start with.
    pub name: String,
    /// llm.c: most tokens in a file.
    pub shard_tokens: u64,
    /// Replace what is there of this format.
    pub force: bool,
}

/// Writes a dataset in another format.
///
/// # Errors
/// Where the format cannot hold the dataset, something is there already, or a file cannot be read or written.
pub fn export(dataset: &Dataset, request: &Request) -> Result<Written, Error> {
    let mut output = Output::open(dataset, request, patterns(request))?;
    match request.format {
        Format::NanoGpt => nanogpt::write(dataset, request, &mut output)?,
        Format::LlmC => llmc::write(dataset, request, &mut output)?,
        Format::Datatrove => datatrove::write(dataset, request, &mut output)?,
        Format::Mds => mds::write(dataset, request, &mut output)?,
        Format::LitData => litdata::write(dataset, request, &mut output)?,
        Format::Jsonl => jsonl::write(dataset, request, &mut output)?,
        Format::Csv => csv::write(dataset, request, &mut output)?,
        Format::Txt => txt::write(dataset, request, &mut output)?,
    }
    Ok(output.finish())
}

/// The names that an export of this kind may write.
fn patterns(request: &Request) -> Vec<Pattern> {
    let sides = request.sides.iter().map(|side| side.name());
    match request.format {
        Format::NanoGpt if request.single_file => vec![Pattern::exact(nanogpt::SINGLE_FILE)],
        Format::NanoGpt => sides.map(|side| Pattern::exact(&format!("{side}.bin"))).collect(),
        Format::LlmC => sides.map(|side| Pattern::numbered(&format!("{}_{side}_", request.name), ".bin")).collect(),
        Format::Datatrove => sides.flat_map(datatrove::patterns).collect(),
        Format::Mds => sides.flat_map(mds::patterns).collect(),
        Format::LitData => sides.flat_map(litdata::patterns).collect(),
        Format::Jsonl => sides.map(|side| Pattern::exact(&format!("{side}.jsonl"))).collect(),
        Format::Csv => sides.map(|side| Pattern::exact(&format!("{side}.csv"))).collect(),
        Format::Txt => sides.map(|side| Pattern::exact(&format!("{side}.txt"))).collect(),
    }
}

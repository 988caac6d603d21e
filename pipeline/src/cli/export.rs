//! `pipeline export`: a dataset in another trainer's format.

use std::io::{self, Write};
use std::path::PathBuf;

use schemas::manifest::Split;

use super::Outcome;
use super::print::{event, finish};
use crate::error::Error;
use crate::export::output::Written;
use crate::export::{Format, Request, export};
use crate::look::human::{bytes, plural};
use crate::settings::parse_bytes;

/// A file of MDS or litdata in memory, a batch of rows, and room around them.
const MEMORY_MIN: u64 = 256 << 20;

/// Arguments of `pipeline export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the dataset, or its manifest
    dir: PathBuf,
    /// The format
    #[arg(long, value_enum)]
    to: To,
    /// The folder to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Which side to write
    #[arg(long, value_enum, default_value_t = Sides::All)]
    split: Sides,
    /// nanogpt: one file, pretrain_data.bin, of the training documents and then the held-out ones
    #[arg(long)]
    single_file: bool,
    /// llm.c: what file names start with
    #[arg(long, default_value = "data")]
    name: String,
    /// llm.c: most tokens in a file
    #[arg(long, value_name = "N", default_value_t = 100_000_000)]
    shard_tokens: u64,
    /// Replace what is there of this format
    #[arg(long)]
    force: bool,
    /// Most resident memory; what is read and written is streamed, so more is of no use
    #[arg(long, value_name = "SIZE", default_value = "2GiB")]
    memory: String,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum To {
    /// train.bin, val.bin: u16 ids and nothing else
    Nanogpt,
    /// NAME_train_000001.bin: header, ids
    #[value(name = "llm.c")]
    LlmC,
    /// .ds, .ds.index: datatrove, nanotron
    Datatrove,
    /// MosaicML Streaming
    Mds,
    /// litdata, for its TokensLoader
    Litdata,
    /// A JSON object a document
    Jsonl,
    /// RFC 4180
    Csv,
    /// Text alone, a blank line between documents
    Txt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Sides {
    /// The training side
    Train,
    /// The held-out side
    Val,
    /// Both
    All,
}

/// Runs the command.
///
/// # Errors
/// Where the folder is no dataset, the format cannot hold it, or something is there already.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    validate(&args)?;
    let dataset = crate::look::open(&args.dir)?;
    let written = export(&dataset, &request(&args))?;
    let mut out = io::stdout().lock();
    finish(if args.json { event(&mut out, "done", &written) } else { print_text(&mut out, &args, &written) })
}

fn validate(args: &Args) -> Result<(), Error> {
    if args.single_file && args.to != To::Nanogpt {
        return Err(Error::usage("--single-file", "only nanogpt has one file of all documents", "--to nanogpt"));
    }
    if args.name.is_empty() || args.name.contains(['/', '\\']) {
        return Err(Error::usage("--name", format!("expected the start of a file name, found {:?}", args.name), ""));
    }
    match parse_bytes("--memory", &args.memory)? {
        memory if memory < MEMORY_MIN => {
            let detail = format!("expected at least {}, found {}", bytes(MEMORY_MIN), args.memory);
            Err(Error::usage("--memory", detail, ""))
        }
        _ => Ok(()),
    }
}

fn request(args: &Args) -> Request {
    Request {
        format: match args.to {
            To::Nanogpt => Format::NanoGpt,
            To::LlmC => Format::LlmC,
            To::Datatrove => Format::Datatrove,
            To::Mds => Format::Mds,
            To::Litdata => Format::LitData,
            To::Jsonl => Format::Jsonl,
            To::Csv => Format::Csv,
            To::Txt => Format::Txt,
        },
        out: args.out.clone(),
        sides: match args.split {
            Sides::Train => vec![Split::Train],
            Sides::Val => vec![Split::Val],
            Sides::All => Split::ALL.to_vec(),
        },
        single_file: args.single_file,
        name: args.name.clone(),
        shard_tokens: args.shard_tokens,
        force: args.force,
    }
}

fn print_text(out: &mut dyn Write, args: &Args, written: &Written) -> io::Result<()> {
    let size = written.files.iter().map(|file| file.bytes).sum();
    let tokens = if written.tokens > 0 { format!(", {}", plural(written.tokens, "token")) } else { String::new() };
    let (documents, files) = (plural(written.documents, "document"), plural(written.files.len() as u64, "file"));
    writeln!(out, "{}: {documents}{tokens} in {files}, {}", args.out.display(), bytes(size))?;
    written.notes.iter().try_for_each(|note| writeln!(out, "  {note}"))
}

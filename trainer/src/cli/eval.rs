//! `trainer eval`.

use std::io::Write;
use std::path::{Path, PathBuf};

use schemas::manifest::Split;
use serde_json::json;
use shards::dataset::Dataset;

use super::console::{event, grouped};
use super::{Outcome, find_checkpoint, use_threads};
use crate::checkpoint::load_model;
use crate::error::{Error, Result};
use crate::eval::{Document, Documents, Evaluator, Groups, Tally};
use crate::generate::TextCodec;
use crate::model::{LanguageModel, Llama};

/// Arguments of `trainer eval`.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct Args {
    /// A checkpoint, the output folder of a run (its latest checkpoint), or any folder of a Llama
    #[arg(long)]
    checkpoint: PathBuf,
    /// A manifest or dataset folder; may be given several times
    #[arg(long, visible_alias = "data-path", required_unless_present = "text")]
    data: Vec<PathBuf>,
    /// The side of the datasets
    #[arg(long, value_enum, default_value_t = Side::Val)]
    split: Side,
    /// Also sum by a column of the datasets' Parquet files, such as source
    #[arg(long, value_name = "COLUMN")]
    by: Option<String>,
    /// A text file, or the `text` of each line of a .jsonl; may be given several times
    #[arg(long)]
    text: Vec<PathBuf>,
    /// Documents of each set, at most [default: all]
    #[arg(long)]
    max_documents: Option<usize>,
    /// Tokens judged of each piece of a long document; fewer than the model's positions give each more context
    /// [default: the positions]
    #[arg(long)]
    stride: Option<usize>,
    /// tokenizer.json, or its folder [default: the checkpoint's]
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// cpu
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Threads that compute [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Print an event of JSON
    #[arg(long)]
    json: bool,
}

/// `--split`.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Side {
    Train,
    Val,
}

impl From<Side> for Split {
    fn from(side: Side) -> Split {
        match side {
            Side::Train => Split::Train,
            Side::Val => Split::Val,
        }
    }
}

/// Groups shown of a set; `--json` has them all.
const GROUPS_SHOWN: usize = 30;

/// A set and what the model makes of it.
struct Judged {
    name: String,
    groups: Groups,
}

struct Judge<'a> {
    args: &'a Args,
    model: &'a Llama,
    codec: Option<&'a TextCodec>,
}

impl Judge<'_> {
    fn set(&self, name: &Path, documents: impl Iterator<Item = Result<Document>>) -> Result<Judged> {
        let mut groups = Groups::default();
        let evaluator = Evaluator::new(self.model, self.codec, self.args.stride);
        evaluator.judge(documents.take(self.args.max_documents.unwrap_or(usize::MAX)), &mut groups)?;
        if groups.total().tokens == 0 {
            let problem = "holds no token to judge".to_owned();
            return Err(Error::Data { path: name.to_path_buf(), problem });
        }
        Ok(Judged { name: name.display().to_string(), groups })
    }

    fn dataset(&self, path: &Path) -> Result<Judged> {
        let dataset = Dataset::open(path)?;
        self.set(path, Documents::new(&dataset, self.args.split.into(), self.args.by.as_deref()).iter())
    }

    fn text(&self, path: &Path) -> Result<Judged> {
        let config = self.model.config();
        let Some(codec) = self.codec else {
            let problem = "a text needs a tokenizer, and the checkpoint has none".to_owned();
            return Err(Error::Config { field: "tokenizer", problem });
        };
        let documents = Document::of_file(path, codec, config.bos_token_id, config.eos_token_id)?;
        self.set(path, documents.into_iter().map(Ok))
    }
}

fn line(out: &mut impl Write, name: &str, tally: &Tally) -> std::io::Result<()> {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
    writeln!(
        out,
        "{:>10}  {:>12}  {:>8}  {:>10}  {:>9}  {name}",
        grouped(tally.documents),
        grouped(tally.tokens),
        number(tally.loss()),
        tally.perplexity().map_or("-".to_owned(), |value| format!("{value:.2}")),
        number(tally.bits_per_byte()),
    )
}

fn show(sets: &[Judged], by: Option<&str>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:>10}  {:>12}  {:>8}  {:>10}  {:>9}", "documents", "tokens", "loss", "perplexity", "bits/byte")?;
    for set in sets {
        line(&mut out, &set.name, &set.groups.total())?;
        let Some(by) = by else { continue };
        let groups = set.groups.by_tokens();
        for (group, tally) in groups.iter().take(GROUPS_SHOWN).filter(|(group, _)| !group.is_empty()) {
            line(&mut out, &format!("  {by} = {group}"), tally)?;
        }
        if groups.len() > GROUPS_SHOWN {
            writeln!(out, "... {} more groups; --json has them all", grouped((groups.len() - GROUPS_SHOWN) as u64))?;
        }
    }
    Ok(())
}

fn json_of(tally: &Tally) -> serde_json::Value {
    json!({"documents": tally.documents, "tokens": tally.tokens, "bytes": tally.bytes, "loss": tally.loss(),
           "perplexity": tally.perplexity(), "bits_per_byte": tally.bits_per_byte()})
}

fn events(sets: &[Judged], by: Option<&str>) -> std::io::Result<()> {
    let set = |set: &Judged| {
        let mut value = json_of(&set.groups.total());
        value["name"] = set.name.clone().into();
        if by.is_some() {
            let groups = set.groups.by_tokens().into_iter().map(|(group, tally)| {
                let mut value = json_of(tally);
                value["group"] = group.into();
                value
            });
            value["groups"] = groups.collect();
        }
        value
    };
    event(&json!({"event": "done", "by": by, "sets": sets.iter().map(set).collect::<Vec<_>>()}))
}

/// Runs the command.
///
/// # Errors
/// Where the checkpoint, a dataset or a text does not open, or has ids beyond the model's vocabulary.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let device = super::host_device(&args.device)?;
    use_threads(args.threads)?;
    let folder = find_checkpoint(&args.checkpoint)?;
    let model = load_model(&folder, &device)?;
    let tokenizer = args.tokenizer.as_deref().unwrap_or(&folder);
    let has_tokenizer = args.tokenizer.is_some() || tokenizer.join("tokenizer.json").is_file();
    let codec = has_tokenizer.then(|| TextCodec::open(tokenizer)).transpose()?;
    let judge = Judge { args: &args, model: &model, codec: codec.as_ref() };
    let datasets = args.data.iter().map(|path| judge.dataset(path));
    let sets: Vec<Judged> = datasets.chain(args.text.iter().map(|path| judge.text(path))).collect::<Result<_>>()?;
    if args.json {
        events(&sets, args.by.as_deref())?;
    } else {
        show(&sets, args.by.as_deref())?;
    }
    Ok(Outcome::Done)
}

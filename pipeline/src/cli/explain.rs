//! `pipeline explain`: how similar two documents are, and what they share.
//!
//! A kept document's text stands in `data/`. That of a dropped one is read again from its input, where the run found it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use schemas::config::{Config, DedupMethod};
use serde_json::{Value, json};
use shards::dataset::Dataset;

use super::Outcome;
use super::check::open;
use super::print::{event, finish};
use crate::dedup::compare::{Comparison, compare};
use crate::dedup::settings::{Near, Settings};
use crate::error::Error;
use crate::look::document::documents;
use crate::look::fate::{Fate, Origin, fates};
use crate::look::human::one_line;
use crate::look::query::Query;
use crate::read::{self, inputs};
use crate::settings;

/// Passages shown to people; `--json` gives the number of all.
const PASSAGES_SHOWN: usize = 3;
/// Characters of a passage shown to people.
const PASSAGE_CHARS: usize = 160;

/// Arguments of `pipeline explain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the dataset, or its manifest
    dir: PathBuf,
    /// A document's id, FILE:LINE (from 1), or FILE@OFFSET (bytes, in the decompressed stream)
    left: String,
    /// The other document
    right: String,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// A document, its fate and its text.
struct Found {
    origin: Origin,
    fate: String,
    text: String,
}

/// Runs the command.
///
/// # Errors
/// Where the folder is no dataset, a query means no document, or the input of a dropped one is gone.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let dataset = crate::look::open(&args.dir)?;
    let config = settings::load(&dataset.dir().join("config.toml"))?;
    let near = near(&config)?;
    let (left, right) = (find(&dataset, &config, &args.left)?, find(&dataset, &config, &args.right)?);
    let comparison = compare(&near, &left.text, &right.text);
    let mut out = io::stdout().lock();
    let print = if args.json { print_json } else { print_text };
    finish(print(&mut out, &near, [&left, &right], &comparison))
}

/// The dataset's settings, with near-duplicates looked for whether or not the run did.
fn near(config: &Config) -> anyhow::Result<Near> {
    let dedup = schemas::config::Dedup { method: DedupMethod::Minhash, ..config.dedup.clone() };
    let near = Settings::from_config(&dedup)?.near;
    near.ok_or_else(|| anyhow::anyhow!("config.toml: its [dedup] section names no way to compare documents"))
}

fn find(dataset: &Dataset, config: &Config, name: &str) -> anyhow::Result<Found> {
    let query = Query::parse(name, dataset.manifest());
    let fate = fates(dataset, std::slice::from_ref(&query))?.into_iter().flatten().next();
    match fate {
        Some(Fate::Kept { origin, split, .. }) => {
            let views = documents(dataset, &query)?;
            let text = views.first().and_then(|view| view.row.get("text")).and_then(Value::as_str);
            let text = text.unwrap_or_default().to_owned();
            Ok(Found { origin, fate: format!("kept in {}", split.name()), text })
        }
        Some(Fate::Rejected { origin, stage, rule, value, .. }) if origin.doc_id.is_some() => {
            let text = text_of_input(dataset, config, &origin)?;
            let value = value.map_or_else(String::new, |value| format!(" ({value})"));
            Ok(Found { origin, fate: format!("dropped by {stage}: {rule}{value}"), text })
        }
        _ => anyhow::bail!(
            "{}: no document is called {name}\nhint: `pipeline why {} {name}` tells what became of a line",
            dataset.dir().display(),
            dataset.dir().display()
        ),
    }
}

fn text_of_input(dataset: &Dataset, config: &Config, origin: &Origin) -> anyhow::Result<String> {
    let path = input_path(dataset, &origin.source)?;
    let options = read::Options::from_config(&config.read)?;
    let files = inputs::expand(std::slice::from_ref(&path), dataset.dir()).map_err(Error::from)?;
    let input = files.first().ok_or_else(|| anyhow::anyhow!("{path}: expected a file, found none"))?;
    let mut reader = open(input, &options)?;
    while let Some(block) = reader.next_block().map_err(Error::from)? {
        let records = block.parse(&options);
        let found = records.documents.iter().find(|document| document.position.line + 1 == origin.line);
        if let Some(document) = found {
            return Ok(String::from_utf8_lossy(records.bytes(document.text)).into_owned());
        }
    }
    anyhow::bail!("{path}: expected a document in line {}, found none\nhint: the input changed since", origin.line)
}

/// Where the run found an input: `run/run.json` names them in the manifest's order.
fn input_path(dataset: &Dataset, source: &str) -> anyhow::Result<String> {
    let index = dataset.manifest().inputs.iter().position(|input| input.path == source);
    let report = std::fs::read_to_string(dataset.dir().join("run/run.json")).unwrap_or_default();
    let report: Value = serde_json::from_str(&report).unwrap_or_default();
    let path = index.and_then(|index| report["inputs"].get(index)?.as_str().map(str::to_owned));
    path.filter(|path| Path::new(path).exists()).ok_or_else(|| {
        anyhow::anyhow!(
            "{source}: the text of a dropped document is in its input, which is not where the run found it\n\
             hint: put it back; run/run.json names its path"
        )
    })
}

fn print_text(out: &mut dyn Write, near: &Near, found: [&Found; 2], comparison: &Comparison) -> io::Result<()> {
    for (name, document) in ["A", "B"].iter().zip(found) {
        let Origin { doc_id, source, line, .. } = &document.origin;
        let id = doc_id.as_deref().unwrap_or_default();
        writeln!(out, "{name}  {}, {source} line {line}: {}", one_line(id, PASSAGE_CHARS), document.fate)?;
    }
    let Comparison { shingles: [left, right], shared, similarity, keys_shared, passages } = comparison;
    let all = left + right - shared;
    writeln!(out, "similarity {similarity:.4}: {shared} of {all} shingles of {} units", near.shingle_units)?;
    writeln!(out, "  A has {left}, B has {right}; the threshold is {}", near.threshold)?;
    let (bands, chance) = (near.bands.bands, near.bands.catches(*similarity));
    writeln!(out, "  match keys in common: {keys_shared} of {bands}; chance of at least one: {chance:.3}")?;
    if let [left, _] = found
        && !passages.is_empty()
    {
        writeln!(out, "longest passages of A in B ({} in all)", passages.len())?;
        for bytes in passages.iter().take(PASSAGES_SHOWN) {
            writeln!(out, "  {}", one_line(left.text.get(bytes.clone()).unwrap_or_default(), PASSAGE_CHARS))?;
        }
    }
    Ok(())
}

fn print_json(out: &mut dyn Write, near: &Near, found: [&Found; 2], comparison: &Comparison) -> io::Result<()> {
    let [left, right] = found.map(|found| json!({"document": found.origin, "fate": found.fate}));
    let [left_shingles, right_shingles] = comparison.shingles;
    let fields = json!({
        "left": left,
        "right": right,
        "similarity": comparison.similarity,
        "shared": comparison.shared,
        "left_shingles": left_shingles,
        "right_shingles": right_shingles,
        "keys_shared": comparison.keys_shared,
        "keys": near.bands.bands,
        "threshold": near.threshold,
        "passages": comparison.passages.len(),
    });
    event(out, "done", &fields)
}

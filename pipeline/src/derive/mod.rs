//! Datasets made from datasets: joined (merge), with documents taken out (remove), encoded anew (retokenize).
//!
//! Each is a run whose read stage takes the rows of `data/` and `rejects/` instead of lines ([`crate::stages::rows`]);
//! every later stage is that of any run. Text, columns, places, ids and the side of the split stay as they were. The
//! ledgers add up: what is taken out moves from `kept` to `dropped.remove`.
//!
//! The settings are those of the first dataset, with a section `derive` that names what was done and the
//! `manifest_hash` of each dataset. Rows come in the order of the datasets, and rejects too: those of a dataset follow
//! the documents taken out of it.

pub mod ids;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use schemas::config::{Config, Derive, DeriveStep, Tokenize};
use schemas::ledger::Ledger;
use schemas::manifest::{InputEntry, Split};
use serde::{Deserialize, Serialize};
use shards::dataset::Dataset;

use crate::engine::plan::Plan;
use crate::error::Error;
use crate::look;
use crate::read::inputs::{Compression, Format, Input, Part};
use crate::tokenize::Encoder;

/// Column of the documents' ids in `data/` and `rejects/`.
pub const DOC_ID: &str = "doc_id";

/// The datasets that a run is made from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Derived {
    /// Their inputs, in order: what they were called, and their lines.
    pub inputs: Vec<InputEntry>,
    /// Their ledgers, added up.
    pub ledger: Ledger,
    /// Their Parquet files, in order; one task each.
    pub files: Vec<SourceFile>,
    /// remove: the list of ids.
    pub ids: Option<IdFile>,
}

/// A Parquet file of a dataset.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SourceFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// sha256 of its bytes, by the manifest.
    pub sha256: String,
    /// The side of its rows; None for rejects.
    pub split: Option<Split>,
    /// Position of its dataset's first input in [`Derived::inputs`].
    pub first_input: usize,
    /// How many inputs its dataset has.
    pub inputs: usize,
}

/// A list of ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdFile {
    /// Where it lies.
    pub path: PathBuf,
    /// sha256 of its bytes when the run was planned.
    pub sha256: String,
}

/// What is to be done to which datasets.
#[derive(Debug)]
pub enum Step<'a> {
    /// Join them.
    Merge,
    /// Take these documents out.
    Remove {
        /// A file with an id a line.
        ids: &'a Path,
    },
    /// Encode anew.
    Retokenize {
        /// The settings of the new tokenizer.
        tokenize: Tokenize,
    },
}

/// A plan and its tokenizer.
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// The tokenizer.
    pub encoder: Encoder,
}

/// Opens the datasets, refuses what cannot be done to them, and plans it.
///
/// `machine` sets memory, threads and work folder.
///
/// # Errors
/// Datasets without `data/`, with copies made by mixing, or (merge) with different ids; an `out` that is one of them.
pub fn plan(
    sources: &[PathBuf],
    out: &Path,
    step: Step<'_>,
    machine: schemas::config::Machine,
) -> Result<Planned, Error> {
    let datasets = sources.iter().map(|source| open(source)).collect::<Result<Vec<Dataset>, Error>>()?;
    let Some(first) = datasets.first() else { return Err(Error::usage("DIR", "no dataset is given", "")) };
    refuse_own_output(&datasets, out)?;
    let ids = match &step {
        Step::Remove { ids } => Some(IdFile { path: real_path(ids)?, sha256: shards::commit::hash_file(ids)?.sha256 }),
        _ => None,
    };
    let config = config(first, &datasets, &step, ids.as_ref(), machine)?;
    let encoder = Encoder::load(Path::new(&config.tokenize.tokenizer), &config.tokenize)?;
    if !matches!(step, Step::Retokenize { .. }) {
        refuse_other_ids(first, &datasets, &encoder)?;
    }
    let derived = derived(&datasets, ids)?;
    let mut plan = Plan::of_inputs(config, inputs(&derived), out, &encoder)?;
    let part = |file: &SourceFile| Part { input: file.first_input, start: 0, end: file.bytes };
    plan.parts = derived.files.iter().map(part).collect();
    plan.derived = Some(derived);
    Ok(Planned { plan, encoder })
}

fn open(source: &Path) -> Result<Dataset, Error> {
    let dataset = look::open(source)?;
    look::document::require_data(&dataset, "making a dataset from another")?;
    let documents = &dataset.manifest().documents;
    if documents.repeated + documents.generated > 0 {
        let detail = format!("{} holds documents made by mixing or augmentation", source.display());
        return Err(Error::usage("DIR", detail, "derive from the dataset before mixing, then mix again"));
    }
    Ok(dataset)
}

fn refuse_own_output(datasets: &[Dataset], out: &Path) -> Result<(), Error> {
    let real = |path: &Path| fs::canonicalize(path).ok();
    let out_path = real(out);
    match datasets.iter().find(|dataset| out_path.is_some() && real(folder(dataset)) == out_path) {
        Some(_) => {
            Err(Error::usage("--out", format!("{} is a dataset that is read", out.display()), "choose another folder"))
        }
        None => Ok(()),
    }
}

/// The folder of a dataset; a manifest given by its bare name lies in the current one.
fn folder(dataset: &Dataset) -> &Path {
    if dataset.dir().as_os_str().is_empty() { Path::new(".") } else { dataset.dir() }
}

fn config(
    first: &Dataset,
    datasets: &[Dataset],
    step: &Step<'_>,
    ids: Option<&IdFile>,
    machine: schemas::config::Machine,
) -> Result<Config, Error> {
    let mut config = crate::settings::load(&first.dir().join("config.toml"))?;
    config.machine = machine;
    config.output.parquet = true;
    config.tokenize.dtype = first.manifest().dtype;
    config.tokenize.tokenizer = real_path(&first.dir().join("tokenizer.json"))?.display().to_string();
    if let Step::Retokenize { tokenize } = step {
        config.tokenize = Tokenize {
            tokenizer: real_path(Path::new(&tokenize.tokenizer))?.display().to_string(),
            ..tokenize.clone()
        };
    }
    config.derive = Some(Derive {
        step: match step {
            Step::Merge => DeriveStep::Merge,
            Step::Remove { .. } => DeriveStep::Remove,
            Step::Retokenize { .. } => DeriveStep::Retokenize,
        },
        from: datasets.iter().map(|dataset| dataset.manifest().manifest_hash.clone()).collect(),
        ids: ids.map(|ids| ids.sha256.clone()),
    });
    Ok(config)
}

fn real_path(path: &Path) -> Result<PathBuf, Error> {
    fs::canonicalize(path).map_err(|error| Error::io("open", path, error))
}

/// Text of one dataset must become the ids it has there.
fn refuse_other_ids(first: &Dataset, datasets: &[Dataset], encoder: &Encoder) -> Result<(), Error> {
    let manifest = first.manifest();
    if encoder.hash() != manifest.tokenizer.hash {
        let detail =
            format!("{} is not the tokenizer its dataset was made with", first.dir().join("tokenizer.json").display());
        return Err(Error::usage("DIR", detail, "`pipeline verify` lists what is damaged"));
    }
    for other in datasets {
        let (expected, found) = (ids_of(first)?, ids_of(other)?);
        if let Some((expected, found)) = expected.into_iter().zip(found).find(|(expected, found)| expected != found) {
            let folders = (first.dir().display(), other.dir().display());
            let detail = format!("datasets of different ids: {} has {expected}, {} has {found}", folders.0, folders.1);
            return Err(Error::usage("DIR", detail, "encode one of them anew with `pipeline retokenize`"));
        }
    }
    Ok(())
}

/// What decides the ids of a text.
fn ids_of(dataset: &Dataset) -> Result<[String; 5], Error> {
    let manifest = dataset.manifest();
    let tokenizer = &manifest.tokenizer;
    let special = |id: Option<u32>| id.map_or("none".to_owned(), |id| id.to_string());
    let config = crate::settings::load(&dataset.dir().join("config.toml"))?;
    Ok([
        format!("tokenizer sha256 {}", tokenizer.hash),
        format!("dtype {}", manifest.dtype.name()),
        format!("BOS {}", special(tokenizer.bos_id)),
        format!("EOS {}", special(tokenizer.eos_id)),
        format!("allow_special {}", config.tokenize.allow_special),
    ])
}

fn derived(datasets: &[Dataset], ids: Option<IdFile>) -> Result<Derived, Error> {
    let mut derived = Derived { inputs: Vec::new(), ledger: Ledger::default(), files: Vec::new(), ids };
    for dataset in datasets {
        let first_input = derived.inputs.len();
        let manifest = dataset.manifest();
        let sides =
            Split::ALL.into_iter().flat_map(|split| dataset.data_files(split).map(move |entry| (Some(split), entry)));
        for (split, entry) in sides.chain(dataset.reject_files().map(|entry| (None, entry))) {
            derived.files.push(SourceFile {
                path: real_path(&dataset.dir().join(&entry.path))?,
                bytes: entry.bytes,
                sha256: entry.sha256.clone(),
                split,
                first_input,
                inputs: manifest.inputs.len(),
            });
        }
        derived.inputs.extend(manifest.inputs.iter().cloned());
        derived.ledger.merge(&manifest.ledger);
    }
    Ok(derived)
}

/// The inputs as a plan lists them; none of them is opened.
fn inputs(derived: &Derived) -> Vec<Input> {
    let input = |entry: &InputEntry| Input {
        path: PathBuf::from(&entry.path),
        label: entry.path.clone(),
        bytes: entry.bytes,
        modified: UNIX_EPOCH,
        format: Format::Parquet,
        compression: Compression::None,
    };
    derived.inputs.iter().map(input).collect()
}

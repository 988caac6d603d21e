//! The commit: copies, the dataset card, the report, the manifest last; then the task files are garbage.

use std::fmt::Write;
use std::path::Path;

use schemas::ledger::Ledger;
use schemas::manifest::{FileEntry, InputEntry, Manifest, Split, SplitEntry, Splits, TokenizerEntry};
use schemas::rule::InvalidRule;
use schemas::{FORMAT_VERSION, TOOL_VERSION};
use serde_json::json;
use shards::commit::{sha256_hex, write_atomic};

use super::duplicates;
use super::keys;
use super::order::{self, OrderDone};
use super::rejects::{self, RejectsDone};
use super::report;
use super::write::{self, WriteDone};
use crate::engine::lock::host_name;
use crate::engine::memory;
use crate::engine::run::Run;
use crate::error::Error;
use crate::report::figures::Figures;
use crate::report::page::page;

/// Name of the step, as it stands among the stages.
pub const NAME: &str = "commit";

/// Writes what is left of the dataset, the manifest last.
///
/// # Errors
/// Whatever stops it; without a manifest there is no dataset, and the rerun commits.
pub fn commit(run: &Run) -> Result<Manifest, Error> {
    let order: OrderDone = run.marker(order::NAME, 0)?;
    let (shards, reject_files) = (order.shards.len(), order.reject_files.len());
    let mut files = shard_files(run, &order)?;
    let splits = Splits { train: split_entry(&order, Split::Train), val: split_entry(&order, Split::Val) };
    let tokenizer = TokenizerEntry {
        hash: run.encoder.hash().to_owned(),
        vocab_size: run.encoder.vocab_size(),
        bos_id: run.encoder.bos_id(),
        eos_id: run.encoder.eos_id(),
    };
    for file in run.encoder.files()? {
        files.push(copy(&run.plan.dataset, file.name, &file.bytes)?);
    }
    files.push(copy(&run.plan.dataset, "config.toml", run.plan.config_toml.as_bytes())?);
    let card = dataset_card(&splits, &order.ledger, run);
    files.push(copy(&run.plan.dataset, "README.md", card.as_bytes())?);
    let mut manifest = Manifest {
        format_version: FORMAT_VERSION,
        tool_version: TOOL_VERSION.to_owned(),
        config_hash: sha256_hex(run.plan.config_toml.as_bytes()),
        tokenizer,
        dtype: run.plan.config.tokenize.dtype,
        inputs: input_entries(run)?,
        documents: order.documents,
        splits,
        files,
        complete: !damaged_streams(&order.ledger),
        ledger: order.ledger,
        manifest_hash: String::new(),
    };
    let figures = Figures::new(&manifest, &run.plan.config.filter, report::gather(run, shards, reject_files)?);
    let json = serde_json::to_string_pretty(&figures).unwrap_or_default() + "\n";
    manifest.files.push(copy(&run.plan.dataset, "report.json", json.as_bytes())?);
    manifest.files.push(copy(&run.plan.dataset, "report.html", page(&figures).as_bytes())?);
    manifest.files.sort_by(|left, right| left.path.cmp(&right.path));
    shards::dataset::write_manifest(&run.plan.dataset, manifest.clone())?;
    Ok(manifest)
}

/// Whether an input stream ended in damage.
pub fn damaged_streams(ledger: &Ledger) -> bool {
    let streams = InvalidRule::ALL.into_iter().filter(|rule| rule.is_stream());
    streams.into_iter().any(|rule| ledger.invalid.contains_key(rule.name()))
}

/// Removes the task files of a committed run and leaves `run/run.json`: how it went.
///
/// # Errors
/// [`Error::Io`] where the folder cannot be cleared.
pub fn clear(run: &Run, seconds: f64) -> Result<(), Error> {
    let inputs: Vec<String> = run.plan.inputs.iter().map(|input| input.path.display().to_string()).collect();
    let report = json!({
        "seconds": seconds,
        "stages": run.progress.times(),
        "host": host_name(),
        "threads": run.threads(),
        "memory_bytes": run.plan.memory,
        "peak_resident_bytes": memory::peak_resident_bytes(),
        "inputs": inputs,
    });
    let mut text = serde_json::to_string_pretty(&report).unwrap_or_default();
    text.push('\n');
    write_atomic(run.plan.dataset.join("run").join("run.json"), text.as_bytes())?;
    for folder in ["", "tokens", "data", "rejects", duplicates::NAME, keys::NAME] {
        remove_leftovers(&run.plan.dataset.join(folder))?;
    }
    // The plan goes before the markers: without it, and with a manifest, a rerun finds the work done.
    remove_file(&run.work_dir.join(crate::engine::plan::PLAN_FILE))?;
    let chain = super::chain(&run.plan);
    for folder in chain.iter().map(|stage| run.work_dir.join(stage.name())) {
        remove_folder(&folder)?;
    }
    remove_file(&run.work_dir.join(crate::read::inputs::SPOOL_FILE))
}

/// Removes what killed attempts left under temporary names, so that a resumed run leaves what an unbroken one does.
fn remove_leftovers(folder: &Path) -> Result<(), Error> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| Error::io("list", folder, error))?,
    };
    for entry in entries {
        let entry = entry.map_err(|error| Error::io("list", folder, error))?;
        if entry.file_name().to_string_lossy().contains(shards::commit::TEMP_MARK) {
            remove_file(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_folder(path: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, error)),
        _ => Ok(()),
    }
}

fn remove_file(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, error)),
        _ => Ok(()),
    }
}

fn shard_files(run: &Run, order: &OrderDone) -> Result<Vec<FileEntry>, Error> {
    let mut files = Vec::new();
    for rank in 0..order.shards.len() {
        files.extend(run.marker::<WriteDone>(write::NAME, rank)?.files);
    }
    for rank in 0..order.reject_files.len() {
        files.extend(run.marker::<RejectsDone>(rejects::NAME, rank)?.files);
    }
    if run.plan.finds_duplicates() {
        files.extend(duplicates::files(run)?);
    }
    if run.plan.keeps_keys() {
        files.extend(keys::files(run)?);
    }
    Ok(files)
}

fn split_entry(order: &OrderDone, split: Split) -> SplitEntry {
    let shards: Vec<_> = order.shards.iter().filter(|shard| shard.split == split).collect();
    SplitEntry {
        documents: shards.iter().map(|shard| shard.documents).sum(),
        tokens: shards.iter().map(|shard| shard.tokens).sum(),
        shards: shards.iter().map(|shard| format!("tokens/{}-{:05}.bin", split.name(), shard.number)).collect(),
    }
}

fn input_entries(run: &Run) -> Result<Vec<InputEntry>, Error> {
    let layout = run.layout()?;
    let derived = run.plan.derived.as_ref();
    let declared = |index: usize, label: &str| match derived.and_then(|derived| derived.inputs.get(index)) {
        Some(entry) => (entry.license.clone(), entry.origin.clone()),
        None => run.sources.of(label).map_or((None, None), |source| (source.license.clone(), source.origin.clone())),
    };
    let counted = layout.input_lines.iter().zip(&layout.input_hashes);
    let entry = |(index, (input, (lines, hash))): (usize, (&crate::read::inputs::Input, (&u64, &String)))| {
        let (license, origin) = declared(index, &input.label);
        let (path, bytes) = (input.label.clone(), input.bytes);
        InputEntry { path, bytes, hash: hash.clone(), lines: *lines, license, origin }
    };
    Ok(run.plan.inputs.iter().zip(counted).enumerate().map(entry).collect())
}

fn copy(dataset: &Path, name: &str, bytes: &[u8]) -> Result<FileEntry, Error> {
    let digest = write_atomic(dataset.join(name), bytes)?;
    Ok(FileEntry { path: name.to_owned(), bytes: digest.bytes, documents: None, tokens: None, sha256: digest.sha256 })
}

/// `README.md` of the dataset: what it is, how to open it. The header lets `datasets.load_dataset(DIR)` find the rows.
fn dataset_card(splits: &Splits, ledger: &Ledger, run: &Run) -> String {
    let mut card = String::from("---\nconfigs:\n- config_name: default\n  data_files:\n");
    for split in Split::ALL {
        if run.plan.config.output.parquet && splits.get(split).documents > 0 {
            let name = split.name();
            let hub_name = if split == Split::Val { "validation" } else { name };
            let _ = writeln!(card, "  - split: {hub_name}\n    path: data/{name}-*.parquet");
        }
    }
    let (train, val) = (&splits.train, &splits.val);
    let _ = write!(
        card,
        "---\n# Dataset\n\n\
         | | train | val |\n|---|---|---|\n\
         | documents | {} | {} |\n| tokens | {} | {} |\n| shards | {} | {} |\n\n\
         Made by shardmill {TOOL_VERSION}. `config.toml` says how, `manifest.json` lists every file.\n\n\
         Of {} lines, {} were kept, {} were blank, {} invalid and {} dropped; `rejects/` holds one row for each of the \
         last two.\n\n\
         - `data/*.parquet`: one row a document: text, columns, tokens.\n\
         - `tokens/*.bin`: token ids, little-endian {}; `.idx` beside each is Megatron-Core's index.\n",
        train.documents,
        val.documents,
        train.tokens,
        val.tokens,
        train.shards.len(),
        val.shards.len(),
        ledger.lines,
        ledger.kept,
        ledger.blank,
        ledger.invalid_total(),
        ledger.dropped_total(),
        run.plan.config.tokenize.dtype.name(),
    );
    card
}

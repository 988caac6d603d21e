//! `trainer which-docs`: the documents behind an optimizer step, such as one where the loss jumps.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use schemas::manifest::Split;
use serde::Serialize;
use serde_json::json;
use shards::dataset::Dataset;

use super::console::{event, grouped};
use super::{Outcome, find_checkpoint};
use crate::checkpoint::{TrainerState, load_model, read_state};
use crate::config::Packing;
use crate::data::{Source, Windows};
use crate::error::{Error, Result};
use crate::eval::{DocumentRow, Piece, describe, score};
use crate::import;

/// Arguments of `trainer which-docs`.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct Args {
    /// The output folder of a run, or one of its checkpoints
    #[arg(long, visible_alias = "checkpoint")]
    run: PathBuf,
    /// The optimizer step
    #[arg(long)]
    step: u64,
    /// Where the data lies now [default: where the run read it]
    #[arg(long, visible_alias = "data-path")]
    data: Option<PathBuf>,
    /// Also the loss of each sequence under the checkpoint, highest first
    #[arg(long)]
    score: bool,
    /// Sequences shown, at most; 0 shows all
    #[arg(long, default_value_t = 20)]
    top: usize,
    /// Print an event of JSON
    #[arg(long)]
    json: bool,
}

/// A sequence of the step.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Sequence {
    /// Its number since the first step.
    sample: u64,
    /// The shard, and the offset of its first token there.
    shard: usize,
    token_offset: u64,
    /// Mean cross-entropy under the checkpoint.
    loss: Option<f64>,
    /// The documents it has tokens of.
    documents: Vec<DocumentRow>,
}

/// The samples of a step, from 1.
fn samples_of(state: &TrainerState, step: u64) -> Result<std::ops::Range<u64>> {
    let batch = state.global_batch();
    match step.checked_sub(1).and_then(|before| Some(before.checked_mul(batch)?..step.checked_mul(batch)?)) {
        Some(samples) => Ok(samples),
        None => Err(Error::Config { field: "step", problem: format!("{step} is no step; the first is 1") }),
    }
}

/// The sequences of a step, without documents.
fn sequences(windows: &Windows, samples: std::ops::Range<u64>) -> Result<Vec<Sequence>> {
    let sequence = |sample| {
        let (shard, token_offset) = windows.locate(sample)?;
        Ok(Sequence { sample, shard, token_offset, loss: None, documents: Vec::new() })
    };
    samples.map(sequence).collect()
}

/// Fills in the loss of each sequence.
fn add_losses(sequences: &mut [Sequence], windows: &Windows, folder: &std::path::Path) -> Result<()> {
    let model = load_model(folder, &candle_core::Device::Cpu)?;
    for sequence in sequences.iter_mut() {
        let (mut bytes, mut tokens) = (Vec::new(), Vec::new());
        windows.read(sequence.sample, &mut bytes, &mut tokens)?;
        let scores = score(&model, &[Piece { tokens, scored_from: 1 }])?.concat();
        sequence.loss = Some(-scores.iter().map(|&x| f64::from(x)).sum::<f64>() / scores.len().max(1) as f64);
    }
    sequences.sort_by(|a, b| b.loss.unwrap_or(0.0).total_cmp(&a.loss.unwrap_or(0.0)));
    Ok(())
}

/// Fills in the documents of each sequence, a shard at a time.
fn add_documents(sequences: &mut [Sequence], dataset: &Dataset, positions: usize) -> Result<()> {
    let mut of_shard: BTreeMap<usize, BTreeMap<u64, Vec<usize>>> = BTreeMap::new();
    for (index, sequence) in sequences.iter().enumerate() {
        let shard = dataset.shard(Split::Train, sequence.shard)?;
        let first = shard.document_at(sequence.token_offset)?;
        let last = shard.document_at(sequence.token_offset + positions as u64)?;
        for document in first..=last {
            of_shard.entry(sequence.shard).or_default().entry(document).or_default().push(index);
        }
    }
    for (shard, documents) in of_shard {
        let numbers: Vec<u64> = documents.keys().copied().collect();
        let rows = describe(dataset, Split::Train, shard, &numbers)?;
        for (row, indices) in rows.into_iter().zip(documents.into_values()) {
            for index in indices {
                sequences[index].documents.push(row.clone());
            }
        }
    }
    Ok(())
}

fn show(sequences: &[Sequence], all: usize, step: u64) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "step {}: {} sequences", grouped(step), grouped(all as u64))?;
    for sequence in sequences {
        let loss = sequence.loss.map_or(String::new(), |loss| format!("  loss {loss:.4}"));
        let (sample, shard) = (grouped(sequence.sample), sequence.shard);
        writeln!(out, "sample {sample}  tokens/train-{shard:05}.bin token {}{loss}", sequence.token_offset)?;
        for document in &sequence.documents {
            let DocumentRow { doc_id, source, line, text } = document;
            writeln!(out, "  {doc_id}  {source}:{line}  {text}")?;
        }
    }
    if sequences.len() < all {
        writeln!(out, "... {} more; --top 0 shows all", grouped((all - sequences.len()) as u64))?;
    }
    Ok(())
}

/// Runs the command.
///
/// # Errors
/// Where the run or its data does not open, the data is another, or it has no Parquet files.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let folder = find_checkpoint(&args.run)?;
    let state = read_state(&folder)?;
    let path = args.data.as_deref().unwrap_or(&state.config.data);
    let source = Source::open(path)?;
    if source.identity() != state.data.hash {
        let (expected, found) = (state.data.hash.clone(), source.identity());
        return Err(
            Error::Mismatch { path: path.to_path_buf(), field: "the data's hash".into(), expected, found }.into()
        );
    }
    if state.data.packing != Packing::Concatenate || state.data.grown.is_some() {
        let problem = "documents of packed sequences, or of data that has grown, cannot be told yet".to_owned();
        return Err(Error::Data { path: path.to_path_buf(), problem }.into());
    }
    let positions = state.data.sequence_length;
    let vocab_size = import::read_config(&folder)?.vocab_size;
    let windows = source.train(positions, vocab_size, state.data.seed, state.data.packing)?;
    let mut sequences = sequences(&windows, samples_of(&state, args.step)?)?;
    if args.score {
        add_losses(&mut sequences, &windows, &folder)?;
    }
    let all = sequences.len();
    sequences.truncate(if args.top == 0 { all } else { args.top });
    add_documents(&mut sequences, &Dataset::open(path)?, positions)?;
    match args.json {
        true => event(&json!({"event": "done", "step": args.step, "sequences": sequences}))?,
        false => show(&sequences, all, args.step)?,
    }
    Ok(Outcome::Done)
}

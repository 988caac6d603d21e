//! `trainer gpu-check`: every kernel against its CPU twin, the whole gradient, and training steps, as one table.

use std::path::PathBuf;

use super::Outcome;
use crate::engine::cuda::check::{CheckSizes, Finding, operations, training};
use crate::engine::cuda::{Device, Element, Emulator, Gpu};

/// Arguments of `trainer gpu-check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// cuda:N
    #[arg(long, default_value = "cuda:0")]
    device: String,
    /// Run the kernels in the CPU emulator instead, whose files go to this folder: no proof of a GPU
    #[arg(long)]
    rehearse: Option<PathBuf>,
    /// Of all random inputs
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Training steps whose losses are compared
    #[arg(long, default_value_t = 50)]
    steps: u64,
}

const ELEMENTS: [Element; 3] = [Element::F32, Element::Bf16, Element::F16];

/// Sizes of a check: a GPU is given more than an emulator can do in time.
fn sizes(head_dim: usize, rehearsal: bool, masked: bool) -> CheckSizes {
    let (vocab_size, positions) = if rehearsal { (61, 70) } else { (1013, 333) };
    CheckSizes { head_dim, heads: 4, kv_heads: 2, vocab_size, layers: 2, sequences: 2, positions, masked }
}

fn checks<D: Device>(args: &Args, open: impl Fn() -> crate::Result<D>) -> crate::Result<Vec<Finding>> {
    let rehearsal = args.rehearse.is_some();
    let mut findings = Vec::new();
    let mut show = |found: Vec<Finding>| {
        for finding in found {
            let mark = if rehearsal { "REHEARSAL on the CPU, no GPU: " } else { "" };
            println!("{mark}{finding}");
            findings.push(finding);
        }
    };
    for element in ELEMENTS {
        for head_dim in [32, 64, 128] {
            for masked in [false, true] {
                show(operations(open()?, sizes(head_dim, rehearsal, masked), element, args.seed)?);
            }
        }
        for recompute in [false, true] {
            let sizes = sizes(32, rehearsal, recompute);
            show(training(open()?, sizes, element, recompute, args.steps, args.seed)?);
        }
    }
    Ok(findings)
}

/// Runs the command.
///
/// # Errors
/// Where there is no GPU, or a comparison fails.
pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    let findings = match &args.rehearse {
        Some(folder) => checks(args, || Emulator::build(folder, args.seed))?,
        None => checks(args, || Gpu::open(&args.device))?,
    };
    let failed = findings.iter().filter(|finding| !finding.passes()).count();
    let what =
        if args.rehearse.is_some() { "rehearsed on the CPU, which proves nothing of a GPU" } else { &args.device };
    println!("{} comparisons, {failed} failed ({what})", findings.len());
    match failed {
        0 => Ok(Outcome::Done),
        _ => anyhow::bail!("{failed} of {} comparisons failed", findings.len()),
    }
}

//! `cargo quickstart`: the main job on a small corpus, with every command shown as a person would type it.
//!
//! It starts itself again as `pipeline` and as `trainer`, so one binary is built and the code that runs is the code of
//! real work.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use serde_json::Value;
use tests::dataset::{Dataset, unigram_entropy};

/// Says which program a child process is.
const PROGRAM_VARIABLE: &str = "SHARDMILL_QUICKSTART_PROGRAM";

/// Marks a folder as one that may be emptied.
const MARK_FILE: &str = "made-by-quickstart.txt";

/// Text in, shards, a small model, a line of text out: the whole of Shardmill in about two minutes.
#[derive(Debug, Parser)]
#[command(name = "cargo quickstart")]
struct Args {
    /// Folder for everything that is made; one that an earlier quickstart made is emptied first.
    #[arg(long, default_value = "out/quickstart")]
    out: PathBuf,
    /// Optimizer steps of the training.
    #[arg(long, default_value_t = 250)]
    steps: u64,
}

fn main() -> ExitCode {
    match std::env::var(PROGRAM_VARIABLE).as_deref() {
        Ok("pipeline") => return pipeline::cli::main(),
        Ok("trainer") => return trainer::cli::main(),
        _ => {}
    }
    match quickstart(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn quickstart(args: &Args) -> anyhow::Result<()> {
    std::env::set_current_dir(tests::corpus::root()).context("go to the workspace")?;
    let started = Instant::now();
    start_afresh(&args.out)?;
    let paths = Paths::below(&args.out);
    train_tokenizer(&paths)?;
    make_dataset(&paths)?;
    train_model(&paths, args.steps)?;
    let checkpoint = generate(&paths)?;
    report(&paths, &checkpoint, started)
}

/// Where things are made, as shown to the person.
#[derive(Debug)]
struct Paths {
    out: String,
    tokenizer: String,
    dataset: String,
    model: String,
}

impl Paths {
    fn below(out: &Path) -> Paths {
        let out = out.display().to_string();
        let below = |name: &str| format!("{}/{name}", out.trim_end_matches('/'));
        Paths { tokenizer: below("tokenizer"), dataset: below("dataset"), model: below("model"), out }
    }
}

fn start_afresh(out: &Path) -> anyhow::Result<()> {
    let mark = out.join(MARK_FILE);
    let empty = fs::read_dir(out).map_or(true, |mut entries| entries.next().is_none());
    if !empty {
        ensure!(mark.exists(), "{} holds something that no quickstart made\nhint: choose another --out", out.display());
        println!("{} is from an earlier quickstart: it is emptied and made anew.", out.display());
        fs::remove_dir_all(out).with_context(|| format!("empty {}", out.display()))?;
    }
    fs::create_dir_all(out).with_context(|| format!("make {}", out.display()))?;
    fs::write(&mark, "`cargo quickstart` made this folder, and empties it when it runs again.\n")
        .with_context(|| format!("write {}", mark.display()))
}

fn train_tokenizer(paths: &Paths) -> anyhow::Result<()> {
    say("1. A vocabulary: the byte sequences that are frequent in the text become tokens.");
    let corpus = "examples/quickstart/corpus.jsonl";
    run("pipeline", &["tokenizer", "train", corpus, "--vocab-size", "1024", "--out", &paths.tokenizer])
}

fn make_dataset(paths: &Paths) -> anyhow::Result<()> {
    say("2. A dataset: damaged lines, poor rows and duplicates are set aside, the rest becomes token ids.");
    let tokenizer = format!("{}/tokenizer.json", paths.tokenizer);
    let (corpus, config) = ("examples/quickstart/corpus.jsonl", "examples/quickstart/config.toml");
    run("pipeline", &["run", corpus, "--config", config, "--tokenizer", &tokenizer, "--out", &paths.dataset])
}

fn train_model(paths: &Paths, steps: u64) -> anyhow::Result<()> {
    say("3. A model: a small Llama learns to predict the next token.");
    let (manifest, steps) = (format!("{}/manifest.json", paths.dataset), steps.to_string());
    let shape = ["--dim", "128", "--n-layers", "4", "--n-heads", "4", "--n-kv-heads", "2", "--max-seq-len", "128"];
    let batch = ["--batch-size", "8", "--accumulation-steps", "1", "--eval-batches", "1000"];
    let schedule = ["--learning-rate", "2e-3", "--warmup-iters", "20", "--eval-interval", "50", "--log-interval", "25"];
    let mut args = vec!["pretrain", "--data", &manifest, "--out", &paths.model, "--max-steps", &steps];
    args.extend(["--save-interval", &steps]);
    args.extend(shape);
    args.extend(batch);
    args.extend(schedule);
    run("trainer", &args)
}

/// Generates a few words and returns the checkpoint they come from.
fn generate(paths: &Paths) -> anyhow::Result<String> {
    say(
        "4. Text: the model goes on from a few words. A minute of training gives the sound of language, not its sense.",
    );
    let latest = format!("{}/checkpoints/latest", paths.model);
    let name = fs::read_to_string(&latest).with_context(|| format!("read {latest}"))?;
    let checkpoint = format!("{}/checkpoints/{}", paths.model, name.trim());
    for prompt in ["The river", "清晨"] {
        let length = ["--max-new-tokens", "60", "--temperature", "0.7", "--top-k", "40", "--seed", "1"];
        let mut args = vec!["generate", "--checkpoint", &checkpoint, "--prompt", prompt];
        args.extend(length);
        run("trainer", &args)?;
    }
    Ok(checkpoint)
}

fn say(text: &str) {
    println!("\n{text}");
}

/// Runs a program of ours as a child process, its command shown first.
fn run(program: &str, args: &[&str]) -> anyhow::Result<()> {
    let quoted = args.iter().map(|arg| if arg.contains(' ') { format!("'{arg}'") } else { (*arg).to_owned() });
    let shown = format!("{program} {}", quoted.collect::<Vec<_>>().join(" "));
    println!("$ {shown}");
    std::io::stdout().flush()?;
    let own = std::env::current_exe().context("find this program")?;
    let status = Command::new(own).arg0(program).args(args).env(PROGRAM_VARIABLE, program).status();
    let status = status.with_context(|| format!("start {program}"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status}); its own message stands above");
    }
    Ok(())
}

/// Losses of a training run, in nats a token.
#[derive(Debug)]
struct Losses {
    first: f64,
    last: f64,
    validation: Option<f64>,
}

fn losses(metrics: &Path) -> anyhow::Result<Losses> {
    let text = fs::read_to_string(metrics).with_context(|| format!("read {}", metrics.display()))?;
    let lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
    let lines = lines.with_context(|| format!("read {}", metrics.display()))?;
    let of = |key: &str| lines.iter().filter_map(|line| line[key].as_f64()).collect::<Vec<_>>();
    let train = of("loss");
    let (Some(first), Some(_)) = (train.first(), train.last()) else { bail!("{} tells of no step", metrics.display()) };
    let tail = &train[train.len().saturating_sub(10)..];
    let last = tail.iter().sum::<f64>() / tail.len() as f64;
    Ok(Losses { first: *first, last, validation: of("val_loss").last().copied() })
}

fn report(paths: &Paths, checkpoint: &str, started: Instant) -> anyhow::Result<()> {
    let dataset = Dataset::open(Path::new(&paths.dataset));
    let losses = losses(&Path::new(&paths.model).join("metrics.jsonl"))?;
    let [lines, blank, invalid, dropped, kept] = dataset.ledger();
    let tokens = dataset.number("/splits/train/tokens") + dataset.number("/splits/val/tokens");
    say(&format!("Done in {} s. What was made, in {}/:", started.elapsed().as_secs(), paths.out));
    println!("  tokenizer/   a vocabulary that Hugging Face tools load");
    println!("  dataset/     {lines} lines = {blank} blank + {invalid} invalid + {dropped} dropped + {kept} kept;");
    println!("               {kept} documents, {tokens} tokens: tokens/ for trainers, data/ and rejects/ as Parquet");
    println!("  model/       {}, and metrics.jsonl", checkpoint.trim_start_matches(&format!("{}/", paths.model)));
    print_losses(&losses, unigram_entropy(&dataset.documents("val")));
    say("Three commands to try next (`pipeline` is `cargo run -q -p pipeline --` until it is installed):");
    println!("  pipeline inspect {}", paths.dataset);
    println!("  pipeline why {} corpus.jsonl:7", paths.dataset);
    println!("  trainer generate --checkpoint {checkpoint} --prompt 'The sea' --max-new-tokens 80");
    Ok(())
}

fn print_losses(losses: &Losses, unigram: f64) {
    println!("  Loss in nats a token: {:.2} at the first step, {:.2} over the last ten;", losses.first, losses.last);
    let validation = losses.validation.map_or("not measured".to_owned(), |loss| format!("{loss:.2}"));
    println!("  on held-out documents {validation}. Knowing only how frequent each token is there costs {unigram:.2}.");
}

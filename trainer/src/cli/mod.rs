//! The command line: one file a subcommand, each an `Args` and a `run`.
//!
//! Results for machines go to stdout (`--json`: one event a line, the last `done` or `error`); progress and messages
//! for people go to stderr.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::Error;

// First, because its macros are in scope in what follows it.
#[macro_use]
mod say;

mod console;
mod doctor;
mod eval;
mod export;
mod generate;
#[cfg(feature = "cuda")]
mod gpu_check;
mod import;
mod info;
mod logging_args;
mod model_args;
mod pretrain;
mod prompts;
mod report;
mod serve;
mod signals;
mod throughput;
mod watch;
mod which_docs;

pub(crate) use console::grouped;

/// How a command that did not fail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 0.
    Done,
    /// 128 + the signal: interrupted, resumable.
    Interrupted(i32),
}

/// Trains Llama-style models from a shard manifest.
#[derive(Debug, Parser)]
#[command(name = "trainer", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a model on a dataset
    Pretrain(Box<pretrain::Args>),
    /// Continue a text with a trained model
    Generate(generate::Args),
    /// Compare every CUDA kernel with its CPU twin, and training with the CPU's
    #[cfg(feature = "cuda")]
    GpuCheck(gpu_check::Args),
    /// Judge a model on a dataset or on texts
    Eval(eval::Args),
    /// Show the documents behind an optimizer step
    WhichDocs(which_docs::Args),
    /// Answer requests for completions over HTTP
    Serve(serve::Args),
    /// Draw a run in the terminal while it goes on
    Watch(watch::Args),
    /// Write the page of a run
    Report(report::Args),
    /// Take in a model of others, to be trained further
    Import(import::Args),
    /// Write a model for other programs
    Export(export::Args),
    /// Show what this machine can train
    Doctor(doctor::Args),
    /// Show the size and cost of a model, or what a checkpoint is
    Info(info::Args),
}

fn dispatch(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Pretrain(args) => pretrain::run(*args),
        #[cfg(feature = "cuda")]
        Command::GpuCheck(args) => gpu_check::run(&args),
        Command::Generate(args) => generate::run(args),
        Command::Eval(args) => eval::run(args),
        Command::WhichDocs(args) => which_docs::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Watch(args) => watch::run(args),
        Command::Report(args) => report::run(args),
        Command::Import(args) => import::run(args),
        Command::Export(args) => export::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Info(args) => info::run(args),
    }
}

/// Flags are accepted with underscores as well, as the notebook writes them.
fn with_dashes(argument: OsString) -> OsString {
    match argument.to_str() {
        Some(text) if text.starts_with("--") => {
            let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
            let name = name.replace('_', "-");
            value.map_or_else(|| name.clone(), |value| format!("{name}={value}")).into()
        }
        _ => argument,
    }
}

/// The exit code of an error: 2 for usage and settings, 4 for a folder that is busy or of another run, else 1.
fn code_of(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Error>() {
        Some(Error::Config { .. } | Error::Device { .. }) => 2,
        Some(Error::Busy { .. } | Error::Occupied { .. } | Error::Mismatch { .. }) => 4,
        _ => 1,
    }
}

/// Whether the reader of our output has gone, which is no failure.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let of = |cause: &(dyn std::error::Error + 'static)| {
        let io = match cause.downcast_ref::<Error>() {
            Some(Error::Io { source, .. }) => Some(source),
            _ => cause.downcast_ref::<std::io::Error>(),
        };
        io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    };
    error.chain().any(of)
}

fn tell(error: &anyhow::Error, json: bool) -> ExitCode {
    if is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {error:#}");
    let hint = error.downcast_ref::<Error>().and_then(Error::hint);
    if let Some(hint) = &hint {
        eprintln!("hint: {hint}");
    }
    if json {
        // A reader that has gone needs no event.
        let _ = console::event(&serde_json::json!({"event": "error", "message": format!("{error:#}"), "hint": hint}));
    }
    ExitCode::from(code_of(error))
}

/// Where a checkpoint lies: the folder itself, or the latest of a run's output folder.
fn find_checkpoint(path: &Path) -> crate::Result<std::path::PathBuf> {
    if path.join(crate::checkpoint::CONFIG_FILE).is_file() {
        return Ok(path.to_path_buf());
    }
    let run = if path.ends_with("checkpoints") { path.parent().unwrap_or(path) } else { path };
    match crate::checkpoint::Checkpoints::of_run(run).latest()? {
        Some(checkpoint) => Ok(checkpoint.path),
        None => Err(Error::NoCheckpoint { path: path.to_path_buf() }),
    }
}

/// The device of a command that computes on the CPU alone.
fn host_device(name: &str) -> crate::Result<candle_core::Device> {
    let problem = match name {
        "cpu" => return Ok(candle_core::Device::Cpu),
        cuda if cuda.starts_with("cuda") => "only `trainer pretrain` computes there; use cpu",
        _ => "unknown; use cpu",
    };
    Err(Error::Device { device: name.to_owned(), problem: problem.to_owned() })
}

/// Uses `threads` threads for computing; absent, all cores.
fn use_threads(threads: Option<usize>) -> anyhow::Result<()> {
    if let Some(threads) = threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build_global()?;
    }
    Ok(())
}

/// Runs the program: parses arguments, dispatches, prints errors, returns the documented exit code.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().map(with_dashes).collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    match dispatch(Cli::parse_from(arguments).command) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted(signal)) => ExitCode::from(128 + signal as u8),
        Err(error) => tell(&error, json),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn commands_on_the_cpu_alone_refuse_other_devices_with_their_reason() {
        assert!(host_device("cpu").is_ok());
        assert!(host_device("cuda:0").unwrap_err().to_string().contains("only `trainer pretrain`"));
        assert!(host_device("tpu").unwrap_err().to_string().contains("unknown"));
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_notebooks_underscores_are_dashes_and_values_stay() {
        assert_eq!(with_dashes("--out_dir".into()), "--out-dir");
        assert_eq!(with_dashes("--data_path=a_b".into()), "--data-path=a_b");
        assert_eq!(with_dashes("a_b".into()), "a_b");
    }

    #[test]
    fn settings_exit_with_2_and_folders_of_others_with_4() {
        let config = Error::Config { field: "epochs", problem: String::new() };
        assert_eq!(code_of(&config.into()), 2);
        assert_eq!(code_of(&Error::Busy { path: "x".into() }.into()), 4);
        assert_eq!(code_of(&anyhow::anyhow!("x")), 1);
    }
}

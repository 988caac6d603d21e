//! `trainer watch`: a run in the terminal, while it goes on.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::Outcome;
use crate::logging::{Frame, History};

/// Arguments of `trainer watch`.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct Args {
    /// The output folder of a run
    run: PathBuf,
    /// Seconds between pictures
    #[arg(long, default_value_t = 2.0)]
    every: f64,
    /// Show one picture and end
    #[arg(long)]
    once: bool,
}

/// Columns of the terminal; 80 where there is none.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(80, |size| size.ws_col as usize);
    if size == 0 { 80 } else { size }
}

/// Draws over the picture before, whose lines are given; returns the lines drawn.
fn draw(lines: &[String], before: usize) -> std::io::Result<usize> {
    let mut out = std::io::stdout().lock();
    if before > 0 {
        write!(out, "\x1b[{before}A")?;
    }
    for line in lines {
        writeln!(out, "\x1b[2K{line}")?;
    }
    out.flush()?;
    Ok(lines.len())
}

/// Runs the command; ends when interrupted.
///
/// # Errors
/// Where the run's files cannot be read.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let mut before = 0;
    loop {
        let history = History::read(&args.run)?;
        let lines = Frame { history: &history, columns: columns() }.lines();
        if args.once || !std::io::stdout().is_terminal() {
            writeln!(std::io::stdout(), "{}", lines.join("\n"))?;
            return Ok(Outcome::Done);
        }
        before = draw(&lines, before)?;
        std::thread::sleep(Duration::from_secs_f64(args.every.clamp(0.1, 3600.0)));
    }
}

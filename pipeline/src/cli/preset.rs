//! `pipeline preset`: the filters that have names, as the expressions they stand for.

use std::io::{self, Write};

use schemas::config::Measure;
use schemas::measure::QualityColumn;
use serde_json::{Value, json};

use super::Outcome;
use super::print::{event, finish};
use crate::error::Error;
use crate::filter::presets::{self, PRESETS, Preset};

/// Arguments of `pipeline preset`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print this one as an expression for --where, a condition a line
    name: Option<String>,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Where no preset is called so, or stdout cannot be written.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let mut out = io::stdout().lock();
    let Some(name) = &args.name else {
        return finish(if args.json { list_json(&mut out) } else { list(&mut out) });
    };
    let preset = named(name)?;
    finish(if args.json { event(&mut out, "done", &described(preset)) } else { print(&mut out, preset) })
}

/// The preset of a name.
///
/// # Errors
/// [`Error::Usage`] with the names there are.
pub(super) fn named(name: &str) -> Result<&'static Preset, Error> {
    presets::find(name).map_err(|known| {
        Error::usage("--preset", format!("no preset is called {name:?}"), &format!("there are {known}"))
    })
}

fn list(out: &mut dyn Write) -> io::Result<()> {
    let width = PRESETS.iter().map(|preset| preset.name.len()).max().unwrap_or_default();
    PRESETS.iter().try_for_each(|preset| writeln!(out, "{:width$}  {}", preset.name, preset.about))
}

/// An expression that `--where` takes as it stands. It does not start with `--`, which would be a flag's.
fn print(out: &mut dyn Write, preset: &Preset) -> io::Result<()> {
    let width = preset.conditions.iter().map(|condition| condition.sql.len()).max().unwrap_or_default();
    writeln!(out, "/* {}: {} */", preset.version, preset.about)?;
    for (index, condition) in preset.conditions.iter().enumerate() {
        let and = if index == 0 { "   " } else { "AND" };
        writeln!(out, "{and} {:width$}  -- {} ({})", condition.sql, condition.about, condition.source)?;
    }
    Ok(())
}

fn list_json(out: &mut dyn Write) -> io::Result<()> {
    event(out, "done", &json!({"presets": PRESETS.iter().map(described).collect::<Vec<_>>()}))
}

fn described(preset: &Preset) -> Value {
    let condition = |condition: &presets::Condition| json!({"sql": condition.sql, "about": condition.about, "source": condition.source});
    let measures: Vec<&str> = preset.columns(&Measure::default()).into_iter().map(QualityColumn::name).collect();
    json!({
        "name": preset.name,
        "version": preset.version,
        "about": preset.about,
        "where": preset.sql(),
        "measures": measures,
        "conditions": preset.conditions.iter().map(condition).collect::<Vec<_>>(),
    })
}

//! `report.html`: a run on one page that needs nothing beside it: no script, no font, no server.

mod chart;

use std::path::{Path, PathBuf};

use chart::{Chart, Line};

use crate::checkpoint::{Checkpoints, read_state};
use crate::error::Result;
use crate::import;
use crate::logging::{History, Sample};
use crate::model::parameter_count;

/// Name of the page in the output folder.
pub const REPORT_FILE: &str = "report.html";

const STYLE: &str = include_str!("style.css");

/// Texts shown of those written while training: the last ones.
const SAMPLES_SHOWN: usize = 12;

/// Text that means itself in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A table of names and values.
fn table(rows: &[(String, String)]) -> String {
    let row =
        |(name, value): &(String, String)| format!("<tr><th>{}</th><td>{}</td></tr>", escaped(name), escaped(value));
    format!("<table>{}</table>", rows.iter().map(row).collect::<String>())
}

/// Settings of the latest checkpoint, and the shape of its model.
fn settings(out: &Path) -> Result<Vec<(String, String)>> {
    let Some(checkpoint) = Checkpoints::of_run(out).latest()? else { return Ok(Vec::new()) };
    let (state, model) = (read_state(&checkpoint.path)?, import::read_config(&checkpoint.path)?);
    let mut rows = vec![("parameters".to_owned(), crate::cli::grouped(parameter_count(&model)))];
    for value in [serde_json::to_value(&model), serde_json::to_value(&state.config)] {
        let Ok(serde_json::Value::Object(fields)) = value else { continue };
        let told = fields.into_iter().filter(|(_, value)| !value.is_null());
        rows.extend(told.map(|(name, value)| (name, value.as_str().map_or(value.to_string(), str::to_owned))));
    }
    Ok(rows)
}

/// The charts, the usual ones first, then whatever else was logged.
fn charts(history: &History) -> Vec<Chart<'_>> {
    let loss = Chart {
        title: "loss",
        lines: vec![
            Line { name: "training", points: history.series("loss") },
            Line { name: "validation", points: history.series("val_loss") },
        ],
    };
    let usual = ["loss", "val_loss", "val_ppl", "tokens"];
    let first = ["lr", "grad_norm", "tokens_per_s"];
    let others = history.names().filter(|name| !usual.contains(name) && !first.contains(name));
    let single = |name| Chart { title: name, lines: vec![Line { name, points: history.series(name) }] };
    let all = std::iter::once(loss).chain(first.into_iter().chain(others).map(single));
    all.filter(|chart| !chart.is_empty()).collect()
}

fn headline(history: &History) -> Vec<(String, String)> {
    let number = |name: &str, digits: usize| Some(format!("{:.digits$}", history.last(name)?.1));
    let step = history.last("loss").map(|(step, _)| crate::cli::grouped(step));
    let tokens = history.last("tokens").map(|(_, tokens)| crate::cli::grouped(tokens as u64));
    let told = [
        ("steps", step),
        ("tokens", tokens),
        ("loss", number("loss", 4)),
        ("validation loss", number("val_loss", 4)),
        ("validation perplexity", number("val_ppl", 2)),
        ("tokens a second", number("tokens_per_s", 0)),
    ];
    told.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn samples(samples: &[Sample]) -> String {
    let shown = samples.iter().rev().take(SAMPLES_SHOWN);
    let sample = |sample: &Sample| {
        let rest = sample.text.strip_prefix(&sample.prompt).unwrap_or(&sample.text);
        let prompt = if rest.len() < sample.text.len() { sample.prompt.as_str() } else { "" };
        let (prompt, rest) = (escaped(prompt), escaped(rest));
        format!("<h3>step {}</h3><blockquote><b>{prompt}</b>{rest}</blockquote>", crate::cli::grouped(sample.step))
    };
    shown.map(sample).collect()
}

/// The page of a run.
///
/// # Errors
/// Where its files cannot be read.
pub fn page(out: &Path) -> Result<String> {
    let history = History::read(out)?;
    let name = escaped(&out.file_name().unwrap_or(out.as_os_str()).to_string_lossy());
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{name}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head>\n<body><h1>{name}</h1>\n"
    );
    let mut add = |text: &str| {
        page.push_str(text);
        page.push('\n');
    };
    add(&table(&headline(&history)));
    charts(&history).iter().for_each(|chart| add(&chart.svg()));
    let texts = History::samples(out)?;
    if !texts.is_empty() {
        add("<h2>samples</h2>");
        add(&samples(&texts));
    }
    let settings = settings(out)?;
    if !settings.is_empty() {
        add("<h2>settings</h2>");
        add(&table(&settings));
    }
    add("</body></html>");
    Ok(page)
}

/// Writes the page of a run, to `to` or into its output folder; returns where.
///
/// # Errors
/// Where the run's files cannot be read, or the page not be written.
pub fn write(out: &Path, to: Option<&Path>) -> Result<PathBuf> {
    let path = to.map_or_else(|| out.join(REPORT_FILE), Path::to_path_buf);
    shards::commit::write_atomic(&path, page(out)?.as_bytes())?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(metrics: &str, samples: &str) -> String {
        let out = tempfile::tempdir().unwrap();
        std::fs::write(out.path().join("metrics.jsonl"), metrics).unwrap();
        std::fs::write(out.path().join("samples.jsonl"), samples).unwrap();
        page(out.path()).unwrap()
    }

    #[test]
    fn a_page_shows_every_metric_and_loads_nothing() {
        let page = run(
            "{\"step\":1,\"loss\":3,\"lr\":0.1,\"aux\":7}\n{\"step\":2,\"loss\":2,\"lr\":0.1,\"aux\":8}\n{\"step\":2,\"val_loss\":2.5}\n",
            "",
        );
        for shown in ["<svg", ">loss<", ">lr<", ">aux<", "2.5000"] {
            assert!(page.contains(shown), "{shown}");
        }
        assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("http"));
    }

    #[test]
    fn texts_cannot_break_the_page() {
        let page = run("", "{\"step\": 5, \"prompt\": \"a\", \"text\": \"a<script>alert(1)</script>\"}\n");
        assert!(page.contains("<b>a</b>&lt;script&gt;") && !page.contains("<script"));
    }

    #[test]
    fn a_run_without_a_step_has_a_page() {
        assert!(run("", "").ends_with("</body></html>\n"));
    }
}

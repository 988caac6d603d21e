//! What a person or a program sees of a run while it works.
//!
//! A bar with rate, time to go and running counts where stderr is a terminal, nothing there otherwise; with `--json`
//! one event a line on stdout.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::json;

/// Running counts.
#[derive(Debug, Default)]
pub struct Counts {
    /// Lines read.
    pub lines: AtomicU64,
    /// Damaged lines.
    pub invalid: AtomicU64,
    /// Documents dropped so far, by any stage.
    pub dropped: AtomicU64,
    /// Tokens written so far.
    pub tokens: AtomicU64,
}

/// How long a stage took.
#[derive(Debug, Clone, Serialize)]
pub struct StageTime {
    /// Its name.
    pub stage: String,
    /// Tasks executed by this process.
    pub tasks: usize,
    /// Wall time.
    pub seconds: f64,
}

/// Reports to a person, a program, or nobody.
#[derive(Debug)]
pub struct Progress {
    json: bool,
    bar: Mutex<Option<ProgressBar>>,
    /// Running counts of this process.
    pub counts: Counts,
    times: Mutex<Vec<StageTime>>,
}

/// Prints one event. A closed pipe is nobody listening, not a failure.
pub fn emit(event: &serde_json::Value) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{event}").and_then(|()| out.flush());
}

impl Progress {
    /// Starts reporting.
    pub fn new(json: bool) -> Progress {
        Progress { json, bar: Mutex::new(None), counts: Counts::default(), times: Mutex::new(Vec::new()) }
    }

    fn bar(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A stage begins; `total` in `unit`s is the work it has.
    pub fn begin(&self, stage: &str, tasks: usize, total: u64, unit: Unit) -> StageClock {
        if self.json {
            emit(&json!({"event": "stage", "stage": stage, "tasks": tasks}));
        }
        let bar = ProgressBar::with_draw_target(Some(total), target());
        let style = ProgressStyle::with_template(&template(unit));
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(stage.to_owned());
        *self.bar() = Some(bar);
        StageClock { stage: stage.to_owned(), tasks, start: Instant::now() }
    }

    /// Work was done.
    pub fn advance(&self, amount: u64) {
        if let Some(bar) = self.bar().as_ref() {
            let counts = &self.counts;
            bar.set_message(format!(
                "{} lines, {} invalid, {} dropped",
                counts.lines.load(Ordering::Relaxed),
                counts.invalid.load(Ordering::Relaxed),
                counts.dropped.load(Ordering::Relaxed)
            ));
            bar.inc(amount);
        }
    }

    /// A stage is done.
    pub fn end(&self, clock: StageClock) {
        if let Some(bar) = self.bar().take() {
            bar.finish_and_clear();
        }
        let seconds = clock.start.elapsed().as_secs_f64();
        if self.json {
            emit(&json!({"event": "stage_done", "stage": clock.stage, "tasks": clock.tasks, "seconds": seconds}));
        }
        let time = StageTime { stage: clock.stage, tasks: clock.tasks, seconds };
        self.times.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(time);
    }

    /// How long each stage took, in order.
    pub fn times(&self) -> Vec<StageTime> {
        self.times.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// What a stage counts its work in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Tasks, rows, files.
    Things,
}

/// Measures a stage.
#[derive(Debug)]
pub struct StageClock {
    stage: String,
    tasks: usize,
    start: Instant,
}

fn target() -> ProgressDrawTarget {
    if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr_with_hz(5) } else { ProgressDrawTarget::hidden() }
}

fn template(unit: Unit) -> String {
    let work = match unit {
        Unit::Bytes => "{bytes}/{total_bytes} {bytes_per_sec}",
        Unit::Things => "{pos}/{len} {per_sec}",
    };
    format!("{{prefix:>9}} {{bar:24}} {work} eta {{eta}}  {{msg}}")
}

/// Seconds for people: "0.4 s", "3 min 20 s".
pub fn human_seconds(seconds: f64) -> String {
    let duration = Duration::from_secs_f64(seconds.max(0.0));
    match duration.as_secs() {
        0..60 => format!("{seconds:.1} s"),
        whole @ 60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        whole => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

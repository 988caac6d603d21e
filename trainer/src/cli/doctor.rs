//! `trainer doctor`: what this machine has, how fast it is, and which models it can train.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::console::{duration, event, grouped};
use super::throughput::measured_flops;
use super::{Outcome, use_threads};
use crate::config::ModelConfig;
use crate::estimate;
use crate::model::parameter_count;

/// Arguments of `trainer doctor`.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct Args {
    /// Where checkpoints would go
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// Vocabulary of the models
    #[arg(long, default_value_t = 6400)]
    vocab_size: usize,
    /// Threads that compute [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Print an event of JSON
    #[arg(long)]
    json: bool,
}

/// Share of a large product's speed that training reaches: between them lie norms, attention and memory.
const SHARE_OF_PEAK: f64 = 0.5;

/// A size in kB of `/proc/meminfo`, in bytes.
fn meminfo(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The limit of this process's control group, where it has one.
fn cgroup_limit() -> Option<u64> {
    std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok()?.trim().parse().ok()
}

/// Bytes that a process may take here.
fn memory() -> Option<u64> {
    let available = meminfo("MemAvailable")?;
    Some(cgroup_limit().map_or(available, |limit| limit.min(available)))
}

fn disk(path: &Path) -> Option<u64> {
    let found = path.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let found = if found.as_os_str().is_empty() { Path::new(".") } else { found };
    let stat = rustix::fs::statvfs(found).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}

/// The vector instructions that kernels choose among.
fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::is_x86_feature_detected!("avx512f") {
            return "AVX-512";
        }
        if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
            return "AVX2 and FMA";
        }
    }
    if cfg!(target_arch = "aarch64") { "NEON" } else { "none beyond the baseline" }
}

/// What is known of NVIDIA's driver here.
fn nvidia() -> Option<String> {
    let version = std::fs::read_to_string("/proc/driver/nvidia/version").ok()?;
    version.lines().next().map(|line| line.trim_start_matches("NVRM version:").trim().to_owned())
}

/// A preset, and whether it can be trained here.
struct Fit {
    name: &'static str,
    model: ModelConfig,
    bytes: u64,
    tokens_per_s: f64,
}

struct Machine {
    threads: usize,
    memory: Option<u64>,
    disk: Option<u64>,
    nvidia: Option<String>,
    gflops: f64,
}

impl Machine {
    fn examine(args: &Args) -> Machine {
        Machine {
            threads: rayon::current_num_threads(),
            memory: memory(),
            disk: disk(&args.out),
            nvidia: nvidia(),
            gflops: measured_flops() / 1e9,
        }
    }

    fn fits(&self, vocab_size: usize) -> Vec<Fit> {
        let fit = |(name, model): (&'static str, ModelConfig)| {
            let bytes = estimate::state_bytes(&model) + estimate::activation_bytes(&model, 1);
            let tokens_per_s = SHARE_OF_PEAK * self.gflops * 1e9 / estimate::flops_per_token(&model) as f64;
            Fit { name, model, bytes, tokens_per_s }
        };
        estimate::presets(vocab_size).into_iter().map(fit).collect()
    }

    fn has_room(&self, fit: &Fit) -> bool {
        self.memory.is_none_or(|memory| fit.bytes <= memory)
    }
}

/// Hours and minutes, or days where they are many.
fn long(seconds: f64) -> String {
    const DAY_S: f64 = 86_400.0;
    match seconds < 3.0 * DAY_S {
        true => duration(Duration::from_secs_f64(seconds)),
        false => format!("{} days", grouped((seconds / DAY_S) as u64)),
    }
}

/// `3.2 GiB`.
fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

fn show(machine: &Machine, fits: &[Fit]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let known = |bytes: Option<u64>| bytes.map_or("unknown".to_owned(), gib);
    writeln!(out, "device   cpu, {} threads, {}", machine.threads, vectors())?;
    writeln!(out, "speed    {:.0} GFLOP/s in a float32 product", machine.gflops)?;
    writeln!(out, "memory   {} to be had", known(machine.memory))?;
    writeln!(out, "disk     {} free", known(machine.disk))?;
    writeln!(out, "gpu      {}", machine.nvidia.as_deref().unwrap_or("no NVIDIA driver"))?;
    writeln!(out, "\npreset  parameters      memory    tokens/s  20 tokens a parameter")?;
    for fit in fits {
        let parameters = parameter_count(&fit.model);
        let time = parameters as f64 * estimate::TOKENS_A_PARAMETER / fit.tokens_per_s.max(1e-9);
        let verdict = match machine.has_room(fit) {
            true => long(time),
            false => "does not fit in memory".to_owned(),
        };
        let (parameters, rate) = (grouped(parameters), grouped(fit.tokens_per_s as u64));
        writeln!(out, "{:<6} {parameters:>13}  {:>9}  {rate:>9}  {verdict}", fit.name, gib(fit.bytes))?;
    }
    writeln!(out, "\nmemory is for one sequence a micro-batch; tokens/s are half of the product's speed")
}

fn json_of(machine: &Machine, fits: &[Fit]) -> Value {
    let preset = |fit: &Fit| {
        json!({"name": fit.name, "parameters": parameter_count(&fit.model), "bytes": fit.bytes,
               "tokens_per_s": fit.tokens_per_s, "fits": machine.has_room(fit)})
    };
    json!({
        "event": "done", "threads": machine.threads, "vectors": vectors(), "gflops": machine.gflops,
        "memory_bytes": machine.memory, "disk_bytes": machine.disk, "nvidia": machine.nvidia,
        "presets": fits.iter().map(preset).collect::<Vec<_>>(),
    })
}

/// Runs the command.
///
/// # Errors
/// Where nothing can be written to standard output.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    use_threads(args.threads)?;
    let machine = Machine::examine(&args);
    let fits = machine.fits(args.vocab_size);
    match args.json {
        true => event(&json_of(&machine, &fits))?,
        false => show(&machine, &fits)?,
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_this_machine_are_found() {
        assert!(meminfo("MemTotal").is_some_and(|bytes| bytes > 1 << 26) && meminfo("NoSuchLine").is_none());
        assert!(disk(Path::new("no/such/folder/yet")).is_some());
    }

    #[test]
    fn long_times_are_told_in_days() {
        assert_eq!((long(7200.0), long(1e9)), ("2h00m".into(), "11,574 days".into()));
    }

    #[test]
    fn a_model_beyond_the_memory_does_not_fit() {
        let machine = |memory| Machine { threads: 1, memory, disk: None, nvidia: None, gflops: 10.0 };
        let small = machine(Some(2 << 30));
        let fits: Vec<bool> = small.fits(6400).iter().map(|fit| small.has_room(fit)).collect();
        assert_eq!((fits.first(), fits.last()), (Some(&true), Some(&false)));
        let rates: Vec<f64> = small.fits(6400).iter().map(|fit| fit.tokens_per_s).collect();
        assert!(rates.first() > rates.last());
    }
}

//! `pipeline launch`: gives the tasks of a planned run to Slurm, Ray, Kubernetes, or processes on this machine.

use std::path::{Path, PathBuf};
use std::time::Instant;

use schemas::config::Launch;
use schemas::manifest::MANIFEST_FILE;
use serde_json::json;

use super::Outcome;
use super::flags::set;
use super::run::report;
use crate::engine::interrupt::Interrupt;
use crate::engine::progress::{Progress, emit};
use crate::engine::run::{Process, Run};
use crate::error::Error;
use crate::launch::kubernetes::Pod;
use crate::launch::steps::steps;
use crate::launch::{Job, kubernetes, local, ray, slurm};

/// Arguments of `pipeline launch`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The dataset folder that `pipeline plan --out` was given, or its work folder; on a file system that all nodes have
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Who executes the tasks
    #[arg(long, value_name = "ENGINE", alias = "engine", value_parser = ["local", "slurm", "ray", "k8s"])]
    on: String,
    /// Jobs a stage is cut into [default: as many as there are read tasks, at most 256]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Threads of a job [default: 1]
    #[arg(long, value_name = "N")]
    cpus: Option<usize>,
    /// How often a job that fails is tried again [default: 3]
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// The program, where the nodes find it elsewhere than here
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Print what would be submitted, and submit nothing
    #[arg(long)]
    dry_run: bool,
    /// slurm: wait for the commit, and submit again what Slurm gives up or forgets
    #[arg(long)]
    wait: bool,
    /// slurm: partition
    #[arg(long, value_name = "NAME")]
    partition: Option<String>,
    /// slurm: time limit of a job
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// slurm: a further option of sbatch, such as --account=text; may be repeated
    #[arg(long = "option", value_name = "OPTION", allow_hyphen_values = true)]
    options: Vec<String>,
    /// ray: address of the cluster
    #[arg(long, value_name = "ADDRESS", default_value = "auto")]
    ray_address: String,
    /// ray: an interpreter that can import ray
    #[arg(long, value_name = "FILE", default_value = "python3")]
    python: String,
    /// k8s: image of the pods
    #[arg(long, value_name = "IMAGE", default_value = "shardmill:latest")]
    image: String,
    /// k8s: PersistentVolumeClaim that holds inputs and run
    #[arg(long, value_name = "NAME", default_value = "shardmill")]
    claim: String,
    /// k8s: where the claim is mounted
    #[arg(long, value_name = "DIR", default_value = "/data")]
    mount: String,
    /// Print events as JSON lines on stdout
    #[arg(long)]
    json: bool,
}

impl Args {
    fn settings(&self, mut launch: Launch) -> Launch {
        launch.jobs = self.jobs.or(launch.jobs);
        launch.cpus = self.cpus.or(launch.cpus);
        set(&mut launch.retries, self.retries);
        launch.partition = self.partition.clone().or(launch.partition);
        launch.time = self.time.clone().or(launch.time);
        launch.options.extend(self.options.iter().cloned());
        launch
    }
}

/// Runs the command.
///
/// # Errors
/// Where there is no plan; [`Error::Engine`].
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    if args.run.join(MANIFEST_FILE).exists() && !args.run.join("run").join(crate::engine::plan::PLAN_FILE).exists() {
        return finished(&args, &args.run, None);
    }
    // Before the run is opened, which goes to the folder it was planned in.
    let program = args.program.as_deref().map_or_else(std::env::current_exe, std::path::absolute);
    let process =
        Process { threads: Some(1), memory: None, progress: Progress::new(false), interrupt: Interrupt::install()? };
    let run = Run::open(&args.run, process)?;
    let program = program.map_err(|error| Error::usage("--program", error.to_string(), ""))?;
    let settings = args.settings(run.plan.config.machine.launch.clone());
    let job = Job { run: &run, settings, program };
    let pod = Pod { image: args.image.clone(), claim: args.claim.clone(), mount: args.mount.clone() };
    match args.on.as_str() {
        "k8s" => print!("{}", kubernetes::manifest(&job, &pod)?),
        _ if args.dry_run => dry_run(&args, &job)?,
        "slurm" => return slurm(&args, &job, start),
        engine => {
            if engine == "ray" {
                ray::run(&job, &args.python, &args.ray_address)?
            } else {
                local::run(&job)?
            }
            return finished(&args, &run.plan.dataset, Some(start));
        }
    }
    Ok(Outcome::Done)
}

fn slurm(args: &Args, job: &Job<'_>, start: Instant) -> anyhow::Result<Outcome> {
    let queued = slurm::queued(job)?.unwrap_or_default();
    let ids = if queued == 0 { slurm::submit(job)? } else { Vec::new() };
    if queued > 0 {
        eprintln!("slurm has {queued} jobs of this run already; nothing is submitted");
    }
    if args.wait {
        slurm::watch(job)?;
        return finished(args, &job.run.plan.dataset, Some(start));
    }
    if args.json {
        emit(&json!({"event": "done", "committed": false, "jobs": ids}));
    } else {
        eprintln!("submitted: {}", ids.join(", "));
    }
    Ok(Outcome::Done)
}

fn dry_run(args: &Args, job: &Job<'_>) -> Result<(), Error> {
    if args.on == "ray" {
        print!("{}", ray::spec_of(job, &args.ray_address)?);
        return Ok(());
    }
    let folder = job.work_dir()?.join("launch");
    for step in steps(job.run, job.jobs())? {
        if args.on == "slurm" {
            println!("{}", slurm::script(job, &step, &folder)?);
            continue;
        }
        for share in &step.shares {
            println!("{} {}", job.program.display(), job.arguments(&step, &share.to_string())?.join(" "));
        }
    }
    Ok(())
}

/// Tells how the run ended, once it is committed; without a start it was so before.
fn finished(args: &Args, dataset: &Path, start: Option<Instant>) -> anyhow::Result<Outcome> {
    let manifest = shards::dataset::read_manifest(&dataset.join(MANIFEST_FILE)).map_err(Error::from)?;
    report(dataset, args.json, &manifest, start.map(|start| start.elapsed().as_secs_f64()));
    Ok(if manifest.complete { Outcome::Done } else { Outcome::Incomplete })
}

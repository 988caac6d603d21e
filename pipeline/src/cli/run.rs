//! `pipeline run`: the main job, from text to a committed dataset.

use std::path::{Path, PathBuf};
use std::time::Instant;

use schemas::config::{Config, Encoding, Nulls, TextFiles, Words};
use schemas::dtype::Dtype;
use schemas::manifest::{MANIFEST_FILE, Manifest};
use schemas::measure::QualityColumn;
use serde_json::json;

use super::Outcome;
use super::dedup::{DedupArgs, describe_near, near_json};
use super::flags::{named, set};
use super::mix::{MixArgs, print_mix};
use super::preset::named as named_preset;
use crate::augment::Augment;
use crate::clean::{self, Cleaner};
use crate::engine::interrupt::Interrupt;
use crate::engine::lock::{FolderLock, Sharing};
use crate::engine::marker;
use crate::engine::plan::{PLAN_FILE, Plan, Request};
use crate::engine::progress::{Progress, emit, human_seconds};
use crate::engine::run::{Process, Run};
use crate::error::Error;
use crate::filter::presets::names_of;
use crate::filter::{Filter, Lists};
use crate::measure::Measures;
use crate::sources::Sources;
use crate::stages::{self, commit};
use crate::terms::Terms;
use crate::tokenize::Encoder;
use crate::{read, settings};

/// Arguments of `pipeline run` and `pipeline plan`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files, globs, folders, or `-` for standard input
    #[arg(required = true)]
    inputs: Vec<String>,
    /// The dataset folder to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// tokenizer.json; BOS and EOS are read from tokenizer_config.json beside it
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<String>,
    /// Settings; flags override them
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    #[command(flatten)]
    read: ReadArgs,
    #[command(flatten)]
    measure: MeasureArgs,
    #[command(flatten)]
    choose: ChooseArgs,
    #[command(flatten)]
    write: WriteArgs,
    /// Threads; all cores where not given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Most resident memory
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// Folder of task files; DIR/run where not given
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// Start even where the disk looks too small
    #[arg(long)]
    no_disk_check: bool,
    /// Print events as JSON lines on stdout
    #[arg(long)]
    json: bool,
    /// Check and print the plan, and do nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Reading")]
struct ReadArgs {
    /// Column that holds the text [default: text]
    #[arg(long, value_name = "NAME")]
    text_column: Option<String>,
    /// Column that holds the document's id [default: id, if present]
    #[arg(long, value_name = "NAME")]
    id_column: Option<String>,
    /// Join fields into the text: "{title}\n{content}"; nested ones by dots
    #[arg(long, value_name = "TEMPLATE")]
    text_template: Option<String>,
    /// Character encoding of text inputs [default: auto]
    #[arg(long, value_name = "NAME", value_parser = ["auto", "utf-8", "utf-16", "gb18030", "big5"])]
    encoding: Option<String>,
    /// A document of a .txt or .md input is a whole file, or a line [default: file]
    #[arg(long, value_name = "UNIT", value_parser = ["file", "line"])]
    text_files: Option<String>,
    /// Longest line [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    max_line_bytes: Option<String>,
    /// Deepest nesting of JSON values [default: 128]
    #[arg(long, value_name = "N")]
    max_depth: Option<u32>,
    /// Largest tolerated share of invalid lines; above it nothing is committed [default: 1.0]
    #[arg(long, value_name = "FRACTION")]
    max_invalid: Option<f64>,
    /// Take NaN and Infinity for null instead of refusing the line
    #[arg(long)]
    accept_nan: bool,
    /// Refuse inputs of which the configuration declares no licence
    #[arg(long)]
    require_license: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Measuring")]
struct MeasureArgs {
    /// Quality columns to compute where the source has none, or groups of them: basic, gopher, fineweb, c4, language
    #[arg(long, value_name = "COLS", value_delimiter = ',')]
    measure: Vec<String>,
    /// Language model of the column perplexity: ARPA, KenLM binary, or what `pipeline lm train` made
    #[arg(long, value_name = "LM")]
    perplexity_model: Option<String>,
    /// What a word is for perplexity, as when the model was trained [default: whitespace]
    #[arg(long, value_name = "WORDS", value_parser = ["whitespace", "punctuation", "characters", "sentencepiece"])]
    perplexity_words: Option<String>,
    /// SentencePiece model whose pieces are words, where they are called sentencepiece
    #[arg(long, value_name = "FILE")]
    sentencepiece_model: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Cleaning and choosing documents")]
struct ChooseArgs {
    /// Clean texts first: names of steps or of sets (usual, web, privacy, chinese), separated by commas [default: none]
    #[arg(long, value_name = "STEPS")]
    clean: Option<String>,
    /// Filters by name, separated by commas: notebook, gopher, c4, fineweb, industry-zh; `pipeline preset NAME` prints
    /// the conditions of one
    #[arg(long, value_name = "NAMES")]
    preset: Option<String>,
    /// Keep documents for which this SQL expression is true: "perplexity < 1500 AND lang_score >= 0.8"
    #[arg(long = "where", value_name = "SQL")]
    where_sql: Option<String>,
    /// Drop documents whose column `url` is of a domain in this list, or below one
    #[arg(long, value_name = "FILE")]
    block_domains: Option<String>,
    /// Drop documents whose column `url` is an address in this list
    #[arg(long, value_name = "FILE")]
    block_urls: Option<String>,
    /// Drop documents with a word of this list
    #[arg(long, value_name = "FILE")]
    block_keywords: Option<String>,
    /// Drop documents without any word of this list
    #[arg(long, value_name = "FILE")]
    require_keywords: Option<String>,
    /// Drop documents of any other licence
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    allow_licenses: Vec<String>,
    /// Drop documents of any other input: paths, or patterns with `*`
    #[arg(long, value_name = "PATHS", value_delimiter = ',')]
    allow_sources: Vec<String>,
    /// What happens where the expression is NULL [default: drop]
    #[arg(long, value_name = "POLICY", value_parser = ["drop", "keep", "error"])]
    nulls: Option<String>,
    /// Drop documents of more code points
    #[arg(long, value_name = "N")]
    max_chars: Option<u64>,
    /// Drop documents that hold a passage of these benchmarks: files of any input format, every string in them
    #[arg(long, value_name = "FILE", num_args = 1..)]
    decontaminate: Vec<String>,
    /// Units of a passage: words, or characters in scripts without spaces [default: 13]
    #[arg(long, value_name = "N")]
    ngram: Option<u32>,
    #[command(flatten)]
    dedup: DedupArgs,
    #[command(flatten)]
    mix: MixArgs,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Writing")]
struct WriteArgs {
    /// Token before each document, or `none`
    #[arg(long, value_name = "TOKEN")]
    bos: Option<String>,
    /// Token after each document, or `none`
    #[arg(long, value_name = "TOKEN")]
    eos: Option<String>,
    /// Width of a token id [default: u16]
    #[arg(long, value_name = "WIDTH", value_parser = ["u16", "u32"])]
    dtype: Option<String>,
    /// Encode text that looks like a special token as that token
    #[arg(long)]
    allow_special: bool,
    /// Share of documents held out for validation [default: 0.005]
    #[arg(long, value_name = "FRACTION")]
    val_fraction: Option<f64>,
    /// Seed of the choice of held-out documents [default: 0]
    #[arg(long, value_name = "SEED")]
    split_seed: Option<u64>,
    /// Column whose value, instead of the text, chooses the side
    #[arg(long, value_name = "COLUMN")]
    split_by: Option<String>,
    /// Write documents in the order of a hash instead of input order, for readers that go through shards in sequence
    #[arg(long)]
    shuffle: bool,
    /// Seed of that order [default: 0]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Most tokens in a shard [default: 100000000]
    #[arg(long, value_name = "N")]
    shard_tokens: Option<u64>,
    /// Write no data/*.parquet
    #[arg(long)]
    no_parquet: bool,
    /// Write no keys/*.parquet, which a later run with --against needs
    #[arg(long)]
    no_keys: bool,
}

impl Args {
    fn config(&self) -> Result<Config, Error> {
        let mut config = self.config.as_deref().map(settings::load).transpose()?.unwrap_or_default();
        self.apply_read(&mut config)?;
        self.apply_measure(&mut config)?;
        self.apply_choose(&mut config)?;
        apply_preset(&mut config)?;
        self.apply_write(&mut config);
        set(&mut config.tokenize.tokenizer, self.tokenizer.clone());
        config.machine.threads = self.threads.or(config.machine.threads);
        set(&mut config.machine.memory, self.memory.clone());
        if let Some(folder) = &self.work_dir {
            config.machine.work_dir = Some(folder.display().to_string());
        }
        settings::validate(&config)?;
        Ok(config)
    }

    fn apply_read(&self, config: &mut Config) -> Result<(), Error> {
        let (flags, read) = (&self.read, &mut config.read);
        set(&mut read.text_column, flags.text_column.clone());
        read.id_column = flags.id_column.clone().or(read.id_column.take());
        read.text_template = flags.text_template.clone().or(read.text_template.take());
        set(&mut read.encoding, named::<Encoding>(flags.encoding.as_ref()));
        set(&mut read.text_files, named::<TextFiles>(flags.text_files.as_ref()));
        if let Some(size) = &flags.max_line_bytes {
            read.max_line_bytes = settings::parse_bytes("--max-line-bytes", size)?;
        }
        set(&mut read.max_depth, flags.max_depth);
        read.max_invalid = flags.max_invalid.or(read.max_invalid);
        read.accept_nan |= flags.accept_nan;
        read.require_license |= flags.require_license;
        Ok(())
    }

    /// Columns of the flag come behind those of the file, each once; those of a preset behind both.
    fn apply_measure(&self, config: &mut Config) -> Result<(), Error> {
        let columns = &mut config.measure.columns;
        for name in &self.measure.measure {
            let named = QualityColumn::named(name).map_err(|nearest| {
                Error::usage(
                    "--measure",
                    format!("no column or group is called {name:?}"),
                    &format!("did you mean `{nearest}`?"),
                )
            })?;
            columns.extend(named);
        }
        let measure = &self.measure;
        set(&mut config.measure.perplexity_words, named::<Words>(measure.perplexity_words.as_ref()));
        config.measure.perplexity_model = measure.perplexity_model.clone().or(config.measure.perplexity_model.take());
        config.measure.sentencepiece_model =
            measure.sentencepiece_model.clone().or(config.measure.sentencepiece_model.take());
        let columns = &mut config.measure.columns;
        let mut seen = std::collections::HashSet::new();
        columns.retain(|column| seen.insert(*column));
        Ok(())
    }

    fn apply_choose(&self, config: &mut Config) -> Result<(), Error> {
        let (flags, filter) = (&self.choose, &mut config.filter);
        if let Some(names) = &flags.clean {
            config.clean.steps = clean::sets::parse(names)?;
        }
        filter.preset = flags.preset.clone().or(filter.preset.take());
        filter.where_sql = flags.where_sql.clone().or(filter.where_sql.take());
        set(&mut filter.nulls, named::<Nulls>(flags.nulls.as_ref()));
        for (list, flag) in [
            (&mut filter.block_domains, &flags.block_domains),
            (&mut filter.block_urls, &flags.block_urls),
            (&mut filter.block_keywords, &flags.block_keywords),
            (&mut filter.require_keywords, &flags.require_keywords),
        ] {
            set(list, flag.clone().map(Some));
        }
        for (list, flag) in
            [(&mut filter.allow_licenses, &flags.allow_licenses), (&mut filter.allow_sources, &flags.allow_sources)]
        {
            if !flag.is_empty() {
                list.clone_from(flag);
            }
        }
        filter.max_chars = flags.max_chars.or(filter.max_chars);
        if !flags.decontaminate.is_empty() {
            config.decontaminate.benchmarks = flags.decontaminate.clone();
        }
        set(&mut config.decontaminate.ngram, flags.ngram);
        flags.dedup.apply(&mut config.dedup);
        flags.mix.apply(&mut config.mix)?;
        flags.dedup.apply_passages(&mut config.passages);
        Ok(())
    }

    fn apply_write(&self, config: &mut Config) {
        let flags = &self.write;
        let tokenize = &mut config.tokenize;
        tokenize.bos = flags.bos.clone().or(tokenize.bos.take());
        tokenize.eos = flags.eos.clone().or(tokenize.eos.take());
        set(&mut tokenize.dtype, named::<Dtype>(flags.dtype.as_ref()));
        tokenize.allow_special |= flags.allow_special;
        set(&mut config.split.val_fraction, flags.val_fraction);
        set(&mut config.split.seed, flags.split_seed);
        config.split.by = flags.split_by.clone().or(config.split.by.take());
        config.order.shuffle |= flags.shuffle;
        set(&mut config.order.seed, flags.seed);
        set(&mut config.output.shard_tokens, flags.shard_tokens);
        config.output.parquet &= !flags.no_parquet;
        config.output.keys &= !flags.no_keys;
    }
}

/// Gives a preset its version, and asks for the columns it looks at.
fn apply_preset(config: &mut Config) -> Result<(), Error> {
    let Some(names) = &config.filter.preset else { return Ok(()) };
    let presets = names_of(names).map(named_preset).collect::<Result<Vec<_>, _>>()?;
    config.filter.preset = Some(presets.iter().map(|preset| preset.version).collect::<Vec<_>>().join(","));
    for preset in presets {
        let wanted = preset.columns(&config.measure);
        let columns = &mut config.measure.columns;
        columns.extend(wanted.into_iter().filter(|column| !columns.contains(column)).collect::<Vec<_>>());
    }
    Ok(())
}

/// Runs the command.
///
/// # Errors
/// [`Error`]; its exit codes are documented.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    let config = args.config()?;
    refuse_early(&config)?;
    let encoder = load_encoder(&config)?;
    if args.dry_run {
        return dry_run(&args, config, &encoder);
    }
    let max_invalid = config.read.max_invalid;
    let memory = Some(settings::parse_bytes("--memory", &config.machine.memory)?);
    let (run_dir, work_dir) = folders(&args.out, &config)?;
    let _lock = FolderLock::take(&args.out, &run_dir, Sharing::Alone)?;
    let Some(plan) = settle(&args, config, &encoder, &work_dir)? else { return already_done(&args, max_invalid) };
    print_notes(&plan);
    let threads = args.threads.or(plan.config.machine.threads);
    let progress = Progress::new(args.json);
    let process = Process { threads, memory, progress, interrupt: Interrupt::install()? };
    let run = Run::new(plan, &work_dir, encoder, process)?;
    run.execute_all()?;
    warn_unseen_columns(&run)?;
    let manifest = commit::commit(&run)?;
    let seconds = start.elapsed().as_secs_f64();
    commit::clear(&run, seconds)?;
    report(&args.out, args.json, &manifest, Some(seconds));
    if !args.json {
        print_mix(&args.out);
    }
    Ok(outcome(&manifest, run.plan.config.read.max_invalid))
}

/// Writes the plan of a run and prints it.
///
/// # Errors
/// Whatever `run` would refuse before it works.
pub(super) fn plan(args: Args) -> anyhow::Result<Outcome> {
    let config = args.config()?;
    refuse_early(&config)?;
    let encoder = load_encoder(&config)?;
    if args.dry_run {
        return dry_run(&args, config, &encoder);
    }
    let max_invalid = config.read.max_invalid;
    let (run_dir, work_dir) = folders(&args.out, &config)?;
    let _lock = FolderLock::take(&args.out, &run_dir, Sharing::Alone)?;
    match settle(&args, config, &encoder, &work_dir)? {
        Some(plan) => {
            print_notes(&plan);
            describe(args.json, &plan);
            Ok(Outcome::Done)
        }
        None => already_done(&args, max_invalid),
    }
}

fn outcome(manifest: &Manifest, max_invalid: Option<f64>) -> Outcome {
    if manifest.complete || max_invalid.is_some() { Outcome::Done } else { Outcome::Incomplete }
}

/// Compiles what a run compiles, before a folder is made.
fn refuse_early(config: &Config) -> Result<(), Error> {
    Cleaner::of_config(&config.clean)?;
    Filter::plan_for(&config.filter, &config.read.text_column)?;
    Lists::from_config(&config.filter)?;
    Terms::from_config(&config.terms)?;
    Augment::from_config(&config.augment)?;
    Sources::from_config(&config.sources)?;
    read::Options::from_config(&config.read)?;
    Measures::load(&config.measure)?;
    Ok(())
}

fn load_encoder(config: &Config) -> Result<Encoder, Error> {
    Ok(Encoder::load(Path::new(&config.tokenize.tokenizer), &config.tokenize)?)
}

/// The run folder (lock, report) and the work folder (task files), made where they are missing.
pub(super) fn folders(dataset: &Path, config: &Config) -> Result<(PathBuf, PathBuf), Error> {
    let run_dir = dataset.join("run");
    let work_dir = config.machine.work_dir.as_ref().map_or_else(|| run_dir.clone(), PathBuf::from);
    for folder in [&run_dir, &work_dir, &dataset.join("tokens"), &dataset.join("data"), &dataset.join("rejects")] {
        std::fs::create_dir_all(folder).map_err(|error| Error::io("create", folder, error))?;
    }
    Ok((run_dir, work_dir))
}

/// The plan to execute: the one an interrupted run left, or a new one; None where the dataset is committed already.
fn settle(args: &Args, config: Config, encoder: &Encoder, work_dir: &Path) -> Result<Option<Plan>, Error> {
    let plan_path = work_dir.join(PLAN_FILE);
    let left: Option<Plan> = marker::read(&plan_path)?;
    let committed = left.is_none() && args.out.join(MANIFEST_FILE).exists();
    let spooled = args.inputs.iter().any(|input| input == "-");
    let make = |config| make_plan(args, config, encoder, work_dir);
    match left {
        // Standard input was spooled by the run that was interrupted, and cannot be read twice.
        Some(left) if spooled => Plan::of_inputs(config, left.inputs.clone(), &args.out, encoder)
            .and_then(|plan| same(&left, &plan))
            .map(|()| Some(left)),
        Some(left) => {
            same(&left, &make(config)?)?;
            Ok(Some(left))
        }
        None if committed && spooled => {
            refuse_other_dataset(&args.out, &Plan::of_inputs(config, Vec::new(), &args.out, encoder)?, false)
                .map(|()| None)
        }
        None => {
            let plan = make(config)?;
            if committed {
                return refuse_other_dataset(&args.out, &plan, true).map(|()| None);
            }
            if !args.no_disk_check {
                check_disk(&plan, work_dir)?;
            }
            marker::write(&plan_path, &plan)?;
            Ok(Some(plan))
        }
    }
}

fn make_plan(args: &Args, config: Config, encoder: &Encoder, work_dir: &Path) -> Result<Plan, Error> {
    Plan::make(Request { inputs: &args.inputs, config, dataset: &args.out, work_dir }, encoder)
}

/// Refuses to go on with a plan that another command made.
fn same(left: &Plan, plan: &Plan) -> Result<(), Error> {
    let differ = |what, expected: &str, found: &str| {
        Err(Error::OtherRun {
            path: left.dataset.clone(),
            what,
            expected: expected.to_owned(),
            found: found.to_owned(),
        })
    };
    if left.config_toml != plan.config_toml {
        let (expected, found) = first_difference(&plan.config_toml, &left.config_toml);
        return differ("configuration", expected, found);
    }
    let names = |plan: &Plan| plan.inputs.iter().map(|input| input.label.clone()).collect::<Vec<_>>().join(", ");
    if names(left) != names(plan) {
        return differ("input", &names(plan), &names(left));
    }
    left.inputs.iter().try_for_each(|input| plan.check_unchanged(input))
}

pub(super) fn first_difference<'a>(left: &'a str, right: &'a str) -> (&'a str, &'a str) {
    let lines = left.lines().zip(right.lines()).find(|(left, right)| left != right);
    lines.unwrap_or(("fewer or more keys", "other keys"))
}

/// Refuses a folder with a dataset that another command made.
pub(super) fn refuse_other_dataset(dataset: &Path, plan: &Plan, compare_inputs: bool) -> Result<(), Error> {
    let manifest = shards::dataset::Dataset::open(dataset)?.manifest().clone();
    let differ = |what, expected: String, found: String| {
        Err(Error::OtherRun { path: dataset.to_owned(), what, expected, found })
    };
    let hash = shards::commit::sha256_hex(plan.config_toml.as_bytes());
    if manifest.config_hash != hash {
        return differ("configuration", hash, manifest.config_hash);
    }
    let found: Vec<String> =
        manifest.inputs.iter().map(|input| format!("{} ({} bytes)", input.path, input.bytes)).collect();
    let expected: Vec<String> =
        plan.inputs.iter().map(|input| format!("{} ({} bytes)", input.label, input.bytes)).collect();
    if compare_inputs && found != expected {
        return differ("input", expected.join(", "), found.join(", "));
    }
    Ok(())
}

fn already_done(args: &Args, max_invalid: Option<f64>) -> anyhow::Result<Outcome> {
    let manifest = shards::dataset::Dataset::open(&args.out).map_err(Error::from)?.manifest().clone();
    report(&args.out, args.json, &manifest, None);
    Ok(outcome(&manifest, max_invalid))
}

/// Refuses a run for which the disk is too small.
pub(super) fn check_disk(plan: &Plan, work_dir: &Path) -> Result<(), Error> {
    let stat =
        rustix::fs::statvfs(work_dir).map_err(|error| Error::io("look at the disk of", work_dir, error.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let needed = plan.disk_bytes();
    if free >= needed {
        return Ok(());
    }
    let detail = format!("the run may need {needed} bytes, {} has {free} free", work_dir.display());
    Err(Error::Usage {
        setting: "disk".to_owned(),
        detail,
        hint: Some("free some space, choose another --work-dir, or say --no-disk-check".to_owned()),
    })
}

pub(super) fn print_notes(plan: &Plan) {
    plan.notes.iter().for_each(|note| eprintln!("note: {note}"));
}

/// A misspelt column is null everywhere, which drops everything: say so.
fn warn_unseen_columns(run: &Run) -> Result<(), Error> {
    let layout = run.layout()?;
    let by = run.mix.by.as_ref().filter(|name| *name != "source");
    for (name, of) in run.filter.columns().iter().map(|(name, _)| (name, "filter")).chain(by.map(|name| (name, "mix")))
    {
        let seen = layout.columns.iter().any(|column| column.source_name == *name);
        if !seen && !["text", "n_chars"].contains(&name.as_str()) {
            eprintln!("warning: column {name} of the {of} was not in any document");
        }
    }
    Ok(())
}

fn dry_run(args: &Args, config: Config, encoder: &Encoder) -> anyhow::Result<Outcome> {
    if args.inputs.iter().any(|input| input == "-") {
        return Err(Error::usage("--dry-run", "standard input cannot be planned without reading it", "").into());
    }
    let plan = make_plan(args, config, encoder, &args.out.join("run"))?;
    print_notes(&plan);
    describe(args.json, &plan);
    Ok(Outcome::Done)
}

/// Prints a plan.
fn describe(json: bool, plan: &Plan) {
    let stages: Vec<&str> = stages::chain(plan).iter().map(|stage| stage.name()).collect();
    if json {
        emit(&json!({
            "event": "done",
            "inputs": plan.inputs.len(),
            "input_bytes": plan.input_bytes(),
            "read_tasks": plan.parts.len(),
            "stages": stages,
            "disk_bytes": plan.disk_bytes(),
            "near": plan.near().map(|near| near_json(&near)),
        }));
        return;
    }
    eprintln!("{} inputs, {} bytes, {} read tasks", plan.inputs.len(), plan.input_bytes(), plan.parts.len());
    eprintln!("stages: {}, {}", stages.join(", "), commit::NAME);
    plan.near().iter().flat_map(describe_near).for_each(|line| eprintln!("{line}"));
    eprintln!("disk: at most about {} bytes", plan.disk_bytes());
}

/// Tells how a run ended; without seconds it was committed before.
pub(super) fn report(dataset: &Path, as_json: bool, manifest: &Manifest, seconds: Option<f64>) {
    let (ledger, splits) = (&manifest.ledger, &manifest.splits);
    if as_json {
        emit(&json!({
            "event": "done",
            "manifest": dataset.join(MANIFEST_FILE),
            "already_done": seconds.is_none(),
            "seconds": seconds,
            "complete": manifest.complete,
            "ledger": ledger,
            "documents": manifest.documents.total,
            "tokens": splits.train.tokens + splits.val.tokens,
        }));
        return;
    }
    match seconds {
        Some(seconds) => eprintln!("{} in {}", dataset.join(MANIFEST_FILE).display(), human_seconds(seconds)),
        None => eprintln!("{} is committed already; nothing to do", dataset.join(MANIFEST_FILE).display()),
    }
    eprintln!("  {:>12} lines", ledger.lines);
    eprintln!("  {:>12} blank", ledger.blank);
    for (rule, count) in &ledger.invalid {
        eprintln!("  {count:>12} invalid: {rule}");
    }
    for (stage, rules) in &ledger.dropped {
        for (rule, count) in rules {
            eprintln!("  {count:>12} dropped by {stage}: {rule}");
        }
    }
    eprintln!("  {:>12} kept", ledger.kept);
    for (count, what) in [(manifest.documents.repeated, "repeated"), (manifest.documents.generated, "generated")] {
        if count > 0 {
            eprintln!("  {count:>12} {what}");
        }
    }
    for (name, split) in [("train", &splits.train), ("val", &splits.val)] {
        eprintln!("  {name}: {} documents, {} tokens, {} shards", split.documents, split.tokens, split.shards.len());
    }
    if !manifest.complete {
        eprintln!("warning: an input stream was damaged; what came before the damage is in the dataset");
    }
}

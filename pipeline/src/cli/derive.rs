//! What merge, remove and retokenize have in common: a run whose input is datasets.

use std::path::{Path, PathBuf};
use std::time::Instant;

use schemas::config::Machine;
use schemas::manifest::{MANIFEST_FILE, Manifest};

use super::Outcome;
use super::run::{check_disk, first_difference, folders, print_notes, refuse_other_dataset, report};
use crate::derive::{Planned, Step, plan};
use crate::engine::interrupt::Interrupt;
use crate::engine::lock::{FolderLock, Sharing};
use crate::engine::marker;
use crate::engine::plan::{PLAN_FILE, Plan};
use crate::engine::progress::Progress;
use crate::engine::run::{Process, Run};
use crate::error::Error;
use crate::settings::parse_bytes;
use crate::stages::commit;

/// Arguments of all three.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// The dataset folder to make
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Threads; all cores where not given
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Most resident memory
    #[arg(long, value_name = "SIZE", default_value = "2GiB")]
    pub memory: String,
    /// Folder of task files; DIR/run where not given
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
    /// Start even where the disk looks too small
    #[arg(long)]
    pub no_disk_check: bool,
    /// Print events as JSON lines on stdout
    #[arg(long)]
    pub json: bool,
}

impl Common {
    fn machine(&self) -> Machine {
        Machine {
            threads: self.threads,
            memory: self.memory.clone(),
            work_dir: self.work_dir.as_ref().map(|folder| folder.display().to_string()),
            ..Machine::default()
        }
    }
}

/// Makes a dataset from others, or finishes one that was begun.
///
/// # Errors
/// [`Error`]; its exit codes are those of `pipeline run`.
pub(super) fn derive(sources: &[PathBuf], step: Step<'_>, common: &Common) -> Result<Made, Error> {
    let start = Instant::now();
    let Planned { plan, encoder } = plan(sources, &common.out, step, common.machine())?;
    let (run_dir, work_dir) = folders(&common.out, &plan.config)?;
    let _lock = FolderLock::take(&common.out, &run_dir, Sharing::Alone)?;
    let Some(plan) = settle(plan, common, &work_dir)? else {
        let manifest = shards::dataset::Dataset::open(&common.out)?.manifest().clone();
        return Ok(Made { manifest, seconds: None });
    };
    print_notes(&plan);
    let progress = Progress::new(common.json);
    let memory = Some(parse_bytes("--memory", &common.memory)?);
    let process = Process { threads: common.threads, memory, progress, interrupt: Interrupt::install()? };
    let run = Run::new(plan, &work_dir, encoder, process)?;
    run.execute_all()?;
    let manifest = commit::commit(&run)?;
    let seconds = start.elapsed().as_secs_f64();
    commit::clear(&run, seconds)?;
    Ok(Made { manifest, seconds: Some(seconds) })
}

/// A dataset that is there now.
pub(super) struct Made {
    manifest: Manifest,
    /// None where it was there before.
    seconds: Option<f64>,
}

impl Made {
    /// Tells how the command ended.
    pub fn report(&self, common: &Common) -> Outcome {
        report(&common.out, common.json, &self.manifest, self.seconds);
        if self.manifest.complete { Outcome::Done } else { Outcome::Incomplete }
    }
}

/// The plan to execute; None where the dataset is committed already.
fn settle(plan: Plan, common: &Common, work_dir: &Path) -> Result<Option<Plan>, Error> {
    let path = work_dir.join(PLAN_FILE);
    if let Some(left) = marker::read::<Plan>(&path)? {
        // The settings name the datasets by their hashes, so equal settings are equal datasets.
        if left.config_toml == plan.config_toml {
            return Ok(Some(Plan { derived: plan.derived, ..left }));
        }
        let (expected, found) = first_difference(&plan.config_toml, &left.config_toml);
        let (expected, found) = (expected.to_owned(), found.to_owned());
        return Err(Error::OtherRun { path: common.out.clone(), what: "configuration", expected, found });
    }
    if common.out.join(MANIFEST_FILE).exists() {
        return refuse_other_dataset(&common.out, &plan, true).map(|()| None);
    }
    if !common.no_disk_check {
        check_disk(&plan, work_dir)?;
    }
    marker::write(&path, &plan)?;
    Ok(Some(plan))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use schemas::manifest::Split;
    use shards::verify::verify;

    use super::super::{Cli, dispatch};
    use super::*;
    use crate::look::cell;
    use crate::look::fate::{Fate, fates};
    use crate::look::query::Query;
    use crate::look::rows::RowFile;
    use crate::look::testing::{Doc, Made, Shape, dataset, dataset_shaped, ids, tokenizer_json};

    /// Runs a command line, with paths as arguments.
    fn pipeline(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> anyhow::Result<Outcome> {
        let arguments = arguments.iter().map(|argument| argument.as_ref().to_owned());
        let cli = Cli::try_parse_from(std::iter::once("pipeline".into()).chain(arguments))?;
        dispatch(cli.command)
    }

    fn first() -> Made {
        dataset(&[
            Doc::new("a", "one"),
            Doc::blank(),
            Doc::new("v", "held out").val(),
            Doc::new("x", "one").dropped("dedup", "exact", "a"),
            Doc::new("b", "two"),
            Doc::new("", "").invalid("bad_utf8", b"{\xff"),
        ])
    }

    fn column(dir: &Path, split: Split, name: &str) -> Vec<String> {
        let dataset = crate::look::open(dir).unwrap();
        let mut values = Vec::new();
        for entry in dataset.data_files(split) {
            for batch in RowFile::open(&dir.join(&entry.path)).unwrap().stream(None).unwrap() {
                let batch = batch.unwrap();
                let array = batch.column_by_name(name).unwrap();
                values.extend((0..batch.num_rows()).map(|row| cell::json(array, row).to_string()));
            }
        }
        values
    }

    fn sound(dir: &Path) -> Manifest {
        assert_eq!(verify(dir, 2, |_| ()).unwrap().differences, []);
        crate::look::open(dir).unwrap().manifest().clone()
    }

    #[test]
    fn merged_ledgers_add_up_and_rows_stay_what_they_were() {
        let (left, right, out) = (first(), dataset(&[Doc::new("c", "three")]), tempfile::tempdir().unwrap());
        pipeline(&[&"merge", &left.path(), &right.path(), &"--out", &out.path()]).unwrap();
        let manifest = sound(out.path());
        let mut sum = left.open().manifest().ledger.clone();
        sum.merge(&right.open().manifest().ledger);
        assert_eq!(manifest.ledger, sum);
        assert_eq!((manifest.inputs.len(), manifest.splits.val.documents), (2, 1));
        assert_eq!(column(out.path(), Split::Train, "doc_id"), [r#""a""#, r#""b""#, r#""c""#]);
        assert_eq!(column(out.path(), Split::Train, "line"), ["1", "5", "1"]);
        assert_eq!(column(out.path(), Split::Train, "byte_offset"), ["0", "400", "0"]);
        assert_eq!(column(out.path(), Split::Train, "score"), ["0.5"; 3]);
        assert_eq!(column(out.path(), Split::Val, "doc_id"), [r#""v""#]);
    }

    #[test]
    fn rejects_of_merged_datasets_tell_what_they_told() {
        let (left, out) = (first(), tempfile::tempdir().unwrap());
        pipeline(&[&"merge", &left.path(), &"--out", &out.path()]).unwrap();
        let (before, after) = (left.open(), crate::look::open(out.path()).unwrap());
        for query in ["in.jsonl:4", "in.jsonl:6", "in.jsonl:2", "x"] {
            let fates = |dataset| fates(dataset, &[Query::parse(query, before.manifest())]).unwrap();
            assert_eq!(fates(&after), fates(&before), "{query}");
        }
    }

    #[test]
    fn a_removed_document_becomes_a_reject_and_an_unknown_id_is_listed() {
        let (made, out) = (first(), tempfile::tempdir().unwrap());
        let list = made.path().join("../ids-of-test.txt");
        let list = list.with_file_name(format!("{}-ids.txt", made.path().file_name().unwrap().display()));
        std::fs::write(&list, "b\nnobody\nv\n").unwrap();
        pipeline(&[&"remove", &made.path(), &"--ids", &list, &"--out", &out.path()]).unwrap();
        std::fs::remove_file(&list).unwrap();
        let manifest = sound(out.path());
        assert_eq!(manifest.ledger.dropped["remove"]["ids"], 2);
        assert_eq!(manifest.ledger.kept, 1);
        assert_eq!(column(out.path(), Split::Train, "doc_id"), [r#""a""#]);
        let dataset = crate::look::open(out.path()).unwrap();
        let fate = fates(&dataset, &[Query::parse("b", dataset.manifest())]).unwrap().remove(0);
        assert!(
            matches!(&fate[..], [Fate::Rejected { stage, rule, .. }] if stage == "remove" && rule == "ids"),
            "{fate:?}"
        );
        assert_eq!(std::fs::read_to_string(out.path().join("run/ids-not-found.txt")).unwrap(), "nobody\n");
    }

    #[test]
    fn encoded_anew_the_texts_are_the_same_and_the_ids_those_of_the_tokenizer() {
        let (made, out, other) = (first(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let tokenizer = other.path().join("tokenizer.json");
        std::fs::write(&tokenizer, tokenizer_json()).unwrap();
        pipeline(&[
            &"retokenize",
            &made.path(),
            &"--tokenizer",
            &tokenizer,
            &"--bos",
            &"none",
            &"--eos",
            &"</s>",
            &"--dtype",
            &"u32",
            &"--out",
            &out.path(),
        ])
        .unwrap();
        let manifest = sound(out.path());
        assert_eq!(manifest.ledger, made.open().manifest().ledger);
        assert_eq!((manifest.dtype.name(), manifest.tokenizer.bos_id), ("u32", None));
        assert_eq!(column(out.path(), Split::Train, "text"), [r#""one""#, r#""two""#]);
        let expected = serde_json::to_string(&ids("one")[1..]).unwrap();
        assert_eq!(column(out.path(), Split::Train, "tokens")[0], expected);
    }

    #[test]
    fn datasets_of_different_ids_are_not_merged() {
        let wide =
            dataset_shaped(&[Doc::new("c", "three")], Shape { dtype: schemas::dtype::Dtype::U32, ..Shape::default() });
        let (made, out) = (first(), tempfile::tempdir().unwrap());
        let error = pipeline(&[&"merge", &made.path(), &wide.path(), &"--out", &out.path()]).unwrap_err();
        assert!(error.to_string().contains("has dtype u16") && error.to_string().contains("retokenize"), "{error}");
    }

    #[test]
    fn a_dataset_without_rows_cannot_be_made_into_another() {
        let made = dataset_shaped(&[Doc::new("c", "three")], Shape { parquet: false, ..Shape::default() });
        let out = tempfile::tempdir().unwrap();
        let error = pipeline(&[&"merge", &made.path(), &"--out", &out.path()]).unwrap_err();
        assert!(error.to_string().contains("--no-parquet"), "{error}");
    }

    #[test]
    fn a_dataset_is_not_made_into_itself() {
        let made = first();
        let error = pipeline(&[&"merge", &made.path(), &"--out", &made.path()]).unwrap_err();
        assert!(error.to_string().contains("is a dataset that is read"), "{error}");
    }

    #[test]
    fn a_second_merge_into_the_folder_does_nothing_and_another_is_refused() {
        let (made, out) = (first(), tempfile::tempdir().unwrap());
        pipeline(&[&"merge", &made.path(), &"--out", &out.path()]).unwrap();
        let hash = sound(out.path()).manifest_hash;
        pipeline(&[&"merge", &made.path(), &"--out", &out.path()]).unwrap();
        assert_eq!(sound(out.path()).manifest_hash, hash);
        let error = pipeline(&[&"merge", &made.path(), &made.path(), &"--out", &out.path()]).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Error::OtherRun { .. })), "{error}");
    }

    #[test]
    fn a_damaged_source_is_refused_before_its_rows_are_read() {
        let (made, out) = (first(), tempfile::tempdir().unwrap());
        let path = made.path().join("data/train-00000-of-00001.parquet");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[20] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = pipeline(&[&"merge", &made.path(), &"--out", &out.path()]).unwrap_err();
        assert!(
            error.to_string().contains("train-00000-of-00001.parquet") && error.to_string().contains("sha256"),
            "{error}"
        );
    }

    #[test]
    fn taking_nothing_out_of_a_run_leaves_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("tokenizer.json"), tokenizer_json()).unwrap();
        let line =
            |n: u64| format!("{{\"text\":\"document {n}\",\"n\":{n},\"f\":{n}.5,\"nested\":[{n}],\"value\":null}}\n");
        let lines: String = (0..400).map(|n| if n % 7 == 0 { "{broken\n".to_owned() } else { line(n % 150) }).collect();
        std::fs::write(at("in.jsonl"), lines).unwrap();
        std::fs::write(at("ids.txt"), "").unwrap();
        pipeline(&[
            &"run",
            &at("in.jsonl"),
            &"--tokenizer",
            &at("tokenizer.json"),
            &"--bos",
            &"<s>",
            &"--eos",
            &"</s>",
            &"--val-fraction",
            &"0.1",
            &"--shard-tokens",
            &"500",
            &"--out",
            &at("one"),
        ])
        .unwrap();
        pipeline(&[&"remove", &at("one"), &"--ids", &at("ids.txt"), &"--out", &at("two")]).unwrap();
        let (one, two) = (sound(&at("one")), sound(&at("two")));
        assert_eq!(one.ledger, two.ledger);
        for file in one.files.iter().filter(|file| file.path.starts_with("tokens/") || file.path.starts_with("data/")) {
            assert_eq!(two.file(&file.path), Some(file));
        }
        assert!(one.splits.train.shards.len() > 3 && one.splits.val.documents > 0);
    }
}

//! `pipeline remove`: a dataset without the documents of a list (takedown).

use std::io::Write;
use std::path::{Path, PathBuf};

use schemas::manifest::MANIFEST_FILE;
use serde_json::json;
use shards::commit::AtomicFile;
use xxhash_rust::xxh3::xxh3_128;

use super::Outcome;
use super::derive::{Common, derive};
use crate::derive::ids::{Ids, for_each};
use crate::derive::{DOC_ID, Step};
use crate::engine::progress::emit;
use crate::error::Error;
use crate::look::cell;
use crate::look::human::plural;
use crate::look::rows::{Equals, RowFile};

/// Ids named to people and programs; all of them stand in the file.
const IDS_SHOWN: usize = 20;
/// Where ids that no document has are listed, in the dataset's run folder.
const NOT_FOUND_FILE: &str = "run/ids-not-found.txt";

/// Arguments of `pipeline remove`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The dataset
    dir: PathBuf,
    /// A file with a document's id a line; every document of that id is taken out
    #[arg(long, value_name = "FILE")]
    ids: PathBuf,
    #[command(flatten)]
    common: Common,
}

/// Runs the command.
///
/// # Errors
/// Where the dataset lacks `data/`, or the list cannot be read.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let made = derive(std::slice::from_ref(&args.dir), Step::Remove { ids: &args.ids }, &args.common)?;
    let missing = not_found(&args.common.out, &args.ids)?;
    if missing.count > 0 {
        tell(&args, &missing);
    }
    Ok(made.report(&args.common))
}

/// Ids that no document had.
#[derive(Debug, Default, PartialEq, Eq)]
struct Missing {
    count: u64,
    first: Vec<String>,
}

/// Compares the list with the rejects of the new dataset; lists the rest in its run folder.
fn not_found(out: &Path, list: &Path) -> Result<Missing, Error> {
    let removed = removed(out)?;
    let mut missing = Missing::default();
    let path = out.join(NOT_FOUND_FILE);
    let mut file = AtomicFile::create(&path)?;
    for_each(list, |id| {
        if removed.contains(id) {
            return Ok(());
        }
        missing.count += 1;
        if missing.first.len() < IDS_SHOWN {
            missing.first.push(String::from_utf8_lossy(id).into_owned());
        }
        file.write_all(id).and_then(|()| file.write_all(b"\n")).map_err(|error| Error::io("write", &path, error))
    })?;
    if missing.count > 0 {
        file.commit()?;
    }
    Ok(missing)
}

/// The ids that `rejects/` says were taken out, those of earlier removals too.
fn removed(out: &Path) -> Result<Ids, Error> {
    let dataset = shards::dataset::Dataset::open(&out.join(MANIFEST_FILE))?;
    let is_removed = vec![Equals::Text("stage", schemas::rule::STAGE_REMOVE.to_owned())];
    let mut hashes = Vec::new();
    for entry in dataset.reject_files() {
        let file = RowFile::open(&dataset.dir().join(&entry.path))?;
        for batch in file.find(Some(&[DOC_ID, "stage"]), std::slice::from_ref(&is_removed))? {
            let batch = batch?;
            let ids = (0..batch.num_rows()).filter_map(|row| cell::text(&batch, row, DOC_ID));
            hashes.extend(ids.map(|id| xxh3_128(id.as_bytes())));
        }
    }
    Ok(Ids::of_hashes(hashes))
}

fn tell(args: &Args, missing: &Missing) {
    let path = args.common.out.join(NOT_FOUND_FILE);
    if args.common.json {
        emit(&json!({"event": "warning", "not_found": missing.count, "first": missing.first, "list": path}));
    }
    eprintln!("warning: {} of the list named no document; all are in {}", plural(missing.count, "id"), path.display());
    missing.first.iter().for_each(|id| eprintln!("  {id}"));
}

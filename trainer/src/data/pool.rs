//! The shards in use: opened when first read, a bounded number at a time, checked against their checksums behind the
//! reader's back.
//!
//! A trillion tokens are more shards than a process may have open, and more bytes than one wants to hash before the
//! first step. A shard that turns out to be another than the manifest lists ends the run at the next read.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use schemas::manifest::Split;
use shards::dataset::Dataset;
use shards::shard::ShardReader;

use super::source::BareFile;
use crate::error::{Error, Result};

/// Shards open at once; each takes two file descriptors, of 1,024 that a process usually has.
const OPEN_SHARDS: usize = 128;

/// Reads tokens of numbered shards.
pub(super) struct ShardPool(Kind);

enum Kind {
    Bare(BareFile),
    Dataset { dataset: Box<Dataset>, split: Split, open: Mutex<OpenShards>, checker: Option<Checker> },
}

/// The open shards, most recently opened last.
#[derive(Default)]
struct OpenShards {
    shards: VecDeque<(usize, Arc<OpenShard>)>,
}

/// A shard, and where its documents start once that was asked for: 8 bytes a document, so that a window's bounds cost
/// a search in memory instead of reads of the index.
struct OpenShard {
    reader: ShardReader,
    starts: OnceLock<Vec<u64>>,
}

impl OpenShard {
    fn starts(&self) -> Result<&[u64]> {
        if let Some(starts) = self.starts.get() {
            return Ok(starts);
        }
        let spans = self.reader.spans_from(0);
        let starts = spans.map(|span| span.map(|span| span.token_offset)).collect::<Result<Vec<u64>, _>>()?;
        // Another thread may have been faster: the same starts.
        Ok(self.starts.get_or_init(|| starts))
    }
}

impl ShardPool {
    pub(super) fn bare(file: BareFile) -> ShardPool {
        ShardPool(Kind::Bare(file))
    }

    pub(super) fn of_dataset(dataset: &Dataset, split: Split, check: bool) -> ShardPool {
        let checker = check.then(|| Checker::start(dataset.clone(), split));
        let dataset = Box::new(dataset.clone());
        ShardPool(Kind::Dataset { dataset, split, open: Mutex::default(), checker })
    }

    /// Fills `bytes` with the tokens of a shard from `token_offset` on; returns the shard's path where asked later.
    pub(super) fn read_at(&self, shard: usize, token_offset: u64, bytes: &mut [u8]) -> Result<()> {
        match &self.0 {
            Kind::Bare(file) => file.read_at(token_offset, bytes),
            Kind::Dataset { dataset, split, open, checker } => {
                if let Some(checker) = checker {
                    checker.wants(shard)?;
                }
                Ok(open_shard(dataset, *split, open, shard)?.reader.read_at(token_offset, bytes)?)
            }
        }
    }

    /// Appends the offsets at which documents start inside a window of a shard, ascending.
    pub(super) fn document_starts(&self, shard: usize, window: Range<u64>, starts: &mut Vec<u64>) -> Result<()> {
        let Kind::Dataset { dataset, split, open, .. } = &self.0 else {
            let problem = "a bare .bin has no index that says where documents start".to_owned();
            return Err(Error::Data { path: self.path(shard), problem });
        };
        let open = open_shard(dataset, *split, open, shard)?;
        let all = open.starts()?;
        let from = all.partition_point(|start| *start < window.start);
        // An empty document shares its start with the next.
        for start in all[from..].iter().take_while(|start| **start < window.end) {
            if starts.last() != Some(start) {
                starts.push(*start);
            }
        }
        Ok(())
    }

    /// Path of a shard.
    pub(super) fn path(&self, shard: usize) -> PathBuf {
        match &self.0 {
            Kind::Bare(file) => file.path().to_path_buf(),
            Kind::Dataset { dataset, split, .. } => shard_path(dataset, *split, shard),
        }
    }
}

fn shard_path(dataset: &Dataset, split: Split, shard: usize) -> PathBuf {
    let name = dataset.manifest().splits.get(split).shards.get(shard);
    dataset.dir().join(name.map_or("", String::as_str))
}

fn open_shard(dataset: &Dataset, split: Split, open: &Mutex<OpenShards>, shard: usize) -> Result<Arc<OpenShard>> {
    let find = |open: &OpenShards| open.shards.iter().find(|(number, _)| *number == shard).map(|(_, s)| s.clone());
    if let Some(found) = find(&open.lock().unwrap_or_else(PoisonError::into_inner)) {
        return Ok(found);
    }
    // Opened outside the lock: two threads may open the same shard, which only wastes a moment.
    let reader = Arc::new(OpenShard { reader: dataset.shard(split, shard)?, starts: OnceLock::new() });
    let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
    if open.shards.len() >= OPEN_SHARDS {
        open.shards.pop_front();
    }
    open.shards.push_back((shard, reader.clone()));
    Ok(reader)
}

/// Checks a shard's bytes against the manifest.
fn check(dataset: &Dataset, split: Split, shard: usize) -> Result<(), shards::Error> {
    let path = shard_path(dataset, split, shard);
    let name = dataset.manifest().splits.get(split).shards.get(shard);
    let Some(entry) = name.and_then(|name| dataset.manifest().file(name)) else { return Ok(()) };
    let found = shards::commit::hash_file(&path)?.sha256;
    if found == entry.sha256 {
        Ok(())
    } else {
        Err(shards::Error::FileHash { path, expected: entry.sha256.clone(), found })
    }
}

/// Checks every shard of a side.
pub(super) fn check_all(dataset: &Dataset, split: Split) -> Result<()> {
    (0..dataset.shard_count(split)).try_for_each(|shard| check(dataset, split, shard)).map_err(Error::Shards)
}

/// Checks shards on a thread of its own, in the order of their first use.
struct Checker {
    asked: Mutex<(BTreeSet<usize>, Option<Sender<usize>>)>,
    failed: Arc<AtomicBool>,
    failure: Arc<Mutex<Option<shards::Error>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Checker {
    fn start(dataset: Dataset, split: Split) -> Checker {
        let (sender, receiver) = channel::<usize>();
        let (failed, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let failure = Arc::new(Mutex::new(None));
        let job = {
            let (failed, failure, stop) = (failed.clone(), failure.clone(), stop.clone());
            move || {
                for shard in receiver {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    if let Err(error) = check(&dataset, split, shard) {
                        *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        failed.store(true, Ordering::Release);
                        return;
                    }
                }
            }
        };
        // Without the thread nothing is checked; sizes and headers have been.
        let thread = std::thread::Builder::new().name("checksums".to_owned()).spawn(job).ok();
        Checker { asked: Mutex::new((BTreeSet::new(), Some(sender))), failed, failure, stop, thread }
    }

    /// Has a shard checked when it is used for the first time; reports a shard found wrong.
    fn wants(&self, shard: usize) -> Result<()> {
        if self.failed.load(Ordering::Acquire) {
            let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
            return Err(failure.map_or(Error::LoaderGone, Error::Shards));
        }
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.0.insert(shard)
            && let Some(sender) = &asked.1
        {
            // The thread ends early only after a failure, which the next read reports.
            let _ = sender.send(shard);
        }
        Ok(())
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).1 = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has already been printed.
            let _ = thread.join();
        }
    }
}

//! The shards in use: opened when first read, a bounded number at a time, checked against their checksums behind the
//! reader's back.
//!
//! A trillion tokens are more shards than a process may have open, and more bytes than one wants to hash before the
//! first step. A shard that turns out to be another than the manifest lists ends the run at the next read.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;

use schemas::manifest::Split;
use shards::dataset::Dataset;
use shards::shard::ShardReader;

use super::source::BareFile;
use super::starts::{STARTS_MAX, Starts};
use crate::error::{Error, Result};

/// Shards open at once, where the system allows; each takes two file descriptors.
const OPEN_SHARDS_MAX: usize = 1 << 14;
/// Descriptors left to the rest of the process.
const OTHER_DESCRIPTORS: usize = 256;

/// Reads tokens of numbered shards.
pub(super) struct ShardPool(Kind);

enum Kind {
    Bare(BareFile),
    Dataset(Box<Shards>),
}

/// The shards of one side.
struct Shards {
    dataset: Dataset,
    split: Split,
    slots: Vec<Slot>,
    /// Numbers of the open shards, the one opened first in front.
    open: Mutex<VecDeque<usize>>,
    open_max: usize,
    keeps_all_starts: bool,
    checker: Option<Checker>,
}

/// One shard: its reader while it is open, and where its documents start once that was asked for.
#[derive(Default)]
struct Slot {
    reader: RwLock<Option<Arc<ShardReader>>>,
    starts: OnceLock<Starts>,
    /// Whether the checker knows of it.
    asked: AtomicBool,
}

/// How many shards may be open: half of what descriptors the process can have.
fn open_shards_max() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = 2 * OPEN_SHARDS_MAX + OTHER_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    let raised = hard.min(wanted as u64);
    let allowed = match soft < raised {
        true => setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }).map(|()| raised),
        false => Ok(soft),
    };
    let allowed = usize::try_from(allowed.unwrap_or(soft)).unwrap_or(wanted);
    (allowed.saturating_sub(OTHER_DESCRIPTORS) / 2).clamp(16, OPEN_SHARDS_MAX)
}

impl Shards {
    fn new(dataset: &Dataset, split: Split, check: bool) -> Shards {
        let checker = check.then(|| Checker::start(dataset.clone(), split));
        let slots = (0..dataset.shard_count(split)).map(|_| Slot::default()).collect();
        let keeps_all_starts = dataset.manifest().splits.get(split).documents <= STARTS_MAX;
        let (dataset, open_max) = (dataset.clone(), open_shards_max());
        Shards { dataset, split, slots, open: Mutex::default(), open_max, keeps_all_starts, checker }
    }

    fn slot(&self, shard: usize) -> Result<&Slot> {
        let beyond = || shards::Error::OutOfShard {
            path: self.dataset.dir().to_owned(),
            place: "a shard number",
            expected: self.slots.len() as u64,
            found: shard as u64,
        };
        Ok(self.slots.get(shard).ok_or_else(beyond)?)
    }

    /// A shard, opened where it is not; the one opened first is closed where too many are.
    fn reader(&self, shard: usize, slot: &Slot) -> Result<Arc<ShardReader>> {
        if let Some(reader) = &*slot.reader.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(reader.clone());
        }
        let mut place = slot.reader.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(reader) = &*place {
            return Ok(reader.clone());
        }
        let reader = Arc::new(self.dataset.shard(self.split, shard)?);
        *place = Some(reader.clone());
        drop(place);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push_back(shard);
        let oldest = if open.len() > self.open_max { open.pop_front() } else { None };
        drop(open);
        if let Some(oldest) = oldest.and_then(|oldest| self.slots.get(oldest)) {
            *oldest.reader.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        Ok(reader)
    }

    fn read_at(&self, shard: usize, token_offset: u64, bytes: &mut [u8]) -> Result<()> {
        let slot = self.slot(shard)?;
        if let Some(checker) = &self.checker {
            checker.wants(shard, &slot.asked)?;
        }
        Ok(self.reader(shard, slot)?.read_at(token_offset, bytes)?)
    }

    fn document_starts(&self, shard: usize, window: Range<u64>, starts: &mut Vec<u64>) -> Result<()> {
        let slot = self.slot(shard)?;
        let reader = self.reader(shard, slot)?;
        let known = match slot.starts.get() {
            Some(known) => known,
            None => {
                let read = Starts::read(&reader, self.keeps_all_starts)?;
                // Another thread may have been faster: the same starts.
                slot.starts.get_or_init(|| read)
            }
        };
        known.inside(&reader, window, starts)
    }
}

impl ShardPool {
    pub(super) fn bare(file: BareFile) -> ShardPool {
        ShardPool(Kind::Bare(file))
    }

    pub(super) fn of_dataset(dataset: &Dataset, split: Split, check: bool) -> ShardPool {
        ShardPool(Kind::Dataset(Box::new(Shards::new(dataset, split, check))))
    }

    /// Fills `bytes` with the tokens of a shard from `token_offset` on.
    pub(super) fn read_at(&self, shard: usize, token_offset: u64, bytes: &mut [u8]) -> Result<()> {
        match &self.0 {
            Kind::Bare(file) => file.read_at(token_offset, bytes),
            Kind::Dataset(shards) => shards.read_at(shard, token_offset, bytes),
        }
    }

    /// Appends the offsets at which documents start inside a window of a shard, ascending.
    pub(super) fn document_starts(&self, shard: usize, window: Range<u64>, starts: &mut Vec<u64>) -> Result<()> {
        let Kind::Dataset(shards) = &self.0 else {
            let problem = "a bare .bin has no index that says where documents start".to_owned();
            return Err(Error::Data { path: self.path(shard), problem });
        };
        shards.document_starts(shard, window, starts)
    }

    /// Path of a shard.
    pub(super) fn path(&self, shard: usize) -> PathBuf {
        match &self.0 {
            Kind::Bare(file) => file.path().to_path_buf(),
            Kind::Dataset(shards) => shard_path(&shards.dataset, shards.split, shard),
        }
    }
}

fn shard_path(dataset: &Dataset, split: Split, shard: usize) -> PathBuf {
    let name = dataset.manifest().splits.get(split).shards.get(shard);
    dataset.dir().join(name.map_or("", String::as_str))
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
    queue: Mutex<Option<Sender<usize>>>,
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
        Checker { queue: Mutex::new(Some(sender)), failed, failure, stop, thread }
    }

    /// Has a shard checked when it is used for the first time, which `asked` tells; reports a shard found wrong.
    fn wants(&self, shard: usize, asked: &AtomicBool) -> Result<()> {
        if self.failed.load(Ordering::Acquire) {
            let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
            return Err(failure.map_or(Error::LoaderGone, Error::Shards));
        }
        if asked.load(Ordering::Relaxed) || asked.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(queue) = &*self.queue.lock().unwrap_or_else(PoisonError::into_inner) {
            // The thread ends early only after a failure, which the next read reports.
            let _ = queue.send(shard);
        }
        Ok(())
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        *self.queue.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has already been printed.
            let _ = thread.join();
        }
    }
}

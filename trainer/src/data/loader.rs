//! Reading batches ahead of the training step.
//!
//! Micro-batch `i` is read by worker `i mod workers`, each with a small bounded channel, and the consumer takes from
//! the workers in turn: the order is fixed, memory is bounded, and nothing of the loader needs to be saved, because
//! the next batch follows from the number of samples consumed.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::{Batch, Windows};
use crate::error::{Error, Result};

/// Batches each worker holds ready.
const READY_PER_WORKER: usize = 2;

/// Micro-batches in sample order.
pub struct Loader {
    receivers: Vec<Receiver<Result<Batch>>>,
    workers: Vec<JoinHandle<()>>,
    next: usize,
}

/// What a worker reads: every `stride`-th batch from `first_sample` on.
struct Job {
    windows: Arc<Windows>,
    sequences: usize,
    first_sample: u64,
    stride: u64,
}

impl Job {
    fn batch(&self, sample: u64, bytes: &mut Vec<u8>, tokens: &mut Vec<u32>) -> Result<Batch> {
        tokens.clear();
        for index in 0..self.sequences as u64 {
            self.windows.read(sample + index, bytes, tokens)?;
        }
        Batch::from_windows(tokens, self.sequences, self.windows.positions())
    }

    fn run(self, sender: SyncSender<Result<Batch>>) {
        let (mut bytes, mut tokens, mut sample) = (Vec::new(), Vec::new(), self.first_sample);
        loop {
            let batch = self.batch(sample, &mut bytes, &mut tokens);
            let failed = batch.is_err();
            // A send fails once the consumer is gone: the normal end.
            if sender.send(batch).is_err() || failed {
                return;
            }
            sample += self.stride * self.sequences as u64;
        }
    }
}

impl Loader {
    /// Batches of `sequences` windows from sample `first_sample` on, read by `workers` threads.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    pub fn new(windows: Arc<Windows>, sequences: usize, first_sample: u64, workers: usize) -> Result<Loader> {
        let workers = workers.clamp(1, 64);
        let mut loader = Loader { receivers: Vec::new(), workers: Vec::new(), next: 0 };
        for worker in 0..workers {
            let (sender, receiver) = sync_channel(READY_PER_WORKER);
            let first_sample = first_sample + (worker * sequences) as u64;
            let job = Job { windows: windows.clone(), sequences, first_sample, stride: workers as u64 };
            let thread = std::thread::Builder::new().name(format!("loader-{worker}"));
            let handle = thread.spawn(move || job.run(sender)).map_err(Error::io("a loader thread".as_ref()))?;
            loader.receivers.push(receiver);
            loader.workers.push(handle);
        }
        Ok(loader)
    }

    /// The next batch.
    ///
    /// # Errors
    /// Where reading it failed.
    pub fn next_batch(&mut self) -> Result<Batch> {
        let Some(receiver) = self.receivers.get(self.next) else { return Err(Error::LoaderGone) };
        let batch = receiver.recv().map_err(|_| Error::LoaderGone)?;
        self.next = (self.next + 1) % self.receivers.len();
        batch
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.receivers.clear();
        for worker in self.workers.drain(..) {
            // A panic of a worker has been seen as a closed channel already.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Source;

    /// Tokens 0, 1, 2, ... so that a batch tells where it was read.
    fn windows(tokens: u16, positions: usize) -> (tempfile::TempDir, Arc<Windows>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.bin");
        std::fs::write(&path, (0..tokens).flat_map(u16::to_le_bytes).collect::<Vec<u8>>()).unwrap();
        let source = Source::open(&path).unwrap();
        let windows = source.train(positions, usize::from(tokens), 1).unwrap();
        (folder, Arc::new(windows))
    }

    fn first_inputs(loader: &mut Loader, batches: usize) -> Vec<u32> {
        (0..batches).flat_map(|_| loader.next_batch().unwrap().inputs.to_vec()).collect()
    }

    #[test]
    fn the_order_is_the_same_for_any_number_of_workers() {
        let (_folder, windows) = windows(1001, 10);
        let one = first_inputs(&mut Loader::new(windows.clone(), 3, 0, 1).unwrap(), 40);
        let four = first_inputs(&mut Loader::new(windows, 3, 0, 4).unwrap(), 40);
        assert_eq!(one, four);
    }

    #[test]
    fn continuing_at_a_sample_gives_what_follows_it() {
        let (_folder, windows) = windows(1001, 10);
        let whole = first_inputs(&mut Loader::new(windows.clone(), 3, 0, 2).unwrap(), 40);
        let rest = first_inputs(&mut Loader::new(windows, 3, 3 * 15, 3).unwrap(), 25);
        assert_eq!(rest, whole[15 * 30..]);
    }

    #[test]
    fn an_epoch_reads_every_window_once_in_another_order_than_the_next() {
        let (_folder, windows) = windows(1001, 10);
        let mut loader = Loader::new(windows, 1, 0, 2).unwrap();
        let starts = |inputs: Vec<u32>| inputs.chunks(10).map(|w| w[0]).collect::<Vec<u32>>();
        let (first, second) = (starts(first_inputs(&mut loader, 100)), starts(first_inputs(&mut loader, 100)));
        assert_ne!(first, second);
        for mut epoch in [first, second] {
            epoch.sort_unstable();
            assert_eq!(epoch, (0..100).map(|i| i * 10).collect::<Vec<u32>>());
        }
    }

    #[test]
    fn an_id_beyond_the_vocabulary_is_reported_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.bin");
        std::fs::write(&path, [1u16, 2, 3, 700, 5].into_iter().flat_map(u16::to_le_bytes).collect::<Vec<u8>>())
            .unwrap();
        let windows = Arc::new(Source::open(&path).unwrap().train(4, 100, 0).unwrap());
        let error = Loader::new(windows, 1, 0, 1).unwrap().next_batch().unwrap_err();
        assert!(matches!(error, Error::TokenId { offset: 3, id: 700, vocab_size: 100, .. }), "{error}");
    }

    #[test]
    fn an_endless_loader_ends_when_dropped() {
        let (_folder, windows) = windows(101, 10);
        drop(Loader::new(windows, 2, 0, 3).unwrap());
    }
}

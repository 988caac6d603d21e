//! Reading batches ahead of the training step.
//!
//! Micro-batch `i` is read by worker `i mod workers`, each with a small bounded channel, and the consumer takes from
//! the workers in turn: the order is fixed, memory is bounded, and nothing of the loader needs to be saved, because
//! the next batch follows from the number of samples consumed. Of every `ranks * sequences` samples a rank reads its
//! own `sequences`, so the samples of a step are the same for any number of ranks at one global batch.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::{Batch, Samples, Scratch};
use crate::error::{Error, Result};

/// Batches each worker holds ready.
const READY_PER_WORKER: usize = 2;

/// Micro-batches in sample order.
pub struct Loader {
    receivers: Vec<Receiver<Result<Batch>>>,
    workers: Vec<JoinHandle<()>>,
    next: usize,
}

/// Which samples a loader reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// First sample of the run's next step, whichever rank reads it.
    pub first_sample: u64,
    /// Sequences a micro-batch.
    pub sequences: usize,
    /// This rank.
    pub rank: usize,
    /// Ranks in all.
    pub ranks: usize,
}

impl Reading {
    /// What one process reads.
    pub fn alone(first_sample: u64, sequences: usize) -> Reading {
        Reading { first_sample, sequences, rank: 0, ranks: 1 }
    }

    /// First sample of this rank's micro-batch `index`.
    fn sample(&self, index: u64) -> u64 {
        self.first_sample + (index * self.ranks as u64 + self.rank as u64) * self.sequences as u64
    }
}

/// What a worker reads: every `stride`-th micro-batch from `next` on.
struct Job {
    samples: Arc<Samples>,
    reading: Reading,
    next: u64,
    stride: u64,
}

impl Job {
    fn run(self, sender: SyncSender<Result<Batch>>) {
        let (mut scratch, mut index) = (Scratch::default(), self.next);
        loop {
            let batch = self.samples.batch(self.reading.sample(index), self.reading.sequences, &mut scratch);
            let failed = batch.is_err();
            // A send fails once the consumer is gone: the normal end.
            if sender.send(batch).is_err() || failed {
                return;
            }
            index += self.stride;
        }
    }
}

impl Loader {
    /// A rank's micro-batches, read by `workers` threads.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    pub fn new(samples: Arc<Samples>, reading: Reading, workers: usize) -> Result<Loader> {
        let workers = workers.clamp(1, 64);
        let mut loader = Loader { receivers: Vec::new(), workers: Vec::new(), next: 0 };
        for worker in 0..workers {
            let (sender, receiver) = sync_channel(READY_PER_WORKER);
            let job = Job { samples: samples.clone(), reading, next: worker as u64, stride: workers as u64 };
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
    use crate::config::Packing;
    use crate::data::Source;

    /// Tokens 0, 1, 2, ... so that a batch tells where it was read.
    fn samples(tokens: u16, positions: usize) -> (tempfile::TempDir, Arc<Samples>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.bin");
        std::fs::write(&path, (0..tokens).flat_map(u16::to_le_bytes).collect::<Vec<u8>>()).unwrap();
        let source = Source::open(&path).unwrap();
        let windows = source.train(positions, usize::from(tokens), 1, Packing::Concatenate).unwrap();
        (folder, Arc::new(Samples::of(windows, false)))
    }

    fn first_inputs(loader: &mut Loader, batches: usize) -> Vec<u32> {
        (0..batches).flat_map(|_| loader.next_batch().unwrap().inputs.to_vec()).collect()
    }

    #[test]
    fn the_order_is_the_same_for_any_number_of_workers() {
        let (_folder, samples) = samples(1001, 10);
        let one = first_inputs(&mut Loader::new(samples.clone(), Reading::alone(0, 3), 1).unwrap(), 40);
        let four = first_inputs(&mut Loader::new(samples, Reading::alone(0, 3), 4).unwrap(), 40);
        assert_eq!(one, four);
    }

    #[test]
    fn continuing_at_a_sample_gives_what_follows_it() {
        let (_folder, samples) = samples(1001, 10);
        let whole = first_inputs(&mut Loader::new(samples.clone(), Reading::alone(0, 3), 2).unwrap(), 40);
        let rest = first_inputs(&mut Loader::new(samples, Reading::alone(3 * 15, 3), 3).unwrap(), 25);
        assert_eq!(rest, whole[15 * 30..]);
    }

    #[test]
    fn a_step_has_the_same_samples_for_any_number_of_ranks() {
        let (_folder, samples) = samples(1001, 10);
        // A global batch of 8: four micro-batches of 2 on one rank, two on each of two, one on each of four.
        let step = |ranks: usize| {
            let of_rank = |rank| {
                let reading = Reading { first_sample: 24, sequences: 2, rank, ranks };
                let mut loader = Loader::new(samples.clone(), reading, 2).unwrap();
                (0..4 / ranks).flat_map(|_| loader.next_batch().unwrap().samples.to_vec()).collect::<Vec<u64>>()
            };
            let mut all: Vec<u64> = (0..ranks).flat_map(of_rank).collect();
            all.sort_unstable();
            all
        };
        assert_eq!([step(1), step(2), step(4)], [1, 2, 4].map(|_| (24..32).collect::<Vec<u64>>()));
    }

    #[test]
    fn an_epoch_reads_every_window_once_in_another_order_than_the_next() {
        let (_folder, samples) = samples(1001, 10);
        let mut loader = Loader::new(samples, Reading::alone(0, 1), 2).unwrap();
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
        let windows = Source::open(&path).unwrap().train(4, 100, 0, Packing::Concatenate).unwrap();
        let samples = Arc::new(Samples::of(windows, false));
        let error = Loader::new(samples, Reading::alone(0, 1), 1).unwrap().next_batch().unwrap_err();
        assert!(matches!(error, Error::TokenId { offset: 3, id: 700, vocab_size: 100, .. }), "{error}");
    }

    #[test]
    fn an_endless_loader_ends_when_dropped() {
        let (_folder, samples) = samples(101, 10);
        drop(Loader::new(samples, Reading::alone(0, 2), 3).unwrap());
    }
}

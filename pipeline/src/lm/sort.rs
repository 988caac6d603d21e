//! Sorting more n-grams than memory holds: sorted runs in the work folder, merged while they are read.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use rayon::slice::ParallelSliceMut;

use super::gram::{By, Gram, ORDER_MAX};
use crate::error::Error;

/// Most runs that are merged at once; where there are more, groups of them become longer runs first.
const FAN_IN: usize = 64;
const GRAM_BYTES: usize = std::mem::size_of::<Gram>();

/// How much memory sorting may take, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// What is collected before it becomes a run.
    pub buffer: usize,
    /// What may stay in memory when all is there.
    pub kept: usize,
    /// Buffers of the files that are merged.
    pub merge: usize,
}

/// Takes n-grams in any order.
#[derive(Debug)]
pub(super) struct Sorter {
    stem: PathBuf,
    /// Words of an n-gram in a run.
    width: usize,
    by: By,
    /// Whether the values of equal n-grams are added.
    adds: bool,
    room: Room,
    capacity: usize,
    buffer: Vec<Gram>,
    runs: Vec<PathBuf>,
    made: usize,
}

impl Sorter {
    /// `stem` is what the names of runs begin with.
    pub fn new(stem: PathBuf, width: usize, by: By, adds: bool, room: Room) -> Sorter {
        let capacity = (room.buffer / GRAM_BYTES).max(1024);
        Sorter {
            stem,
            width,
            by,
            adds,
            room,
            capacity,
            buffer: Vec::with_capacity(capacity),
            runs: Vec::new(),
            made: 0,
        }
    }

    /// # Errors
    /// [`Error::Io`] where a run cannot be written.
    pub fn push(&mut self, gram: Gram) -> Result<(), Error> {
        if self.buffer.len() == self.capacity {
            self.sort();
            // Where most n-grams are known already, adding them up makes room enough.
            if self.buffer.len() > self.capacity / 2 {
                self.spill()?;
            }
        }
        self.buffer.push(gram);
        Ok(())
    }

    fn sort(&mut self) {
        let by = self.by;
        self.buffer.par_sort_unstable_by(|a, b| by.compare(a, b));
        if self.adds {
            self.buffer.dedup_by(|next, kept| {
                let equal = next.words == kept.words;
                kept.value += if equal { next.value } else { 0 };
                equal
            });
        }
    }

    fn next_path(&mut self) -> PathBuf {
        self.made += 1;
        let mut name = self.stem.clone().into_os_string();
        name.push(format!("-{:05}", self.made));
        PathBuf::from(name)
    }

    fn spill(&mut self) -> Result<(), Error> {
        let path = self.next_path();
        let mut run = RunWriter::create(&path, self.width)?;
        self.buffer.iter().try_for_each(|gram| run.write(gram))?;
        run.finish()?;
        self.runs.push(path);
        self.buffer.clear();
        Ok(())
    }

    /// What was taken, sorted.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(mut self) -> Result<Sorted, Error> {
        self.sort();
        let stays = self.runs.is_empty() && self.buffer.len() * GRAM_BYTES <= self.room.kept;
        if !stays && !self.buffer.is_empty() {
            self.spill()?;
        }
        let grams = std::mem::take(&mut self.buffer);
        let grams = if stays { grams.into_boxed_slice() } else { Box::default() };
        while self.runs.len() > FAN_IN {
            let rest = self.runs.split_off(FAN_IN);
            let group = std::mem::replace(&mut self.runs, rest);
            let path = self.next_path();
            let group = self.sorted(Box::default(), group);
            let mut run = RunWriter::create(&path, self.width)?;
            let mut stream = group.stream()?;
            while let Some(gram) = stream.next()? {
                run.write(&gram)?;
            }
            run.finish()?;
            self.runs.push(path);
        }
        let runs = std::mem::take(&mut self.runs);
        Ok(self.sorted(grams, runs))
    }

    fn sorted(&self, grams: Box<[Gram]>, runs: Vec<PathBuf>) -> Sorted {
        Sorted { grams, runs, width: self.width, by: self.by, adds: self.adds, merge: self.room.merge }
    }
}

/// Sorted n-grams, in memory or in runs, which are deleted with it.
#[derive(Debug)]
pub(super) struct Sorted {
    grams: Box<[Gram]>,
    runs: Vec<PathBuf>,
    width: usize,
    by: By,
    adds: bool,
    merge: usize,
}

impl Drop for Sorted {
    fn drop(&mut self) {
        // The whole work folder goes at the end; this only frees the disk earlier.
        self.runs.iter().for_each(|run| drop(std::fs::remove_file(run)));
    }
}

impl Sorted {
    /// Reads from the start; any number of times.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn stream(&self) -> Result<Stream<'_>, Error> {
        let mut stream = Stream {
            grams: self.grams.iter(),
            heap: BinaryHeap::new(),
            runs: Vec::new(),
            adds: self.adds,
            by: self.by,
        };
        let buffer = (self.merge / self.runs.len().max(1)).clamp(4 << 10, 256 << 10);
        for path in &self.runs {
            stream.runs.push(RunReader::open(path, self.width, buffer)?);
        }
        for run in 0..stream.runs.len() {
            stream.refill(run)?;
        }
        Ok(stream)
    }
}

/// Sorted n-grams, one after another.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    grams: std::slice::Iter<'a, Gram>,
    heap: BinaryHeap<Head>,
    runs: Vec<RunReader>,
    adds: bool,
    by: By,
}

impl Stream<'_> {
    /// # Errors
    /// [`Error::Io`].
    pub fn next(&mut self) -> Result<Option<Gram>, Error> {
        if self.runs.is_empty() {
            return Ok(self.grams.next().copied());
        }
        let Some(mut gram) = self.pop()? else { return Ok(None) };
        while self.adds && self.heap.peek().is_some_and(|head| head.gram.words == gram.words) {
            gram.value += self.pop()?.map_or(0, |gram| gram.value);
        }
        Ok(Some(gram))
    }

    fn pop(&mut self) -> Result<Option<Gram>, Error> {
        let Some(Head { gram, run, .. }) = self.heap.pop() else { return Ok(None) };
        self.refill(run)?;
        Ok(Some(gram))
    }

    fn refill(&mut self, run: usize) -> Result<(), Error> {
        let next = self.runs.get_mut(run).map(RunReader::read).transpose()?.flatten();
        self.heap.extend(next.map(|gram| Head { gram, run, by: self.by }));
        Ok(())
    }
}

/// The next n-gram of a run; the first in sorting order is the greatest in the heap.
#[derive(Debug)]
struct Head {
    gram: Gram,
    run: usize,
    by: By,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        self.by.compare(&other.gram, &self.gram).then(other.run.cmp(&self.run))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

/// Writes n-grams one after another: `width` words and the value, little-endian.
#[derive(Debug)]
pub(super) struct RunWriter {
    path: PathBuf,
    width: usize,
    writer: BufWriter<File>,
}

impl RunWriter {
    pub fn create(path: &Path, width: usize) -> Result<RunWriter, Error> {
        let file = File::create(path).map_err(|error| Error::io("create", path, error))?;
        Ok(RunWriter { path: path.to_owned(), width, writer: BufWriter::with_capacity(128 << 10, file) })
    }

    pub fn write(&mut self, gram: &Gram) -> Result<(), Error> {
        let mut record = [0; ORDER_MAX * 4 + 8];
        let (words, rest) = record.as_chunks_mut::<4>();
        words.iter_mut().zip(&gram.words).for_each(|(bytes, word)| *bytes = word.to_le_bytes());
        debug_assert!(rest.is_empty(), "a record is words of 32 bits");
        let value = self.width * 4;
        if let Some(bytes) = record.get_mut(value..value + 8) {
            bytes.copy_from_slice(&gram.value.to_le_bytes());
        }
        let record = record.get(..value + 8).unwrap_or_default();
        self.writer.write_all(record).map_err(|error| Error::io("write", &self.path, error))
    }

    pub fn finish(mut self) -> Result<(), Error> {
        self.writer.flush().map_err(|error| Error::io("write", &self.path, error))
    }
}

/// Reads what a [`RunWriter`] wrote.
#[derive(Debug)]
pub(super) struct RunReader {
    path: PathBuf,
    width: usize,
    left: u64,
    reader: BufReader<File>,
}

impl RunReader {
    pub fn open(path: &Path, width: usize, buffer: usize) -> Result<RunReader, Error> {
        let open = || {
            let file = File::open(path)?;
            Ok((file.metadata()?.len(), file))
        };
        let (bytes, file) = open().map_err(|error| Error::io("read", path, error))?;
        let left = bytes / (width as u64 * 4 + 8);
        Ok(RunReader { path: path.to_owned(), width, left, reader: BufReader::with_capacity(buffer, file) })
    }

    pub fn read(&mut self) -> Result<Option<Gram>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let mut record = [0; ORDER_MAX * 4 + 8];
        let bytes = record.get_mut(..self.width * 4 + 8).unwrap_or_default();
        self.reader.read_exact(bytes).map_err(|error| Error::io("read", &self.path, error))?;
        let mut gram = Gram::default();
        let (words, value) = bytes.split_at(self.width * 4);
        gram.words.iter_mut().zip(words.as_chunks().0).for_each(|(word, bytes)| *word = u32::from_le_bytes(*bytes));
        gram.value = value.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Ok(Some(gram))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(by: By, adds: bool, buffer: usize, grams: &[Gram]) -> Vec<Gram> {
        let folder = tempfile::tempdir().unwrap();
        let room = Room { buffer, kept: buffer / 2, merge: 1 << 16 };
        let mut sorter = Sorter::new(folder.path().join("run"), 3, by, adds, room);
        grams.iter().for_each(|gram| sorter.push(*gram).unwrap());
        let sorted = sorter.finish().unwrap();
        let mut stream = sorted.stream().unwrap();
        std::iter::from_fn(|| stream.next().unwrap()).collect()
    }

    /// Enough n-grams for more runs of 1,024 than are merged at once.
    fn grams() -> Vec<Gram> {
        let gram = |index: u64| {
            let mixed = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let word = |shift: u32| (mixed >> shift) as u32 % 50;
            Gram { words: [word(20), word(30), word(40), 0, 0, 0], value: 1 }
        };
        (0..100_000).map(gram).collect()
    }

    #[test]
    fn runs_and_memory_give_the_same_order_and_sums() {
        let mut expected = std::collections::BTreeMap::new();
        grams().iter().for_each(|gram| *expected.entry(gram.words).or_insert(0) += 1);
        let expected: Vec<Gram> = expected.into_iter().map(|(words, value)| Gram { words, value }).collect();
        assert!(expected.len() > 50_000);
        for buffer in [0, 1 << 20, 1 << 24] {
            assert_eq!(sorted(By::Suffix, true, buffer, &grams()), expected);
        }
    }

    #[test]
    fn by_context_the_newest_word_comes_last() {
        let of = |words: [u32; 3]| Gram { words: [words[0], words[1], words[2], 0, 0, 0], value: 0 };
        let grams = [of([9, 1, 2]), of([1, 2, 1]), of([2, 1, 2]), of([5, 1, 1])];
        let expected = [of([5, 1, 1]), of([2, 1, 2]), of([9, 1, 2]), of([1, 2, 1])];
        assert_eq!(sorted(By::Context, false, 1 << 20, &grams), expected);
    }
}

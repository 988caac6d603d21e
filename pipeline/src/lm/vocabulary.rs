//! The words of a corpus: numbered as they come, then by their hashes, as KenLM's tries have them.
//!
//! In memory there are hashes alone; the words lie in files, one for each range of hashes.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::spill::wire::{Cursor, put_bytes, put_u32, put_u64};

/// Ranges of hashes.
const RANGES: usize = 64;

/// Numbers words as they come.
#[derive(Debug)]
pub(super) struct Vocabulary {
    numbers: HashMap<u64, u32, BuildHasherDefault<Known>>,
    ranges: Vec<(PathBuf, BufWriter<File>)>,
    words_max: usize,
    memory: usize,
    record: Vec<u8>,
}

impl Vocabulary {
    /// `memory` is what the table of hashes may take, in bytes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(folder: &Path, memory: usize) -> Result<Vocabulary, Error> {
        let range = |index: usize| {
            let path = folder.join(format!("words-{index:02}"));
            let file = File::create(&path).map_err(|error| Error::io("create", &path, error))?;
            Ok((path, BufWriter::with_capacity(16 << 10, file)))
        };
        let ranges = (0..RANGES).map(range).collect::<Result<_, Error>>()?;
        Ok(Vocabulary { numbers: HashMap::default(), ranges, words_max: words_max(memory), memory, record: Vec::new() })
    }

    /// The number of a word, from 0 in the order of their coming.
    ///
    /// # Errors
    /// [`Error::Usage`] where there are more words than memory holds; [`Error::Io`].
    pub fn number(&mut self, hash: u64, word: &[u8]) -> Result<u32, Error> {
        if let Some(number) = self.numbers.get(&hash) {
            return Ok(*number);
        }
        if self.numbers.len() == self.words_max {
            let detail =
                format!("{} MiB hold {} different words, the corpus has more", self.memory >> 20, self.words_max);
            let hint = "give more memory, or smaller words: --words characters";
            return Err(Error::usage("--memory", detail, hint));
        }
        let number = self.numbers.len() as u32;
        self.numbers.insert(hash, number);
        self.record.clear();
        put_u64(&mut self.record, hash);
        put_u32(&mut self.record, number);
        put_bytes(&mut self.record, word);
        if let Some((path, writer)) = self.ranges.get_mut(range_of(hash)) {
            writer.write_all(&self.record).map_err(|error| Error::io("write", path, error))?;
        }
        Ok(number)
    }

    /// How many words there are.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Numbers the words anew, from 1 in the order of their hashes, and lays them out in this order.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(self, folder: &Path) -> Result<Words, Error> {
        let mut words = Words {
            renumbered: vec![0; self.numbers.len()],
            hashes: folder.join("hashes"),
            strings: folder.join("strings"),
        };
        drop(self.numbers);
        let create = |path: &Path| {
            let file = File::create(path).map_err(|error| Error::io("create", path, error))?;
            Ok::<_, Error>(BufWriter::new(file))
        };
        let (mut hashes, mut strings) = (create(&words.hashes)?, create(&words.strings)?);
        let mut next = 0;
        for (path, mut writer) in self.ranges {
            writer.flush().map_err(|error| Error::io("write", &path, error))?;
            let bytes = std::fs::read(&path).map_err(|error| Error::io("read", &path, error))?;
            let mut range = parse(&bytes);
            range.sort_unstable();
            for (hash, number, word) in range {
                next += 1;
                if let Some(renumbered) = words.renumbered.get_mut(number as usize) {
                    *renumbered = next;
                }
                hashes.write_all(&hash.to_le_bytes()).map_err(|error| Error::io("write", &words.hashes, error))?;
                let written = strings.write_all(word).and_then(|()| strings.write_all(&[0]));
                written.map_err(|error| Error::io("write", &words.strings, error))?;
            }
            drop(std::fs::remove_file(&path));
        }
        hashes.flush().map_err(|error| Error::io("write", &words.hashes, error))?;
        strings.flush().map_err(|error| Error::io("write", &words.strings, error))?;
        Ok(words)
    }
}

/// Words numbered by their hashes.
#[derive(Debug)]
pub(super) struct Words {
    /// The new number of each old one.
    pub renumbered: Vec<u32>,
    /// File of the hashes, 64 bits each, ascending.
    pub hashes: PathBuf,
    /// File of the words in this order, a zero after each.
    pub strings: PathBuf,
}

/// A table doubles when it is full to seven eighths; then the old one and the new one stand beside each other.
fn words_max(memory: usize) -> usize {
    const SLOT_BYTES: usize = 17;
    let slots = (memory / (SLOT_BYTES * 3 / 2)).max(1 << 10);
    (1 << slots.ilog2()) / 8 * 7
}

/// The first bits of a hash are its range, so ranges follow each other as hashes do.
fn range_of(hash: u64) -> usize {
    (hash >> (u64::BITS - RANGES.ilog2())) as usize
}

/// (hash, number, word)
fn parse(bytes: &[u8]) -> Vec<(u64, u32, &[u8])> {
    let mut cursor = Cursor::new(bytes);
    std::iter::from_fn(|| Some((cursor.u64()?, cursor.u32()?, cursor.bytes()?))).collect()
}

/// The keys are hashes already.
#[derive(Debug, Default)]
struct Known(u64);

impl Hasher for Known {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

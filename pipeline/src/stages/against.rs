//! The against stage: match keys of earlier datasets become those of chunks that follow the run's own.
//!
//! One task a file of an earlier dataset's `keys/`, whose checksum is looked at first. Its documents are better than every
//! document of the run (priority 0), so whatever they meet goes for them, and the dedup stages hardly know of them.
//! Files: `RANK.keys` and `RANK.bands` as a chunk has them, and in frames of 256 documents `RANK.names` and
//! `RANK.sketches`, which are looked into by document. The chunk of file f is the number of own chunks plus f.

use std::path::PathBuf;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use super::read::no_such_rank;
use super::signatures::BandKeys;
use crate::against::KeysFile;
use crate::dedup::settings::Near;
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::look::cell;
use crate::look::rows::RowFile;
use crate::spill::bandkeys::BandKey;
use crate::spill::frame::{FrameReader, FrameWriter};
use crate::spill::keys::{self, Key};
use crate::spill::losers::chunk_and_row;
use crate::spill::wire::{Cursor, put_bytes, put_u64};

/// Name of the stage.
pub const NAME: &str = "against";

const FRAME_DOCUMENTS: usize = 256;
const NONE: u64 = u64::MAX;

/// The against stage.
pub struct AgainstStage;

/// What an against task says of itself.
#[derive(Debug, Default, Serialize, Deserialize)]
struct AgainstDone {
    /// Offset of each frame of names.
    names: Vec<u64>,
    /// Offset of each frame of sketches.
    sketches: Vec<u64>,
}

impl Stage for AgainstStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ranks(&self, run: &Run) -> Result<usize, Error> {
        Ok(count(run))
    }

    fn task_bytes(&self, _run: &Run) -> u64 {
        32 << 20
    }

    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error> {
        let Some((_, file)) = files(run).nth(rank) else { return Err(no_such_rank(NAME, rank, count(run))) };
        check_hash(file)?;
        let mut writer = Writer::new(run, rank)?;
        for batch in RowFile::open(&file.path)?.stream(None)? {
            run.interrupt.check()?;
            let batch = batch?;
            (0..batch.num_rows()).try_for_each(|row| writer.push(file, &batch, row))?;
        }
        writer.finish(file)
    }
}

fn check_hash(file: &KeysFile) -> Result<(), Error> {
    let found = shards::commit::hash_file(&file.path)?.sha256;
    if found == file.sha256 {
        return Ok(());
    }
    let (path, expected) = (file.path.clone(), file.sha256.clone());
    Err(shards::Error::FileHash { path, expected, found }.into())
}

/// The files of all earlier datasets, each with the position of its dataset.
pub(super) fn files(run: &Run) -> impl Iterator<Item = (usize, &KeysFile)> {
    run.plan
        .against
        .iter()
        .enumerate()
        .flat_map(|(dataset, earlier)| earlier.files.iter().map(move |file| (dataset, file)))
}

/// How many files there are.
pub(super) fn count(run: &Run) -> usize {
    files(run).count()
}

/// Documents of all files.
pub(super) fn documents(run: &Run) -> u64 {
    files(run).map(|(_, file)| file.documents).sum()
}

/// The file a document is of; None where it is the run's own.
pub(super) fn file_of(run: &Run, number: u64) -> Result<Option<usize>, Error> {
    Ok((chunk_and_row(number).0 as usize).checked_sub(run.layout()?.chunks.len()))
}

/// The exact keys of a file.
pub(super) fn keys_file(run: &Run, file: usize) -> PathBuf {
    run.task_file(NAME, file, "keys")
}

/// The band keys of a file.
pub(super) fn bands_file(run: &Run, file: usize) -> PathBuf {
    run.task_file(NAME, file, "bands")
}

/// Writes the task files of one file.
struct Writer<'a> {
    run: &'a Run,
    rank: usize,
    near: Option<Near>,
    keys: Vec<Key>,
    bands: BandKeys<'a>,
    names: Frames,
    sketches: Frames,
}

impl<'a> Writer<'a> {
    fn new(run: &'a Run, rank: usize) -> Result<Self, Error> {
        Ok(Writer {
            run,
            rank,
            near: run.dedup.near,
            keys: Vec::new(),
            bands: BandKeys::new(run, NAME, rank),
            names: Frames::create(run.task_file(NAME, rank, "names"))?,
            sketches: Frames::create(run.task_file(NAME, rank, "sketches"))?,
        })
    }

    fn push(&mut self, file: &KeysFile, batch: &RecordBatch, at: usize) -> Result<(), Error> {
        let row = self.keys.len() as u32;
        let unexpected = |column: &str, expected| column_error(file, column, expected);
        let hash = cell::binary(batch, at, "hash").and_then(|hash| hash.try_into().ok());
        let Some(hash) = hash else { return Err(unexpected("hash", "16 bytes")) };
        self.keys.push(Key { hash: u128::from_be_bytes(hash), priority: 0, row, place: 0 });
        let Some(doc_id) = cell::text(batch, at, "doc_id") else { return Err(unexpected("doc_id", "a string")) };
        let Some(source) = cell::text(batch, at, "source") else { return Err(unexpected("source", "a string")) };
        let Some(line) = cell::integer(batch, at, "line") else { return Err(unexpected("line", "an integer")) };
        self.names.push(|out| {
            put_bytes(out, doc_id.as_bytes());
            put_bytes(out, source.as_bytes());
            put_u64(out, line as u64);
            put_u64(out, cell::integer(batch, at, "byte_offset").map_or(NONE, |offset| offset as u64));
        })?;
        let Some(near) = self.near else { return Ok(()) };
        let signature = cell::binary(batch, at, "signature");
        if let Some(found) = signature {
            if found.len() != near.bands.values() * 2 {
                return Err(unexpected("signature", "two bytes a value"));
            }
            let values = widened(found);
            self.bands.push(near.bands.keys(&values).map(|hash| BandKey { hash, row, priority: 0 }))?;
        }
        self.sketches.push(|out| put_bytes(out, signature.unwrap_or_default()))
    }

    fn finish(mut self, file: &KeysFile) -> Result<(), Error> {
        if self.keys.len() as u64 != file.documents {
            return Err(Error::Inconsistent {
                what: format!("documents of {}", file.path.display()),
                expected: file.documents.to_string(),
                found: self.keys.len().to_string(),
            });
        }
        keys::write(&keys_file(self.run, self.rank), &mut self.keys)?;
        if self.near.is_some() {
            self.bands.finish(&bands_file(self.run, self.rank))?;
        }
        let done = AgainstDone { names: self.names.finish()?, sketches: self.sketches.finish()? };
        self.run.mark_done(NAME, self.rank, &done)
    }
}

fn column_error(file: &KeysFile, column: &str, expected: &'static str) -> Error {
    let (path, column, found) = (file.path.clone(), column.to_owned(), "another value".to_owned());
    crate::look::Error::Column { path, column, expected, found }.into()
}

/// A signature as [`crate::dedup::bands::Bands::keys`] takes it.
fn widened(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks::<2>().0.iter().map(|value| u32::from(u16::from_le_bytes(*value))).collect()
}

/// A file of frames, each of the same number of records.
struct Frames {
    writer: FrameWriter,
    payload: Vec<u8>,
    records: usize,
    offsets: Vec<u64>,
}

impl Frames {
    fn create(path: PathBuf) -> Result<Self, Error> {
        Ok(Frames { writer: FrameWriter::create(&path)?, payload: Vec::new(), records: 0, offsets: Vec::new() })
    }

    fn push(&mut self, record: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
        record(&mut self.payload);
        self.records += 1;
        if self.records == FRAME_DOCUMENTS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.records > 0 {
            self.offsets.push(self.writer.push(&self.payload)?);
            self.payload.clear();
            self.records = 0;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<u64>, Error> {
        self.flush()?;
        self.writer.finish()?;
        Ok(self.offsets)
    }
}

/// A document of an earlier dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// Position of its dataset.
    pub dataset: usize,
    /// Its id there.
    pub doc_id: String,
    /// Its input there.
    pub source: String,
    /// Its line there, from 1.
    pub line: u64,
    /// Its offset there.
    pub byte_offset: Option<u64>,
}

/// Looks documents of earlier datasets up. Those asked for in order cost one read of their frames.
pub(super) struct Lookup<'a> {
    run: &'a Run,
    kind: &'static str,
    file: Option<(usize, AgainstDone, FrameReader)>,
    frame: Option<(usize, Vec<u8>)>,
}

impl<'a> Lookup<'a> {
    /// Of names.
    pub(super) fn names(run: &'a Run) -> Self {
        Lookup { run, kind: "names", file: None, frame: None }
    }

    /// Of signatures.
    pub(super) fn sketches(run: &'a Run) -> Self {
        Lookup { run, kind: "sketches", file: None, frame: None }
    }

    /// The name of a document.
    pub(super) fn name(&mut self, file: usize, row: u32) -> Result<Name, Error> {
        let dataset = files(self.run).nth(file).map_or(0, |(dataset, _)| dataset);
        let (payload, at) = self.frame(file, row)?;
        let mut cursor = Cursor::new(payload);
        let mut record = || Some((cursor.string()?, cursor.string()?, cursor.u64()?, cursor.u64()?));
        let named = (0..=at).map(|_| record()).last().flatten();
        let (doc_id, source, line, offset) = named.ok_or_else(|| self.undecodable(file))?;
        Ok(Name { dataset, doc_id, source, line, byte_offset: Some(offset).filter(|offset| *offset != NONE) })
    }

    /// The values of a document's signature; none where it has no shingle.
    pub(super) fn sketch(&mut self, file: usize, row: u32) -> Result<Vec<u32>, Error> {
        let (payload, at) = self.frame(file, row)?;
        let mut cursor = Cursor::new(payload);
        let found = (0..=at).map(|_| cursor.bytes()).last().flatten().map(widened);
        found.ok_or_else(|| self.undecodable(file))
    }

    /// The frame that holds a document, and its place there.
    fn frame(&mut self, file: usize, row: u32) -> Result<(&[u8], usize), Error> {
        if self.file.as_ref().is_none_or(|(open, ..)| *open != file) {
            let reader = FrameReader::open(&self.run.task_file(NAME, file, self.kind))?;
            self.file = Some((file, self.run.marker(NAME, file)?, reader));
            self.frame = None;
        }
        let (number, at) = (row as usize / FRAME_DOCUMENTS, row as usize % FRAME_DOCUMENTS);
        if self.frame.as_ref().is_none_or(|(held, _)| *held != number)
            && let Some((_, done, reader)) = &mut self.file
        {
            let offsets = if self.kind == "names" { &done.names } else { &done.sketches };
            let offset = offsets.get(number).copied().ok_or_else(|| reader.undecodable())?;
            reader.seek(offset)?;
            let payload = reader.next_frame()?.ok_or_else(|| reader.undecodable())?;
            self.frame = Some((number, payload));
        }
        Ok((self.frame.as_ref().map_or(&[][..], |(_, payload)| payload), at))
    }

    fn undecodable(&self, file: usize) -> Error {
        let path = self.run.task_file(NAME, file, self.kind);
        let (expected, found) = ("a record".to_owned(), "other bytes".to_owned());
        Error::TaskFile { path, offset: 0, expected, found }
    }
}

//! Frames: `u32 length, u32 checksum, payload`, little-endian; an empty frame ends the file.
//!
//! The checksum is the low half of xxh3-64, so a torn, short or flipped file is found at the frame where it happens.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use crate::error::Error;

const HEADER_BYTES: u64 = 8;
const PAYLOAD_BYTES_MAX: u32 = 1 << 30;

/// Writes a task file under a temporary name; [`FrameWriter::finish`] gives it its final one.
pub struct FrameWriter {
    file: BufWriter<File>,
    temporary: PathBuf,
    path: PathBuf,
    offset: u64,
    finished: bool,
}

fn checksum<P: AsRef<[u8]>>(pieces: &[P]) -> u32 {
    if let [whole] = pieces {
        return xxh3_64(whole.as_ref()) as u32;
    }
    let mut hasher = Xxh3Default::new();
    pieces.iter().for_each(|piece| hasher.update(piece.as_ref()));
    hasher.digest() as u32
}

/// A name beside `path` that no other attempt uses. Two attempts of one task may run at once, on nodes or in containers
/// that number their processes alike.
pub fn attempt_name(path: &Path) -> PathBuf {
    static ATTEMPT: AtomicU64 = AtomicU64::new(0);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let count = ATTEMPT.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}-{nanos:x}-{count}.tmp", std::process::id()));
    path.with_file_name(name)
}

impl FrameWriter {
    /// Starts a file.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be created.
    pub fn create(path: &Path) -> Result<FrameWriter, Error> {
        let temporary = attempt_name(path);
        let file = File::create(&temporary).map_err(|error| Error::io("create", &temporary, error))?;
        // Frames are written whole, so a small buffer joins the 8-byte headers to them and no more.
        let file = BufWriter::with_capacity(64 << 10, file);
        Ok(FrameWriter { file, temporary, path: path.to_owned(), offset: 0, finished: false })
    }

    /// Offset at which the next frame starts.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Appends a frame and returns its offset. An empty payload is not written.
    ///
    /// # Errors
    /// [`Error::Io`] where the disk refuses.
    pub fn push(&mut self, payload: &[u8]) -> Result<u64, Error> {
        self.push_pieces(&[payload])
    }

    /// As [`FrameWriter::push`], of a payload whose pieces lie apart.
    ///
    /// # Errors
    /// [`Error::Io`] where the disk refuses.
    pub fn push_pieces<P: AsRef<[u8]>>(&mut self, pieces: &[P]) -> Result<u64, Error> {
        let start = self.offset;
        if pieces.iter().any(|piece| !piece.as_ref().is_empty()) {
            self.write(pieces)?;
        }
        Ok(start)
    }

    fn write<P: AsRef<[u8]>>(&mut self, pieces: &[P]) -> Result<(), Error> {
        let payload_bytes: usize = pieces.iter().map(|piece| piece.as_ref().len()).sum();
        let length = u32::try_from(payload_bytes).unwrap_or(u32::MAX);
        if length > PAYLOAD_BYTES_MAX {
            return Err(Error::Inconsistent {
                what: format!("frame of {}", self.path.display()),
                expected: format!("at most {PAYLOAD_BYTES_MAX} bytes"),
                found: payload_bytes.to_string(),
            });
        }
        let mut header = [0; HEADER_BYTES as usize];
        header[..4].copy_from_slice(&length.to_le_bytes());
        header[4..].copy_from_slice(&checksum(pieces).to_le_bytes());
        self.file
            .write_all(&header)
            .and_then(|()| pieces.iter().try_for_each(|piece| self.file.write_all(piece.as_ref())))
            .map_err(|error| Error::io("write", &self.path, error))?;
        self.offset += HEADER_BYTES + payload_bytes as u64;
        Ok(())
    }

    /// Ends the file and gives it its final name. Returns its size in bytes.
    ///
    /// # Errors
    /// [`Error::Io`] where the disk refuses.
    pub fn finish(mut self) -> Result<u64, Error> {
        self.write::<&[u8]>(&[])?;
        self.file.flush().map_err(|error| Error::io("write", &self.path, error))?;
        std::fs::rename(&self.temporary, &self.path).map_err(|error| Error::io("rename", &self.path, error))?;
        self.finished = true;
        Ok(self.offset)
    }
}

impl Drop for FrameWriter {
    fn drop(&mut self) {
        if !self.finished {
            // Best effort: a left temporary file is garbage that the next commit clears.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Reads a task file frame by frame.
pub struct FrameReader {
    file: BufReader<File>,
    path: PathBuf,
    offset: u64,
    ended: bool,
}

impl FrameReader {
    /// Opens a file at its beginning.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be opened.
    pub fn open(path: &Path) -> Result<FrameReader, Error> {
        FrameReader::open_buffered(path, 64 << 10)
    }

    /// Opens a file of which little is read, at many places: a small buffer reads less in vain.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be opened.
    pub fn open_buffered(path: &Path, buffer_bytes: usize) -> Result<FrameReader, Error> {
        let file = File::open(path).map_err(|error| Error::io("open", path, error))?;
        Ok(FrameReader {
            file: BufReader::with_capacity(buffer_bytes, file),
            path: path.to_owned(),
            offset: 0,
            ended: false,
        })
    }

    /// Offset of the next frame.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes to a frame by its offset.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be positioned.
    pub fn seek(&mut self, offset: u64) -> Result<(), Error> {
        self.file.seek(SeekFrom::Start(offset)).map_err(|error| Error::io("seek", &self.path, error))?;
        self.offset = offset;
        self.ended = false;
        Ok(())
    }

    fn damaged(&self, expected: &str, found: String) -> Error {
        Error::TaskFile { path: self.path.clone(), offset: self.offset, expected: expected.to_owned(), found }
    }

    /// The next frame, or None at the end.
    ///
    /// # Errors
    /// [`Error::TaskFile`] where the file is short or its bytes are not those that were written.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if self.ended {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES as usize];
        self.fill(&mut header)?;
        let [a, b, c, d, e, f, g, h] = header;
        let (length, checksum) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        if length > PAYLOAD_BYTES_MAX {
            return Err(self.damaged("a frame length", length.to_string()));
        }
        let mut payload = vec![0; length as usize];
        self.fill(&mut payload)?;
        if self::checksum(&[&payload]) != checksum {
            return Err(self.damaged("bytes with the frame's checksum", "other bytes".to_owned()));
        }
        self.offset += HEADER_BYTES + u64::from(length);
        self.ended = length == 0;
        Ok((length > 0).then_some(payload))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        match self.file.read_exact(bytes) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(self.damaged("a whole frame", "end of file".to_owned()))
            }
            Err(error) => Err(Error::io("read", &self.path, error)),
        }
    }

    /// The error for a frame whose payload does not decode.
    pub fn undecodable(&self) -> Error {
        self.damaged("a decodable frame", "other bytes".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(frames: &[&[u8]]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("frames");
        let mut writer = FrameWriter::create(&path).unwrap();
        frames.iter().for_each(|frame| {
            writer.push(frame).unwrap();
        });
        writer.finish().unwrap();
        (folder, path)
    }

    #[test]
    fn frames_come_back_in_order() {
        let (_folder, path) = written(&[b"one", b"two"]);
        let mut reader = FrameReader::open(&path).unwrap();
        assert_eq!(reader.next_frame().unwrap().unwrap(), b"one");
        assert_eq!(reader.next_frame().unwrap().unwrap(), b"two");
        assert!(reader.next_frame().unwrap().is_none());
        assert!(reader.next_frame().unwrap().is_none(), "the end stays the end");
    }

    #[test]
    fn a_file_cut_short_is_found() {
        let (_folder, path) = written(&[b"one", b"two"]);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
        let mut reader = FrameReader::open(&path).unwrap();
        reader.next_frame().unwrap();
        assert!(matches!(reader.next_frame(), Err(Error::TaskFile { offset: 11, .. })));
    }

    #[test]
    fn a_flipped_bit_is_found() {
        let (_folder, path) = written(&[b"one"]);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[9] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(FrameReader::open(&path).unwrap().next_frame(), Err(Error::TaskFile { offset: 0, .. })));
    }

    #[test]
    fn an_unfinished_file_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        drop(FrameWriter::create(&folder.path().join("frames")).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

//! The commit protocol of one file: write under a temporary name, fsync, rename, fsync the folder.
//!
//! A file under its final name is therefore complete. The temporary name is unique to the attempt, because two
//! attempts of one task may run at once, on two machines; whichever renames last wins, with the same bytes. The
//! sha256 is computed of the bytes on their way to the file, so no second reading is needed.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::error::Error;

/// Stands in the name of every file that is not committed: `train-00000.bin.tmp-1a2b-...`.
pub const TEMP_MARK: &str = ".tmp-";

/// Bytes gathered before a write: few system calls, and runs long enough for the hash.
const BUFFER_BYTES: usize = 256 << 10;

/// Size and checksum of a committed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDigest {
    /// Size in bytes.
    pub bytes: u64,
    /// sha256, hexadecimal, lower case.
    pub sha256: String,
}

/// A file being written; it appears under its final name at [`AtomicFile::commit`], or never.
#[derive(Debug)]
pub struct AtomicFile {
    final_path: PathBuf,
    temporary_path: PathBuf,
    writer: Option<BufWriter<HashingFile>>,
}

impl AtomicFile {
    /// Opens a temporary file beside `final_path`, whose folder is made if it is not there.
    ///
    /// # Errors
    /// [`Error::Io`] with the path where the system refuses.
    pub fn create(final_path: impl Into<PathBuf>) -> Result<AtomicFile, Error> {
        let final_path = final_path.into();
        let folder = folder_of(&final_path);
        fs::create_dir_all(folder).map_err(Error::io(folder, "create folder"))?;
        let temporary_path = temporary_path(&final_path);
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary_path);
        let file = file.map_err(Error::io(&temporary_path, "create"))?;
        let writer = Some(BufWriter::with_capacity(BUFFER_BYTES, HashingFile::new(file)));
        Ok(AtomicFile { final_path, temporary_path, writer })
    }

    /// The final path.
    pub fn path(&self) -> &Path {
        &self.final_path
    }

    /// Bytes accepted so far, buffered ones included.
    pub fn bytes_written(&self) -> u64 {
        self.writer.as_ref().map_or(0, |writer| writer.get_ref().bytes + writer.buffer().len() as u64)
    }

    /// Writes all of `bytes`; as [`Write::write_all`], but the error names the file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.write_all(bytes).map_err(|source| Error::Io { path: self.final_path.clone(), doing: "write", source })
    }

    /// Makes the file durable, and visible under its final name.
    ///
    /// # Errors
    /// [`Error::Io`]; then nothing is left under the temporary name, and the final name holds what it held before
    /// (or, when only the folder's fsync failed, the complete new file).
    pub fn commit(mut self) -> Result<FileDigest, Error> {
        let path = self.final_path.clone();
        let writer = self.open_writer().map_err(Error::io(&path, "commit"))?;
        writer.flush().map_err(Error::io(&path, "write"))?;
        writer.get_ref().file.sync_all().map_err(Error::io(&path, "fsync"))?;
        let hashing = writer.get_mut();
        let digest = FileDigest { bytes: hashing.bytes, sha256: hex(&hashing.hash.finalize_reset()) };
        fs::rename(&self.temporary_path, &path).map_err(Error::io(&path, "rename to"))?;
        self.writer = None;
        sync_dir(folder_of(&path))?;
        Ok(digest)
    }

    fn open_writer(&mut self) -> io::Result<&mut BufWriter<HashingFile>> {
        self.writer.as_mut().ok_or_else(|| io::Error::other("the file is committed"))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.open_writer()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.open_writer()?.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            // into_parts, because dropping a BufWriter would write the rest of a file that is being removed.
            drop(writer.into_parts());
            let _ = fs::remove_file(&self.temporary_path);
        }
    }
}

/// A file that counts and hashes what is written to it.
#[derive(Debug)]
struct HashingFile {
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl HashingFile {
    fn new(file: File) -> HashingFile {
        HashingFile { file, hash: Sha256::new(), bytes: 0 }
    }
}

impl Write for HashingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a whole file by the commit protocol.
///
/// # Errors
/// [`Error::Io`].
pub fn write_atomic(path: impl Into<PathBuf>, bytes: &[u8]) -> Result<FileDigest, Error> {
    let mut file = AtomicFile::create(path)?;
    file.append(bytes)?;
    file.commit()
}

/// Size and sha256 of a file, read in pieces.
///
/// # Errors
/// [`Error::Io`].
pub fn hash_file(path: &Path) -> Result<FileDigest, Error> {
    hash_file_with(path, |_, _| ())
}

/// As [`hash_file`], handing every piece and its offset in bytes to `look` on the way. All pieces but the last are
/// [`PIECE_BYTES`] long.
///
/// # Errors
/// [`Error::Io`].
pub fn hash_file_with(path: &Path, mut look: impl FnMut(u64, &[u8])) -> Result<FileDigest, Error> {
    let mut file = File::open(path).map_err(Error::io(path, "open"))?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut hash = Sha256::new();
    let mut bytes = 0;
    loop {
        let filled = read_full(&mut file, &mut piece).map_err(Error::io(path, "read"))?;
        let read = piece.get(..filled).unwrap_or_default();
        hash.update(read);
        look(bytes, read);
        bytes += filled as u64;
        if filled < PIECE_BYTES {
            return Ok(FileDigest { bytes, sha256: hex(&hash.finalize()) });
        }
    }
}

/// Bytes of a piece of [`hash_file_with`]; a multiple of every token width.
pub const PIECE_BYTES: usize = 1 << 20;

/// Reads until `buffer` is full or the file ends; returns the bytes read.
fn read_full(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Makes the names in a folder durable.
///
/// # Errors
/// [`Error::Io`].
pub fn sync_dir(folder: &Path) -> Result<(), Error> {
    let opened = File::open(folder).map_err(Error::io(folder, "open folder"))?;
    opened.sync_all().map_err(Error::io(folder, "fsync folder"))
}

/// Whether a file name is that of an uncommitted file, which nobody needs once its writer is gone.
pub fn is_temporary(file_name: &OsStr) -> bool {
    file_name.to_string_lossy().contains(TEMP_MARK)
}

/// sha256 of bytes in memory, hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Process, time and a counter: unique among attempts on one machine, and, by the time, all but certainly among
/// machines that share the folder; `create_new` refuses the rest.
pub(crate) fn temporary_path(final_path: &Path) -> PathBuf {
    static ATTEMPTS: AtomicU64 = AtomicU64::new(0);
    let attempt = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos());
    let mut name = final_path.file_name().unwrap_or_default().to_owned();
    name.push(format!("{TEMP_MARK}{:x}-{nanoseconds:x}-{attempt:x}", std::process::id()));
    final_path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_final_name_appears_at_commit_with_the_digest_of_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/a.bin");
        let mut file = AtomicFile::create(&path).unwrap();
        file.append(b"abc").unwrap();
        assert!(!path.exists());
        assert_eq!(file.bytes_written(), 3);
        let digest = file.commit().unwrap();
        assert_eq!(digest.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hash_file(&path).unwrap(), digest);
        assert_eq!(names(path.parent().unwrap()), ["a.bin"]);
    }

    #[test]
    fn a_file_dropped_without_commit_leaves_nothing_and_spares_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_atomic(&path, b"old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.append(b"new").unwrap();
        let seen = names(folder.path());
        assert_eq!(seen.len(), 2);
        assert!(is_temporary(OsStr::new(&seen[1])) && !is_temporary(OsStr::new(&seen[0])));
        drop(file);
        assert_eq!(names(folder.path()), ["a"]);
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn two_attempts_at_once_do_not_meet() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut first = AtomicFile::create(&path).unwrap();
        let mut second = AtomicFile::create(&path).unwrap();
        first.append(b"same").unwrap();
        second.append(b"same").unwrap();
        assert_eq!(second.commit().unwrap(), first.commit().unwrap());
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn a_rename_that_fails_is_an_error_with_the_path_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::create_dir(&path).unwrap();
        let error = write_atomic(&path, b"x").unwrap_err();
        assert!(matches!(&error, Error::Io { path: named, doing: "rename to", .. } if *named == path), "{error}");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn a_full_disk_at_commit_is_a_clean_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let writer = Some(BufWriter::new(HashingFile::new(full)));
        let mut file = AtomicFile { final_path: path.clone(), temporary_path: folder.path().join("t"), writer };
        file.append(b"x").unwrap();
        let error = file.commit().unwrap_err();
        assert!(error.is_disk_full() && error.to_string().contains("cannot write"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn pieces_are_handed_over_in_order_with_their_offsets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_atomic(&path, &vec![7; PIECE_BYTES + 5]).unwrap();
        let mut seen = Vec::new();
        hash_file_with(&path, |offset, piece| seen.push((offset, piece.len()))).unwrap();
        assert_eq!(seen, [(0, PIECE_BYTES), (PIECE_BYTES as u64, 5)]);
    }
}

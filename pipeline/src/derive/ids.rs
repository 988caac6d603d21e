//! A list of document ids: one a line, blank lines aside; kept as 128-bit hashes, 16 bytes an id.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

use super::IdFile;
use crate::error::Error;

/// Most bytes of an id in a list.
const ID_BYTES_MAX: usize = 64 << 10;

/// The ids of a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ids {
    hashes: Vec<u128>,
}

impl Ids {
    /// Reads a list.
    ///
    /// # Errors
    /// [`Error::InputChanged`] where it is not the one that was planned with; [`Error::Usage`] where it does not fit
    /// into a quarter of `memory` bytes, or a line is too long to be an id.
    pub fn load(file: &IdFile, memory: u64) -> Result<Ids, Error> {
        let found = shards::commit::hash_file(&file.path)?.sha256;
        if found != file.sha256 {
            let (path, expected) = (file.path.clone(), format!("sha256 {}", file.sha256));
            return Err(Error::InputChanged { path, expected, found: format!("sha256 {found}") });
        }
        let mut hashes = Vec::new();
        for_each(&file.path, |id| {
            hashes.push(xxh3_128(id));
            if hashes.len() as u64 * 16 <= memory / 4 {
                return Ok(());
            }
            let detail = format!("{} holds more than {} ids", file.path.display(), hashes.len() - 1);
            Err(Error::usage("--memory", detail, "give more --memory, or remove in several steps"))
        })?;
        Ok(Ids::of_hashes(hashes))
    }

    /// The ids with these hashes.
    pub fn of_hashes(mut hashes: Vec<u128>) -> Ids {
        hashes.sort_unstable();
        hashes.dedup();
        Ids { hashes }
    }

    /// Whether an id is in the list.
    pub fn contains(&self, id: &[u8]) -> bool {
        self.hashes.binary_search(&xxh3_128(id)).is_ok()
    }

    /// Different ids.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }
}

/// Hands every id of a list to `each`, in order, without the line end.
///
/// # Errors
/// [`Error::Io`]; [`Error::Usage`] for a line that is too long to be an id; what `each` says.
pub fn for_each(path: &Path, mut each: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
    let file = File::open(path).map_err(|error| Error::io("open", path, error))?;
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut number = 0u64;
    loop {
        line.clear();
        number += 1;
        let mut limited = std::io::Read::take(&mut reader, ID_BYTES_MAX as u64 + 2);
        let read = limited.read_until(b'\n', &mut line).map_err(|error| Error::io("read", path, error))?;
        if read == 0 {
            return Ok(());
        }
        let id = line.strip_suffix(b"\n").unwrap_or(&line);
        let id = id.strip_suffix(b"\r").unwrap_or(id);
        if id.len() > ID_BYTES_MAX {
            let detail = format!(
                "{}:{number}: expected an id of at most {ID_BYTES_MAX} bytes, found a longer line",
                path.display()
            );
            return Err(Error::usage("--ids", detail, "the list has an id a line"));
        }
        if !id.iter().all(u8::is_ascii_whitespace) {
            each(id)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(content: &str) -> (tempfile::TempDir, IdFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids.txt");
        std::fs::write(&path, content).unwrap();
        let sha256 = shards::commit::sha256_hex(content.as_bytes());
        (folder, IdFile { path, sha256 })
    }

    #[test]
    fn an_id_a_line_whatever_ends_it() {
        let (_folder, file) = list("a\r\n\nb c\n甲");
        let ids = Ids::load(&file, 1 << 20).unwrap();
        assert_eq!(ids.len(), 3);
        assert!(ids.contains(b"a") && ids.contains(b"b c") && ids.contains("甲".as_bytes()));
        assert!(!ids.contains(b"b") && !ids.contains(b""));
    }

    #[test]
    fn a_list_that_changed_since_the_plan_is_refused() {
        let (_folder, file) = list("a\n");
        std::fs::write(&file.path, "b\n").unwrap();
        assert!(matches!(Ids::load(&file, 1 << 20), Err(Error::InputChanged { .. })));
    }

    #[test]
    fn a_list_beyond_the_memory_is_refused() {
        let (_folder, file) = list("a\nb\nc\n");
        let error = Ids::load(&file, 128).unwrap_err().to_string();
        assert!(error.contains("more than 2 ids"), "{error}");
    }

    #[test]
    fn a_line_that_is_no_id_is_refused_with_its_number() {
        let (_folder, file) = list(&format!("a\n{}\n", "x".repeat(ID_BYTES_MAX + 1)));
        assert!(Ids::load(&file, 1 << 20).unwrap_err().to_string().contains("ids.txt:2:"));
    }
}

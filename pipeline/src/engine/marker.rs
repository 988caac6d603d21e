//! Markers: a task is done when its marker exists.
//!
//! Two lines: the xxh3-64 of the second, then JSON. Written under another name, fsynced and renamed, so a marker is
//! whole or absent; one that was damaged later is refused, not guessed at.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Error;
use crate::spill::frame::attempt_name;

/// Writes a marker.
///
/// # Errors
/// [`Error::Io`] where the disk refuses.
pub fn write(path: &Path, payload: &impl Serialize) -> Result<(), Error> {
    let json = serde_json::to_string(payload).map_err(|error| damaged(path, error.to_string()))?;
    let temporary = attempt_name(path);
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(format!("{:016x}\n{json}\n", xxh3_64(json.as_bytes())).as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(|error| {
        let _ = std::fs::remove_file(&temporary); // best effort; the error that matters is the first
        Error::io("write", path, error)
    })
}

/// Reads a marker; None where the task is not done.
///
/// # Errors
/// [`Error::Marker`] where its bytes are not those that were written.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            return Err(damaged(path, "expected a marker, found bytes that are not UTF-8".to_owned()));
        }
        Err(error) => return Err(Error::io("read", path, error)),
    };
    let mut lines = text.lines();
    let (checksum, json) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let found = format!("{:016x}", xxh3_64(json.as_bytes()));
    if checksum != found {
        return Err(damaged(path, format!("expected checksum {checksum:.16}, found {found}")));
    }
    serde_json::from_str(json).map(Some).map_err(|error| damaged(path, error.to_string()))
}

fn damaged(path: &Path, detail: String) -> Error {
    Error::Marker { path: path.to_owned(), detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_byte_in_a_marker_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("00000.done");
        write(&path, &vec![1, 2, 3]).unwrap();
        assert_eq!(read::<Vec<u32>>(&path).unwrap(), Some(vec![1, 2, 3]));
        let damaged = std::fs::read_to_string(&path).unwrap().replace('2', "4");
        std::fs::write(&path, damaged).unwrap();
        assert!(matches!(read::<Vec<u32>>(&path), Err(Error::Marker { .. })));
    }

    #[test]
    fn an_absent_marker_means_not_done() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read::<u32>(&folder.path().join("00000.done")).unwrap(), None);
    }
}

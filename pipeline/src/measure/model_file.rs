//! Reading foreign model files: little-endian values one after another, sizes checked before they are used.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Error;

/// A model file that is read from start to end, and hashed on the way.
pub(super) struct ModelFile {
    path: PathBuf,
    reader: BufReader<File>,
    digest: Sha256,
    at: u64,
    bytes: u64,
}

impl ModelFile {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn open(path: &Path) -> Result<ModelFile, Error> {
        let read = |source| Error::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(read)?;
        let bytes = file.metadata().map_err(read)?.len();
        let reader = BufReader::with_capacity(1 << 16, file);
        Ok(ModelFile { path: path.to_owned(), reader, digest: Sha256::new(), at: 0, bytes })
    }

    /// The error for what stands at the current place.
    pub fn wrong(&self, expected: impl Into<String>, found: impl Into<String>) -> Error {
        Error::Model { path: self.path.clone(), offset: self.at, expected: expected.into(), found: found.into() }
    }

    /// How many values of `width` bytes are left, which no count in the file can exceed.
    pub fn left(&self) -> u64 {
        self.bytes.saturating_sub(self.at)
    }

    /// Fills a buffer.
    ///
    /// # Errors
    /// [`Error::Model`] at the end of the file; [`Error::Read`].
    pub fn fill(&mut self, buffer: &mut [u8], what: &str) -> Result<(), Error> {
        if (buffer.len() as u64) > self.left() {
            let found = format!("the end of the file after {} more bytes", self.left());
            return Err(self.wrong(format!("{what} of {} bytes", buffer.len()), found));
        }
        self.reader.read_exact(buffer).map_err(|source| Error::Read { path: self.path.clone(), source })?;
        self.digest.update(&*buffer);
        self.at += buffer.len() as u64;
        Ok(())
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    /// One byte.
    pub fn u8(&mut self, what: &str) -> Result<u8, Error> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    /// A 32-bit integer.
    pub fn i32(&mut self, what: &str) -> Result<i32, Error> {
        self.array(what).map(i32::from_le_bytes)
    }

    /// A 64-bit integer.
    pub fn i64(&mut self, what: &str) -> Result<i64, Error> {
        self.array(what).map(i64::from_le_bytes)
    }

    /// A count of things of `width` bytes each, which must fit into what is left of the file.
    pub fn count(&mut self, value: i64, width: u64, what: &str) -> Result<usize, Error> {
        let most = self.left() / width.max(1);
        match u64::try_from(value) {
            Ok(count) if count <= most => Ok(count as usize),
            _ => Err(self.wrong(format!("{what}, at most {most}"), value.to_string())),
        }
    }

    /// `count` bytes.
    pub fn bytes(&mut self, count: usize, what: &str) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; (count as u64).min(self.left()) as usize];
        if bytes.len() < count {
            return Err(self.wrong(format!("{what} of {count} bytes"), format!("{} bytes", bytes.len())));
        }
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    /// `count` 32-bit floats.
    pub fn floats(&mut self, count: usize, what: &str) -> Result<Vec<f32>, Error> {
        const STEP: usize = 1 << 14;
        if count as u64 > self.left() / 4 {
            return Err(self.wrong(format!("{what} of {count} floats"), format!("{} bytes", self.left())));
        }
        let mut floats = Vec::with_capacity(count);
        while floats.len() < count {
            let bytes = self.bytes((count - floats.len()).min(STEP) * 4, what)?;
            floats.extend(bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        }
        Ok(floats)
    }

    /// Bytes up to a zero, which is read too.
    pub fn c_string(&mut self, what: &str) -> Result<Vec<u8>, Error> {
        const BYTES_MAX: usize = 1 << 16;
        let mut bytes = Vec::new();
        loop {
            match self.u8(what)? {
                0 => return Ok(bytes),
                _ if bytes.len() == BYTES_MAX => {
                    return Err(self.wrong(format!("the end of {what}"), format!("more than {BYTES_MAX} bytes")));
                }
                byte => bytes.push(byte),
            }
        }
    }

    /// Reads what is left, and returns `sha256:` and the hash of the whole file.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn finish(mut self) -> Result<String, Error> {
        while self.left() > 0 {
            self.bytes(self.left().min(1 << 16) as usize, "the rest")?;
        }
        let hex: String = self.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("sha256:{hex}"))
    }
}

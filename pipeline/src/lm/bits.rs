//! Records of bits one after another, the lowest bits first, as KenLM's tries have them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Bits that a number up to `value` takes.
pub(super) fn bits_for(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

/// Writes numbers of any width to a file.
#[derive(Debug)]
pub(super) struct BitWriter {
    path: PathBuf,
    writer: BufWriter<File>,
    pending: u128,
    filled: u32,
    bytes: u64,
}

impl BitWriter {
    pub fn create(path: &Path) -> Result<BitWriter, Error> {
        let file = File::create(path).map_err(|error| Error::io("create", path, error))?;
        let writer = BufWriter::with_capacity(64 << 10, file);
        Ok(BitWriter { path: path.to_owned(), writer, pending: 0, filled: 0, bytes: 0 })
    }

    /// Writes the lowest `bits` bits of a number, at most 64, that has no others.
    pub fn put(&mut self, value: u64, bits: u32) -> Result<(), Error> {
        self.pending |= u128::from(value) << self.filled;
        self.filled += bits;
        if self.filled >= 64 {
            self.write(&(self.pending as u64).to_le_bytes())?;
            self.pending >>= 64;
            self.filled -= 64;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.bytes += bytes.len() as u64;
        self.writer.write_all(bytes).map_err(|error| Error::io("write", &self.path, error))
    }

    /// Fills up to `bytes` bytes with zeros and ends the file.
    pub fn finish(mut self, bytes: u64) -> Result<PathBuf, Error> {
        let pending = self.pending.to_le_bytes();
        self.write(pending.get(..self.filled.div_ceil(8) as usize).unwrap_or_default())?;
        while self.bytes < bytes {
            self.write(&[0])?;
        }
        self.writer.flush().map_err(|error| Error::io("write", &self.path, error))?;
        Ok(self.path)
    }
}

//! What MDS shards and litdata chunks have in common: a count, the offsets of all samples, what describes them, and the
//! samples, every number a little-endian u32.

use shards::commit::AtomicFile;

use super::Error;

/// Bytes of a file from which on another is started; a longer sample has a file of its own. Both writers' default.
pub const CHUNK_BYTES: u64 = 1 << 26;

/// Samples of one file, gathered until it is full: their offsets stand before them.
#[derive(Debug, Default)]
pub struct Chunk {
    ends: Vec<u64>,
    data: Vec<u8>,
    /// Tokens of the samples.
    pub tokens: u64,
}

impl Chunk {
    /// Appends a sample made of these parts.
    pub fn push(&mut self, parts: &[&[u8]], tokens: u64) {
        parts.iter().for_each(|part| self.data.extend_from_slice(part));
        self.ends.push(self.data.len() as u64);
        self.tokens += tokens;
    }

    /// Samples gathered.
    pub fn samples(&self) -> u64 {
        self.ends.len() as u64
    }

    /// Bytes of the samples gathered.
    pub fn data_bytes(&self) -> u64 {
        self.data.len() as u64
    }

    /// Bytes of the file with `description` between offsets and samples.
    pub fn file_bytes(&self, description: &[u8]) -> u64 {
        self.data_start(description) + self.data_bytes()
    }

    fn data_start(&self, description: &[u8]) -> u64 {
        4 + 4 * (self.samples() + 1) + description.len() as u64
    }

    /// Writes the file; false, and nothing is written, where an offset is beyond u32.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn write(&self, description: &[u8], file: &mut AtomicFile) -> Result<bool, Error> {
        let start = self.data_start(description);
        if u32::try_from(self.file_bytes(description)).is_err() {
            return Ok(false);
        }
        file.append(&(self.samples() as u32).to_le_bytes())?;
        for end in std::iter::once(&0).chain(&self.ends) {
            file.append(&((start + end) as u32).to_le_bytes())?;
        }
        file.append(description)?;
        file.append(&self.data)?;
        Ok(true)
    }

    /// Forgets the samples and keeps the space.
    pub fn clear(&mut self) {
        self.ends.clear();
        self.data.clear();
        self.tokens = 0;
    }
}

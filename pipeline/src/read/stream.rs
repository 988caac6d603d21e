//! The bytes of an input after decompression, and what is wrong with a stream that does not end well.

use schemas::rule::InvalidRule;

use super::codec::{Codec, Step};
use super::error::Error;
use super::fault::Fault;
use super::inputs::Input;
use super::raw_file::RawFile;

const INPUT_BYTES: usize = 256 << 10;

/// Enough to recognise the start of any member.
const MAGIC_BYTES: usize = 16;

/// Why a stream has no more bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It is complete.
    Complete,
    /// It is truncated or corrupt; everything before the damage has been handed out.
    Damaged(Fault),
}

/// A decompressed stream.
pub struct Stream {
    raw: RawFile,
    compressed: Option<Compressed>,
    /// Bytes handed out so far.
    offset: u64,
    end: Option<End>,
}

struct Compressed {
    codec: Codec,
    input: Vec<u8>,
    taken: usize,
    /// No more bytes in the file.
    last: bool,
    inside: bool,
    /// Zero bytes have followed a gzip member, as tapes pad.
    padding: bool,
}

impl Stream {
    /// Opens an input, hashing `start..end` of its stored bytes. A plain file is read from `from` on.
    pub fn open(input: &Input, start: u64, end: u64, from: u64) -> Result<Stream, Error> {
        let raw = RawFile::open(&input.path, start, end, from)?;
        let (codec, end) = match Codec::new(input.compression) {
            Ok(codec) => (codec, None),
            Err(reason) => (None, Some(End::Damaged(Fault::new(InvalidRule::StreamCorrupt, reason)))),
        };
        let compressed = codec.map(|codec| Compressed {
            codec,
            input: Vec::with_capacity(INPUT_BYTES + MAGIC_BYTES),
            taken: 0,
            last: false,
            inside: true,
            padding: false,
        });
        Ok(Stream { raw, compressed, offset: from, end })
    }

    /// Stored bytes read of the part.
    pub fn bytes_read(&self) -> u64 {
        self.raw.bytes_read()
    }

    /// Appends about `want` bytes, at least one unless the stream ends. Some: nothing follows what was appended.
    pub fn fill(&mut self, out: &mut Vec<u8>, want: usize) -> Result<Option<End>, Error> {
        if self.end.is_some() {
            return Ok(self.end.clone());
        }
        let before = out.len();
        self.end = match &mut self.compressed {
            None => (self.raw.read(out, want)? < want).then_some(End::Complete),
            Some(compressed) => {
                out.reserve_exact(want);
                compressed.fill(&mut self.raw, out, self.offset)?
            }
        };
        self.offset += (out.len() - before) as u64;
        Ok(self.end.clone())
    }

    /// Reads the rest of the part as stored, and returns the digests of its blocks.
    pub fn finish(self) -> Result<Vec<u128>, Error> {
        self.raw.finish()
    }
}

impl Compressed {
    /// Fills the spare room of `out`. `offset` is that of its first new byte, for messages.
    fn fill(&mut self, raw: &mut RawFile, out: &mut Vec<u8>, offset: u64) -> Result<Option<End>, Error> {
        let before = out.len();
        loop {
            self.refill(raw)?;
            let rest = self.input.get(self.taken..).unwrap_or_default();
            let place = |taken: usize, filled: usize| {
                let compressed_offset = raw.offset() - (rest.len() - taken) as u64;
                let offset = offset + (filled - before) as u64;
                format!("compressed byte {compressed_offset} (decompressed byte {offset})")
            };
            if !self.inside {
                if rest.is_empty() {
                    return Ok(Some(End::Complete));
                }
                match self.between(rest) {
                    Between::Padding(bytes) => {
                        self.padding = true;
                        self.taken += bytes;
                        continue;
                    }
                    Between::Member => {
                        self.codec.restart();
                        self.inside = true;
                    }
                    Between::Truncated => return Ok(Some(self.truncated(&place(0, out.len())))),
                    Between::Garbage => {
                        let what = format!(
                            "expected another member or the end of the file at {}, found other bytes",
                            place(0, out.len())
                        );
                        return Ok(Some(self.corrupt(&what)));
                    }
                }
            }
            if out.len() == out.capacity() {
                return Ok(None);
            }
            let filled = out.len();
            let (taken, step) = self.codec.step(rest, out, self.last);
            match step {
                Step::MemberEnd => self.inside = false,
                Step::Corrupt(reason) => {
                    let what = format!("{reason} at {}", place(taken, out.len()));
                    return Ok(Some(self.corrupt(&what)));
                }
                Step::More if taken == 0 && out.len() == filled && self.last => {
                    return Ok(Some(self.truncated(&place(taken, out.len()))));
                }
                Step::More => {}
            }
            self.taken += taken;
        }
    }

    /// Keeps enough input to recognise the start of a member.
    fn refill(&mut self, raw: &mut RawFile) -> Result<(), Error> {
        if self.last || self.input.len() - self.taken >= MAGIC_BYTES {
            return Ok(());
        }
        self.input.drain(..self.taken);
        self.taken = 0;
        self.last = raw.read(&mut self.input, INPUT_BYTES)? < INPUT_BYTES;
        Ok(())
    }

    fn between(&self, rest: &[u8]) -> Between {
        let zeros = rest.iter().take_while(|byte| **byte == 0).count();
        match (&self.codec, self.codec.begins_member(rest)) {
            (Codec::Gzip(_), _) if zeros > 0 => Between::Padding(zeros),
            (_, Some(true)) if !self.padding => Between::Member,
            (_, None) if !self.padding => Between::Truncated,
            _ => Between::Garbage,
        }
    }

    fn truncated(&self, place: &str) -> End {
        let detail = format!("{} stream ends before its end mark at {place}", self.codec.name());
        End::Damaged(Fault::new(InvalidRule::StreamTruncated, detail))
    }

    fn corrupt(&self, what: &str) -> End {
        End::Damaged(Fault::new(InvalidRule::StreamCorrupt, format!("{} stream is corrupt: {what}", self.codec.name())))
    }
}

/// What follows the end of a member.
enum Between {
    Padding(usize),
    Member,
    Truncated,
    Garbage,
}

//! Decompression, one step at a time, of the formats that corpora come in.
//!
//! Every codec takes what input it can, fills what room there is, and says where a member (frame, stream) ends. The
//! memory a stream may ask for is capped, so that its header cannot claim the machine.

use bzip2::{Decompress as Bzip2, Status as Bzip2Status};
use flate2::{Decompress as Gzip, FlushDecompress, Status as GzipStatus};
use liblzma::stream::{Action, CONCATENATED, Error as XzError, Status as XzStatus, Stream as Xz};
use zstd::stream::raw::{DParameter, Decoder as Zstd, InBuffer, Operation, OutBuffer};

use super::inputs::Compression;

/// Largest window a stream may ask for: 2^27 = 128 MiB, what `zstd -d` allows without `--long` too.
const WINDOW_LOG_MAX: u32 = 27;

/// The same for xz, whose decoder needs a little more than its dictionary.
const XZ_MEMORY_MAX: u64 = (1 << WINDOW_LOG_MAX) + (1 << 20);

/// A decoder of one compression.
pub enum Codec {
    /// gzip.
    Gzip(Box<Gzip>),
    /// Zstandard.
    Zstd(Zstd<'static>),
    /// xz.
    Xz(Box<Xz>),
    /// bzip2.
    Bzip2(Box<Bzip2>),
}

/// How a step ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// More input or more room is needed.
    More,
    /// A member is complete.
    MemberEnd,
    /// The bytes are not what the format says.
    Corrupt(String),
}

impl Codec {
    /// A decoder at the start of a member; None for what is not compressed. Errors are reasons in words.
    pub fn new(compression: Compression) -> Result<Option<Codec>, String> {
        Ok(Some(match compression {
            Compression::None => return Ok(None),
            Compression::Gzip => Codec::Gzip(Box::new(Gzip::new_gzip(15))),
            Compression::Zstd => Codec::Zstd(new_zstd().map_err(|error| error.to_string())?),
            Compression::Xz => {
                let stream = Xz::new_stream_decoder(XZ_MEMORY_MAX, CONCATENATED).map_err(|error| error.to_string())?;
                Codec::Xz(Box::new(stream))
            }
            Compression::Bzip2 => Codec::Bzip2(Box::new(Bzip2::new(false))),
        }))
    }

    /// The name in messages.
    pub fn name(&self) -> &'static str {
        match self {
            Codec::Gzip(_) => "gzip",
            Codec::Zstd(_) => "zstd",
            Codec::Xz(_) => "xz",
            Codec::Bzip2(_) => "bzip2",
        }
    }

    /// Whether another member begins with these bytes; None where there are too few to tell.
    pub fn begins_member(&self, bytes: &[u8]) -> Option<bool> {
        let magic: &[u8] = match self {
            Codec::Gzip(_) => &[0x1f, 0x8b],
            Codec::Zstd(_) if matches!(bytes, [0x50..=0x5f, ..]) => {
                let same = bytes.iter().skip(1).zip([0x2a, 0x4d, 0x18]).all(|(byte, magic)| *byte == magic);
                return if same && bytes.len() < 4 { None } else { Some(same) };
            }
            Codec::Zstd(_) => &[0x28, 0xb5, 0x2f, 0xfd],
            // The decoder takes all streams and the padding between them itself.
            Codec::Xz(_) => &[],
            Codec::Bzip2(_) => b"BZh",
        };
        let same = bytes.iter().zip(magic).all(|(byte, magic)| byte == magic);
        if same && bytes.len() < magic.len() { None } else { Some(same && !magic.is_empty()) }
    }

    /// Makes ready for another member.
    pub fn restart(&mut self) {
        match self {
            // `Decompress::reset` would leave gzip mode.
            Codec::Gzip(codec) => **codec = Gzip::new_gzip(15),
            Codec::Bzip2(codec) => **codec = Bzip2::new(false),
            // A zstd decoder is at the start of a frame after the end of one; xz takes all streams as one.
            Codec::Zstd(_) | Codec::Xz(_) => {}
        }
    }

    /// Decodes from `input` into the spare room of `out`; returns the bytes taken. `last`: nothing follows `input`.
    pub fn step(&mut self, input: &[u8], out: &mut Vec<u8>, last: bool) -> (usize, Step) {
        match self {
            Codec::Gzip(codec) => gzip_step(codec, input, out),
            Codec::Zstd(codec) => zstd_step(codec, input, out),
            Codec::Xz(codec) => xz_step(codec, input, out, last),
            Codec::Bzip2(codec) => bzip2_step(codec, input, out),
        }
    }
}

fn new_zstd() -> std::io::Result<Zstd<'static>> {
    let mut decoder = Zstd::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
    Ok(decoder)
}

fn gzip_step(codec: &mut Gzip, input: &[u8], out: &mut Vec<u8>) -> (usize, Step) {
    let before = codec.total_in();
    let step = match codec.decompress_vec(input, out, FlushDecompress::None) {
        Ok(GzipStatus::StreamEnd) => Step::MemberEnd,
        Ok(_) => Step::More,
        Err(error) => Step::Corrupt(error.message().unwrap_or("invalid deflate data").to_owned()),
    };
    ((codec.total_in() - before) as usize, step)
}

fn zstd_step(codec: &mut Zstd<'static>, input: &[u8], out: &mut Vec<u8>) -> (usize, Step) {
    let mut source = InBuffer::around(input);
    let filled = out.len();
    let result = codec.run(&mut source, &mut OutBuffer::around_pos(out, filled));
    let step = match result {
        Ok(0) => Step::MemberEnd,
        Ok(_) => Step::More,
        Err(error) => Step::Corrupt(error.to_string()),
    };
    (source.pos(), step)
}

fn xz_step(codec: &mut Xz, input: &[u8], out: &mut Vec<u8>, last: bool) -> (usize, Step) {
    let before = codec.total_in();
    let action = if last { Action::Finish } else { Action::Run };
    let step = match codec.process_vec(input, out, action) {
        Ok(XzStatus::StreamEnd) => Step::MemberEnd,
        Ok(_) => Step::More,
        Err(XzError::MemLimit) => Step::Corrupt(format!("needs more than {} MiB of memory", XZ_MEMORY_MAX >> 20)),
        Err(error) => Step::Corrupt(error.to_string()),
    };
    ((codec.total_in() - before) as usize, step)
}

fn bzip2_step(codec: &mut Bzip2, input: &[u8], out: &mut Vec<u8>) -> (usize, Step) {
    let before = codec.total_in();
    let step = match codec.decompress_vec(input, out) {
        Ok(Bzip2Status::StreamEnd) => Step::MemberEnd,
        Ok(Bzip2Status::MemNeeded) => Step::Corrupt("needs more memory than there is".to_owned()),
        Ok(_) => Step::More,
        Err(error) => Step::Corrupt(error.to_string()),
    };
    ((codec.total_in() - before) as usize, step)
}

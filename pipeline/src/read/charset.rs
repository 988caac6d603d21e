//! Character encodings: where lines end in them, and how a line becomes UTF-8.
//!
//! A line that cannot be decoded is rejected alone, so lines are split before they are decoded. LF and CR are never
//! part of a longer character in UTF-8, GB 18030 and Big5; in UTF-16 they are units of two bytes.

use std::borrow::Cow;

use encoding_rs::{BIG5, Encoding as Decoder, GB18030, UTF_16BE, UTF_16LE};
use memchr::{memchr, memchr_iter, memrchr};
use schemas::config::Encoding;
use schemas::rule::InvalidRule;

use super::fault::Fault;

/// An encoding that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// UTF-8.
    Utf8,
    /// UTF-16, little-endian.
    Utf16Le,
    /// UTF-16, big-endian.
    Utf16Be,
    /// GB 18030.
    Gb18030,
    /// Big5 with HKSCS.
    Big5,
}

/// Bytes of a stream's start that tell its encoding.
pub const HEAD_BYTES: usize = 4;

impl Charset {
    /// The encoding of a stream that begins with `head`, and the length of its byte order mark.
    pub fn detect(encoding: Encoding, head: &[u8]) -> (Charset, usize) {
        let mark = |charset, mark: &[u8]| if head.starts_with(mark) { (charset, mark.len()) } else { (charset, 0) };
        match (encoding, head) {
            (Encoding::Auto | Encoding::Utf16, [0xff, 0xfe, ..]) => (Charset::Utf16Le, 2),
            (Encoding::Auto | Encoding::Utf16, [0xfe, 0xff, ..]) => (Charset::Utf16Be, 2),
            (Encoding::Utf16, _) => (Charset::Utf16Le, 0),
            (Encoding::Auto | Encoding::Utf8, _) => mark(Charset::Utf8, b"\xef\xbb\xbf"),
            (Encoding::Gb18030, _) => mark(Charset::Gb18030, b"\x84\x31\x95\x33"),
            (Encoding::Big5, _) => (Charset::Big5, 0),
        }
    }

    /// The name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Charset::Utf8 => "UTF-8",
            Charset::Utf16Le | Charset::Utf16Be => "UTF-16",
            Charset::Gb18030 => "GB 18030",
            Charset::Big5 => "Big5",
        }
    }

    fn decoder(self) -> Option<&'static Decoder> {
        match self {
            Charset::Utf8 => None,
            Charset::Utf16Le => Some(UTF_16LE),
            Charset::Utf16Be => Some(UTF_16BE),
            Charset::Gb18030 => Some(GB18030),
            Charset::Big5 => Some(BIG5),
        }
    }

    /// Bytes of the smallest unit, which line ends are made of.
    pub const fn unit_bytes(self) -> usize {
        match self {
            Charset::Utf16Le | Charset::Utf16Be => 2,
            _ => 1,
        }
    }

    /// Where the line that holds unit-aligned `from` ends: one past its LF. `bytes` begin at a unit.
    #[inline]
    pub fn line_end(self, bytes: &[u8], from: usize) -> Option<usize> {
        if self.unit_bytes() == 1 {
            return memchr(b'\n', bytes.get(from..)?).map(|at| from + at + 1);
        }
        let is_end = |at: &usize| self.is_line_feed(bytes, *at);
        memchr_iter(b'\n', bytes.get(from..)?).map(|at| (from + at) & !1).find(is_end).map(|at| at + 2)
    }

    /// One past the last LF at or after unit-aligned `from`.
    pub fn last_line_end(self, bytes: &[u8], from: usize) -> Option<usize> {
        if self.unit_bytes() == 1 {
            return memrchr(b'\n', bytes.get(from..)?).map(|at| from + at + 1);
        }
        let is_end = |at: &usize| self.is_line_feed(bytes, *at);
        memchr_iter(b'\n', bytes.get(from..)?).rev().map(|at| (from + at) & !1).find(is_end).map(|at| at + 2)
    }

    fn is_line_feed(self, bytes: &[u8], at: usize) -> bool {
        let unit = if self == Charset::Utf16Be { [0, b'\n'] } else { [b'\n', 0] };
        bytes.get(at..at + 2) == Some(&unit)
    }

    /// Number of LFs.
    pub fn count_line_ends(self, bytes: &[u8]) -> u64 {
        if self.unit_bytes() == 1 {
            return memchr_iter(b'\n', bytes).count() as u64;
        }
        bytes.chunks_exact(2).filter(|unit| self.is_line_feed(unit, 0)).count() as u64
    }

    /// A line without its LF or CRLF.
    #[inline]
    pub fn without_end(self, line: &[u8]) -> &[u8] {
        let (feed, carriage): (&[u8], &[u8]) = match self {
            Charset::Utf16Le => (b"\n\0", b"\r\0"),
            Charset::Utf16Be => (b"\0\n", b"\0\r"),
            _ => (b"\n", b"\r"),
        };
        let Some(line) = line.strip_suffix(feed) else { return line };
        line.strip_suffix(carriage).unwrap_or(line)
    }

    /// A line as UTF-8.
    ///
    /// # Errors
    /// `bad_utf8` where the bytes are not of this encoding.
    pub fn decode(self, line: &[u8]) -> Result<Cow<'_, [u8]>, Fault> {
        let Some(decoder) = self.decoder() else { return validate(line).map(Cow::Borrowed) };
        match decoder.decode_without_bom_handling_and_without_replacement(line) {
            Some(Cow::Borrowed(text)) => Ok(Cow::Borrowed(text.as_bytes())),
            Some(Cow::Owned(text)) => Ok(Cow::Owned(text.into_bytes())),
            None => Err(Fault::new(InvalidRule::BadUtf8, format!("expected {}, found other bytes", self.name()))),
        }
    }
}

#[inline]
fn validate(line: &[u8]) -> Result<&[u8], Fault> {
    if simdutf8::basic::from_utf8(line).is_ok() {
        return Ok(line);
    }
    Err(not_utf8(line))
}

#[cold]
fn not_utf8(line: &[u8]) -> Fault {
    let at = simdutf8::compat::from_utf8(line).err().map(|error| error.valid_up_to()).unwrap_or_default();
    let byte = line.get(at).copied().unwrap_or_default();
    Fault::new(InvalidRule::BadUtf8, format!("expected UTF-8 at byte {at}, found byte 0x{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, charset: Charset) -> Vec<u8> {
        let big = charset == Charset::Utf16Be;
        text.encode_utf16().flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
    }

    #[test]
    fn a_byte_order_mark_decides_unless_the_encoding_is_said() {
        assert_eq!(Charset::detect(Encoding::Auto, b"\xff\xfea\0"), (Charset::Utf16Le, 2));
        assert_eq!(Charset::detect(Encoding::Utf16, b"\xfe\xff\0a"), (Charset::Utf16Be, 2));
        assert_eq!(Charset::detect(Encoding::Utf16, b"a\0"), (Charset::Utf16Le, 0));
        assert_eq!(Charset::detect(Encoding::Auto, b"\xef\xbb\xbf{"), (Charset::Utf8, 3));
        assert_eq!(Charset::detect(Encoding::Utf8, b"\xff\xfe"), (Charset::Utf8, 0));
    }

    #[test]
    fn utf_16_lines_end_at_whole_units_only() {
        // U+0A0A and U+0A00 hold the byte of LF without being one.
        for charset in [Charset::Utf16Le, Charset::Utf16Be] {
            let bytes = utf16("\u{a0a}\u{a00}\r\nb\n", charset);
            assert_eq!(charset.line_end(&bytes, 0), Some(8));
            assert_eq!(charset.last_line_end(&bytes, 0), Some(12));
            assert_eq!(charset.count_line_ends(&bytes), 2);
            assert_eq!(charset.without_end(&bytes[..8]), &bytes[..4]);
        }
    }

    #[test]
    fn chinese_encodings_are_decoded_and_their_damage_found() {
        assert_eq!(Charset::Gb18030.decode(b"\xc4\xe3\xba\xc3").unwrap().as_ref(), "你好".as_bytes());
        assert_eq!(Charset::Big5.decode(b"\xa7\x41\xa6\x6e").unwrap().as_ref(), "你好".as_bytes());
        assert_eq!(Charset::Gb18030.decode(b"\xff\xff").unwrap_err().rule, InvalidRule::BadUtf8);
        let surrogate = [0x00, 0xd8, b'a', 0];
        assert_eq!(Charset::Utf16Le.decode(&surrogate).unwrap_err().rule, InvalidRule::BadUtf8);
        assert_eq!(Charset::Utf16Le.decode(b"a").unwrap_err().rule, InvalidRule::BadUtf8);
    }

    #[test]
    fn the_first_bad_byte_is_named() {
        let fault = Charset::Utf8.decode(b"ab\xffc").unwrap_err();
        assert_eq!(fault.detail, "expected UTF-8 at byte 2, found byte 0xff");
    }
}

//! The class of every code point, as Unicode 16 has it: what the expressions of tokenizers ask for.
//!
//! Hugging Face's crate splits text with the tables of its regex engine. These are the same tables: a test derives
//! them from that engine and compares them with `unicode16.bin`, which holds runs of equal class, one or a few bytes a
//! run. At start the runs become blocks of 64 code points; most blocks are of one class and need no bytes of their own,
//! so that the table of all Chinese characters is 700 bytes.

use std::sync::LazyLock;

/// Lu, Lt.
pub const UPPER: u8 = 1;
/// Ll.
pub const LOWER: u8 = 2;
/// Lm, Lo.
pub const CASELESS: u8 = 4;
/// M.
pub const MARK: u8 = 8;
/// N.
pub const NUMBER: u8 = 16;
/// P, S.
pub const SIGN: u8 = 32;
/// White_Space, the regex class `\s`.
pub const SPACE: u8 = 64;
/// Everything else: control, format, private, not assigned.
pub const OTHER: u8 = 128;
/// L.
pub const LETTER: u8 = UPPER | LOWER | CASELESS;

const RUNS: &[u8] = include_bytes!("unicode16.bin");
const CODE_POINTS: usize = 0x11_0000;
const BLOCK: usize = 64;
/// Index entries below this are classes; from here on they are numbers of blocks.
const FIRST_BLOCK: u16 = 256;

/// Classes of all code points.
pub struct Classes {
    ascii: [u8; 128],
    index: Vec<u16>,
    blocks: Vec<[u8; BLOCK]>,
}

static CLASSES: LazyLock<Classes> = LazyLock::new(|| Classes::from_runs(RUNS));

/// The table, made at the first call.
pub fn classes() -> &'static Classes {
    &CLASSES
}

/// Runs of equal class: (class, length).
fn runs(encoded: &[u8]) -> impl Iterator<Item = (u8, usize)> {
    let mut bytes = encoded.iter().copied();
    std::iter::from_fn(move || {
        let head = bytes.next()?;
        let mut length = usize::from(head >> 3);
        let (mut shift, mut more) = (0, length == 31);
        while more {
            let byte = bytes.next()?;
            length += usize::from(byte & 0x7f) << shift;
            shift += 7;
            more = byte & 0x80 != 0;
        }
        Some((1 << (head & 7), length + 1))
    })
}

impl Classes {
    fn from_runs(encoded: &[u8]) -> Classes {
        let mut all = vec![OTHER; CODE_POINTS];
        let mut start = 0;
        for (class, length) in runs(encoded) {
            let end = (start + length).min(CODE_POINTS);
            all.get_mut(start..end).unwrap_or_default().fill(class);
            start = end;
        }
        let (mut index, mut blocks) = (Vec::with_capacity(CODE_POINTS / BLOCK), Vec::new());
        for block in all.as_chunks::<BLOCK>().0 {
            let first = block[0];
            if block.iter().all(|class| *class == first) {
                index.push(u16::from(first));
            } else {
                index.push(FIRST_BLOCK + blocks.len() as u16);
                blocks.push(*block);
            }
        }
        let mut ascii = [OTHER; 128];
        all.iter().zip(&mut ascii).for_each(|(class, slot)| *slot = *class);
        Classes { ascii, index, blocks }
    }

    /// The class of a code point.
    #[inline]
    pub fn of(&self, code_point: u32) -> u8 {
        let entry = self.index.get(code_point as usize / BLOCK).copied().unwrap_or(u16::from(OTHER));
        if entry < FIRST_BLOCK {
            return entry as u8;
        }
        let block = self.blocks.get(usize::from(entry - FIRST_BLOCK));
        block.map_or(OTHER, |block| block[code_point as usize % BLOCK])
    }

    /// The class and the length in bytes of the character that begins at `start`; (0, 0) at the end of the text, so
    /// that no set of classes holds it.
    #[inline(always)]
    pub fn at(&self, text: &[u8], start: usize) -> (u8, usize) {
        match text.get(start) {
            Some(byte) if *byte < 0x80 => (self.ascii[usize::from(*byte & 0x7f)], 1),
            Some(_) => self.wide_at(text, start),
            None => (0, 0),
        }
    }

    #[inline]
    fn wide_at(&self, text: &[u8], start: usize) -> (u8, usize) {
        let (code_point, length) = decode(text, start);
        (self.of(code_point), length)
    }

    /// The end of the run of characters of `set` that begins at `start`.
    #[inline(always)]
    pub fn run(&self, text: &[u8], mut start: usize, set: u8) -> usize {
        loop {
            let (class, length) = self.at(text, start);
            if class & set == 0 {
                return start;
            }
            start += length;
        }
    }

    /// The end of a run of at most fifteen ASCII letters that begins at `start`, if there is one and ASCII is behind it.
    #[inline(always)]
    pub fn ascii_word(text: &[u8], start: usize) -> Option<usize> {
        let bytes = text.get(start..)?.first_chunk::<16>()?;
        let letters = ascii_letters(bytes);
        let behind = bytes.get(letters)?;
        (letters > 0 && *behind < 0x80).then_some(start + letters)
    }

    /// [`run`](Self::run) for a `set` that holds all letters, sixteen bytes of ASCII at a time.
    #[inline(always)]
    pub fn letters(&self, text: &[u8], mut start: usize, set: u8) -> usize {
        loop {
            while let Some(bytes) = text.get(start..).and_then(|rest| rest.first_chunk::<16>()) {
                let ascii = ascii_letters(bytes);
                start += ascii;
                if ascii < 16 {
                    break;
                }
            }
            let (class, length) = self.at(text, start);
            if class & set == 0 {
                return start;
            }
            start += length;
            if length > 1 {
                start = self.wide_letters(text, start, set);
            }
        }
    }

    /// The end of the run of characters beyond ASCII.
    #[inline(always)]
    fn wide_letters(&self, text: &[u8], mut start: usize, set: u8) -> usize {
        loop {
            match text.get(start) {
                Some(lead) if ALL_LETTERS.contains(lead) => start += 3,
                Some(lead) if *lead >= 0x80 => {
                    let (class, length) = self.wide_at(text, start);
                    if class & set == 0 {
                        return start;
                    }
                    start += length;
                }
                _ => return start,
            }
        }
    }
}

/// With these first bytes begin U+5000 to U+9FFF, all of them letters.
const ALL_LETTERS: std::ops::RangeInclusive<u8> = 0xe5..=0xe9;

/// How many of sixteen bytes are ASCII letters before the first that is none.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn ascii_letters(bytes: &[u8; 16]) -> usize {
    use std::arch::x86_64::{
        _mm_add_epi8, _mm_cmplt_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };
    let bits = u128::from_le_bytes(*bytes);
    // SAFETY: every x86-64 processor has SSE2.
    let letters = unsafe {
        let bytes = _mm_set_epi64x((bits >> 64) as i64, bits as i64);
        let lower = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
        // 'a' becomes the least of all signed numbers, 'z' the 25th after it.
        let moved = _mm_add_epi8(lower, _mm_set1_epi8((0x80 - b'a') as i8));
        _mm_movemask_epi8(_mm_cmplt_epi8(moved, _mm_set1_epi8(-128 + 26)))
    };
    (letters as u32).trailing_ones() as usize
}

/// How many of sixteen bytes are ASCII letters before the first that is none.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn ascii_letters(bytes: &[u8; 16]) -> usize {
    let bits = u128::from_le_bytes(*bytes);
    match ascii_letters_of_8(bits as u64) {
        8 => 8 + ascii_letters_of_8((bits >> 64) as u64),
        count => count,
    }
}

/// How many of eight bytes, from the lowest, are ASCII letters before the first that is none.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline(always)]
fn ascii_letters_of_8(word: u64) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let lower = (word | (0x20 * ONES)) & (0x7f * ONES);
    let from_a = lower + (0x80 - b'a' as u64) * ONES;
    let beyond_z = lower + (0x7f - b'z' as u64) * ONES;
    let letters = from_a & !beyond_z & !word & (0x80 * ONES);
    ((letters ^ (0x80 * ONES)).trailing_zeros() / 8) as usize
}

/// The code point of three bytes.
#[inline(always)]
pub fn code_point_of_3(a: u8, b: u8, c: u8) -> u32 {
    u32::from(a & 0x0f) << 12 | u32::from(b & 0x3f) << 6 | u32::from(c & 0x3f)
}

/// The code point and length of the character at `start` of valid UTF-8; a damaged one counts as one byte.
#[inline(always)]
pub fn decode(text: &[u8], start: usize) -> (u32, usize) {
    let bits = |byte: u8| u32::from(byte & 0x3f);
    match text.get(start..).unwrap_or_default() {
        [a, b, c, ..] if *a >= 0xe0 && *a < 0xf0 => (code_point_of_3(*a, *b, *c), 3),
        [a, ..] if *a < 0x80 => (u32::from(*a), 1),
        [a, b, ..] if *a >= 0xc0 && *a < 0xe0 => (u32::from(a & 0x1f) << 6 | bits(*b), 2),
        [a, b, c, d, ..] if *a >= 0xf0 => (u32::from(a & 0x07) << 18 | bits(*b) << 12 | bits(*c) << 6 | bits(*d), 4),
        [_, ..] => (0xfffd, 1),
        [] => (0, 0),
    }
}

#[cfg(test)]
#[path = "classes_tests.rs"]
mod tests;

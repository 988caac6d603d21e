//! Many pieces of ASCII at once: the classes of 64 bytes as bits, and from them, without a branch for each piece, the
//! bits of the bytes at which pieces begin.

/// Bytes that are looked at at once.
pub const WINDOW: usize = 64;

/// One bit a byte, the lowest for the first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Masks {
    pub letter: u64,
    pub number: u64,
    pub space: u64,
    /// U+0020.
    pub blank: u64,
    pub newline: u64,
    pub apostrophe: u64,
    /// Bytes beyond ASCII.
    pub wide: u64,
}

impl Masks {
    /// Everything else that is ASCII.
    pub fn sign(&self) -> u64 {
        !(self.letter | self.number | self.space | self.wide)
    }

    /// Positions whose being a beginning is decided by the window: the next byte is in it, and is ASCII, as are all
    /// before.
    pub fn decided(&self) -> u64 {
        let ascii = self.wide.trailing_zeros().min(WINDOW as u32);
        match ascii.checked_sub(1) {
            Some(last) => (1_u64 << last) - 1,
            None => 0,
        }
    }

    /// White space that reaches the end of the window's ASCII, but for its first byte: what is behind decides how it is
    /// split.
    #[inline(always)]
    pub fn open_space(&self) -> u64 {
        let ascii = self.wide.trailing_zeros().min(WINDOW as u32);
        let run = (self.space.checked_shl(WINDOW as u32 - ascii).unwrap_or(0)).leading_ones();
        let first = ascii - run;
        u64::MAX.checked_shl(first + 1).unwrap_or(0)
    }

    /// The masks of a window.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn of(window: &[u8; WINDOW]) -> Masks {
        use std::arch::x86_64::{
            _mm_add_epi8, _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x,
            _mm_set1_epi8,
        };
        let mut masks = Masks::default();
        for (at, bytes) in window.as_chunks::<16>().0.iter().enumerate() {
            let bits = u128::from_le_bytes(*bytes);
            // SAFETY: every x86-64 processor has SSE2.
            unsafe {
                let bytes = _mm_set_epi64x((bits >> 64) as i64, bits as i64);
                let lower = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
                // The first of a range becomes the least of all signed numbers.
                let within = |bytes, first: u8, count: i8| {
                    let moved = _mm_add_epi8(bytes, _mm_set1_epi8(0x80_u8.wrapping_sub(first) as i8));
                    _mm_cmplt_epi8(moved, _mm_set1_epi8(-128 + count))
                };
                let is = |byte: u8| _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8));
                let put = |mask: &mut u64, found| *mask |= (_mm_movemask_epi8(found) as u32 as u64) << (16 * at);
                put(&mut masks.letter, within(lower, b'a', 26));
                put(&mut masks.number, within(bytes, b'0', 10));
                put(&mut masks.space, _mm_or_si128(within(bytes, b'\t', 5), is(b' ')));
                put(&mut masks.blank, is(b' '));
                put(&mut masks.newline, _mm_or_si128(is(b'\n'), is(b'\r')));
                put(&mut masks.apostrophe, is(b'\''));
                put(&mut masks.wide, bytes);
            }
        }
        masks
    }

    /// The masks of a window.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn of(window: &[u8; WINDOW]) -> Masks {
        Masks::byte_by_byte(window)
    }

    #[cfg(any(test, not(target_arch = "x86_64")))]
    fn byte_by_byte(window: &[u8; WINDOW]) -> Masks {
        let mut masks = Masks::default();
        for (at, byte) in window.iter().enumerate() {
            let bit = |is: bool| u64::from(is) << at;
            masks.letter |= bit(byte.is_ascii_alphabetic());
            masks.number |= bit(byte.is_ascii_digit());
            masks.space |= bit(matches!(byte, b'\t'..=b'\r' | b' '));
            masks.blank |= bit(*byte == b' ');
            masks.newline |= bit(matches!(byte, b'\r' | b'\n'));
            masks.apostrophe |= bit(*byte == b'\'');
            masks.wide |= bit(!byte.is_ascii());
        }
        masks
    }
}

/// The positions behind others.
#[inline(always)]
pub fn behind(mask: u64) -> u64 {
    mask << 1
}

/// The positions before others.
#[inline(always)]
pub fn before(mask: u64) -> u64 {
    mask >> 1
}

/// Where runs begin.
#[inline(always)]
pub fn begins(mask: u64) -> u64 {
    mask & !behind(mask)
}

/// Corrects beginnings for contractions: where one begins, letters behind its own begin a piece, and those of its own do
/// not. `end` finds the end of one that begins at a place of the window.
#[inline(always)]
pub fn contractions(mut starts: u64, masks: &Masks, end: impl Fn(usize) -> Option<usize>) -> u64 {
    let mut candidates = starts & masks.apostrophe & before(masks.letter);
    while candidates != 0 {
        let at = candidates.trailing_zeros();
        candidates &= candidates - 1;
        if let Some(end) = end(at as usize) {
            starts &= !(1 << (at + 1));
            starts |= masks.letter & 1_u64.checked_shl(end as u32).unwrap_or(0);
        }
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::Random;
    use super::*;

    #[test]
    fn masks_say_what_each_byte_is() {
        let mut random = Random::new(1);
        for round in 0..500 {
            let window: [u8; WINDOW] = std::array::from_fn(|at| match round {
                0..4 => (round * WINDOW + at) as u8,
                _ => random.below(256) as u8,
            });
            let (found, expected) = (Masks::of(&window), Masks::byte_by_byte(&window));
            assert_eq!(format!("{found:?}"), format!("{expected:?}"));
        }
    }

    #[test]
    fn positions_are_decided_up_to_the_byte_before_the_last_of_ascii() {
        let decided = |wide: u64| Masks { wide, ..Masks::default() }.decided();
        let open = |space: u64, wide: u64| Masks { space, wide, ..Masks::default() }.open_space();
        assert_eq!((open(0, 0), open(0b111 << 61, 0), open(0b110, 1 << 3)), (0, 0b11 << 62, u64::MAX << 2));
        assert_eq!((decided(0), decided(1 << 5), decided(1 << 1), decided(1)), (u64::MAX >> 1, 0b1111, 0, 0));
    }
}

//! The innermost loop of reading: the next byte of a JSON string that is not plain.

/// Index, at or after `from`, of the first byte that ends a run of plain string content: a quote, a backslash or a
/// control byte; the length where there is none.
///
/// 32 bytes a step in a form that compilers vectorise on every target, then 8 bytes a step to find the place.
#[inline]
pub fn next_special(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(chunk) = bytes.get(at..at + 32) {
        if chunk.iter().fold(false, |any, byte| any | is_special(*byte)) {
            break;
        }
        at += 32;
    }
    while let Some(word) = bytes.get(at..at + 8).and_then(|word| <[u8; 8]>::try_from(word).ok()) {
        let hits = special_mask(u64::from_le_bytes(word));
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len())
}

#[inline]
fn is_special(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// The high bit of the first special byte of a little-endian word; bits above it may be false.
#[inline]
fn special_mask(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = zero_bytes(word ^ (ONES * b'"' as u64));
    let backslash = zero_bytes(word ^ (ONES * b'\\' as u64));
    (control | quote | backslash) & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_is_told_apart() {
        for byte in 0..=255_u8 {
            for place in 0..80 {
                let mut bytes = [b'a'; 80];
                bytes[place] = byte;
                let expected = if is_special(byte) { place } else { 80 };
                assert_eq!(next_special(&bytes, 0), expected, "byte {byte} at {place}");
            }
        }
    }

    #[test]
    fn the_first_of_several_is_found_whatever_follows_it() {
        let bytes = "好\u{80}\u{ff}abc\"\\\u{1}\"".as_bytes();
        assert_eq!(next_special(bytes, 0), 10);
        assert_eq!(next_special(bytes, 11), 11);
        assert_eq!(next_special(bytes, bytes.len()), bytes.len());
    }
}

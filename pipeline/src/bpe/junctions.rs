//! Between which characters a merge can ever happen: a quick "these two may stand side by side" for Chinese and its
//! like, where most neighbours of characters are inside no token.

/// Two characters of three bytes each: what lies within six bytes.
const BYTES: usize = 6;
/// 64 KiB of bits: a false "a merge may happen" costs time only.
const WORDS: usize = 1 << 13;

/// The borders between characters that lie inside tokens.
pub struct Junctions {
    /// Bits of a hash of both characters.
    whole: Box<[u64; WORDS]>,
    /// For the last byte of the left and the first of the right: whether a token holds a border of these with less than
    /// both characters around it.
    partial: Box<[bool; 1 << 16]>,
}

impl Default for Junctions {
    fn default() -> Junctions {
        Junctions { whole: super::memo::boxed(0), partial: super::memo::boxed(false) }
    }
}

/// Whether six bytes are two characters of three.
#[inline(always)]
fn are_two_chars(bytes: &[u8; BYTES]) -> bool {
    bytes[0] >= 0xe0 && bytes[0] < 0xf0 && bytes[3] >= 0xe0 && bytes[3] < 0xf0 && bytes[1] >= 0x80 && bytes[1] < 0xc0
}

#[inline(always)]
fn bit_of(bytes: &[u8; BYTES]) -> (usize, u64) {
    let [a, b, c, d, e, f] = *bytes;
    let hash = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((hash >> 51) as usize % WORDS, 1 << (hash >> 45 & 63))
}

#[inline(always)]
fn border_of(left: u8, right: u8) -> usize {
    usize::from(left) << 8 | usize::from(right)
}

impl Junctions {
    /// Adds the borders inside a token.
    pub fn add(&mut self, token: &[u8]) {
        for border in 1..token.len() {
            let around = border.checked_sub(3).and_then(|start| token.get(start..)?.first_chunk::<BYTES>());
            match (around, token.get(border - 1), token.get(border)) {
                (Some(bytes), ..) if are_two_chars(bytes) => {
                    let (word, bit) = bit_of(bytes);
                    self.whole[word] |= bit;
                }
                (_, Some(left), Some(right)) => self.partial[border_of(*left, *right)] = true,
                _ => {}
            }
        }
    }

    /// Whether no merge ever crosses the border at `at`; false also where this table does not know.
    #[inline(always)]
    pub fn never_merges(&self, text: &[u8], at: usize) -> bool {
        let around = at.checked_sub(3).and_then(|start| text.get(start..)?.first_chunk::<BYTES>());
        around.is_some_and(|bytes| {
            let (word, bit) = bit_of(bytes);
            are_two_chars(bytes) && self.whole[word] & bit == 0 && !self.partial[border_of(bytes[2], bytes[3])]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_border_inside_a_token_may_merge_and_others_never_do() {
        let mut junctions = Junctions::default();
        junctions.add("\u{4f60}\u{597d}a".as_bytes());
        junctions.add(b"\x96\xe7\x95");
        let text = "\u{4f60}\u{597d}\u{4f60}\u{4e16}\u{7528}".as_bytes();
        let never: Vec<usize> = (0..=text.len()).filter(|at| junctions.never_merges(text, *at)).collect();
        assert_eq!(never, [6, 9]);
    }
}

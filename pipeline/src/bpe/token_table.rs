//! Short tokens by their bytes: one look where the trie takes one a character, for words that are tokens.

/// Longest token in the table, in bytes: with its id it is one entry of 16 bytes.
const BYTES_MAX: usize = 12;
/// An id has the bits above a token's bytes, and its length those above the id.
const ID_SHIFT: u32 = 8 * BYTES_MAX as u32;
const LENGTH_SHIFT: u32 = 120;
const ID_MASK: u128 = 0xff_ffff << ID_SHIFT;

/// A hash table, at most half full.
pub struct TokenTable {
    /// Bytes, id and length, 0 where there is none.
    slots: Vec<u128>,
}

impl Default for TokenTable {
    fn default() -> TokenTable {
        TokenTable { slots: vec![0] }
    }
}

impl TokenTable {
    /// A table of tokens with their bytes; longer ones are left out.
    pub fn new<'a>(tokens: impl Iterator<Item = (u32, &'a [u8])> + Clone) -> TokenTable {
        let short = tokens.filter(|(_, bytes)| (1..=BYTES_MAX).contains(&bytes.len()));
        let mut table = TokenTable { slots: vec![0; (short.clone().count() * 2).next_power_of_two().max(2)] };
        for (id, bytes) in short {
            let mut padded = [0; 16];
            padded.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            let key = u128::from_le_bytes(padded) | (bytes.len() as u128) << LENGTH_SHIFT;
            let slot = table.find(key);
            if let Some(entry) = table.slots.get_mut(slot) {
                *entry = key | u128::from(id) << ID_SHIFT;
            }
        }
        table
    }

    /// The token of a piece's key: its bytes, zeros behind them, and in the highest byte the length.
    #[inline(always)]
    pub fn get(&self, key: u128) -> Option<u32> {
        if key >> LENGTH_SHIFT > BYTES_MAX as u128 {
            return None;
        }
        let entry = self.slots.get(self.find(key)).copied().unwrap_or(0);
        (entry != 0).then_some((entry >> ID_SHIFT) as u32 & 0xff_ffff)
    }

    /// The slot of a key, or the empty one where it would stand.
    #[inline(always)]
    fn find(&self, key: u128) -> usize {
        let mask = self.slots.len() - 1;
        let product = (key as u64 ^ (key >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut slot = (product >> 32) as usize & mask;
        while self.slots.get(slot).is_some_and(|entry| *entry != 0 && *entry & !ID_MASK != key) {
            slot = (slot + 1) & mask;
        }
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::super::memo::Key;
    use super::*;

    #[test]
    fn a_token_is_found_by_its_bytes_and_nothing_else_is() {
        let tokens: Vec<Vec<u8>> =
            (0..5_000_u32).map(|at| at.to_string().repeat(1 + at as usize % 3).into_bytes()).collect();
        let mut known: Vec<&[u8]> = tokens.iter().map(Vec::as_slice).collect();
        known.sort_unstable();
        known.dedup();
        let table = TokenTable::new((0..).zip(known.iter().copied()));
        for (id, bytes) in (0..).zip(&known) {
            let expected = Some(id).filter(|_| bytes.len() <= BYTES_MAX);
            assert_eq!(table.get(Key::of(bytes, 0, bytes.len()).bits()), expected);
        }
        for other in [&b""[..], b"a", b"00", b"5000", b"12\0", b"123456789012", b"1234567890123"] {
            assert_eq!(table.get(Key::of(other, 0, other.len()).bits()), None, "{other:?}");
        }
    }
}

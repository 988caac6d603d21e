//! Token ids as bytes: little-endian, two or four bytes each.

use schemas::dtype::Dtype;

/// Appends ids as little-endian bytes.
///
/// # Errors
/// The first id that does not fit the width; nothing is appended then.
pub fn encode(ids: &[u32], dtype: Dtype, bytes: &mut Vec<u8>) -> Result<(), u32> {
    if let Some(id) = ids.iter().find(|id| **id > dtype.max_id()) {
        return Err(*id);
    }
    bytes.reserve(ids.len() * dtype.token_bytes());
    match dtype {
        Dtype::U16 => bytes.extend(ids.iter().flat_map(|id| (*id as u16).to_le_bytes())),
        Dtype::U32 => bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes())),
    }
    Ok(())
}

/// The ids in little-endian bytes; bytes after the last whole id are not looked at.
pub fn decode(bytes: &[u8], dtype: Dtype) -> impl Iterator<Item = u32> + '_ {
    bytes
        .chunks_exact(dtype.token_bytes())
        .map(|token| token.iter().rev().fold(0, |id, byte| id << 8 | u32::from(*byte)))
}

/// The first id that is not below `vocab_size`, with its position in tokens.
pub fn first_outside(bytes: &[u8], dtype: Dtype, vocab_size: u32) -> Option<(u64, u32)> {
    if largest(bytes, dtype).is_none_or(|id| id < vocab_size) {
        return None;
    }
    let mut ids = (0..).zip(decode(bytes, dtype));
    ids.find(|(_, id)| *id >= vocab_size)
}

/// Largest id: a plain maximum, which compilers vectorise, decides for nearly all shards.
fn largest(bytes: &[u8], dtype: Dtype) -> Option<u32> {
    match dtype {
        Dtype::U16 => bytes.as_chunks::<2>().0.iter().map(|token| u16::from_le_bytes(*token)).max().map(u32::from),
        Dtype::U32 => bytes.as_chunks::<4>().0.iter().map(|token| u32::from_le_bytes(*token)).max(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_little_endian() {
        let mut bytes = Vec::new();
        encode(&[1, 0xfffe], Dtype::U16, &mut bytes).unwrap();
        encode(&[0x0102_0304], Dtype::U32, &mut bytes).unwrap();
        assert_eq!(bytes, [1, 0, 0xfe, 0xff, 4, 3, 2, 1]);
        assert_eq!(decode(&bytes[..4], Dtype::U16).collect::<Vec<u32>>(), [1, 0xfffe]);
        assert_eq!(decode(&bytes[4..], Dtype::U32).collect::<Vec<u32>>(), [0x0102_0304]);
    }

    #[test]
    fn an_id_that_does_not_fit_is_refused_and_nothing_is_appended() {
        let mut bytes = Vec::new();
        assert_eq!(encode(&[5, 70_000], Dtype::U16, &mut bytes), Err(70_000));
        assert_eq!(encode(&[1 << 31], Dtype::U32, &mut bytes), Err(1 << 31));
        assert!(bytes.is_empty());
    }

    #[test]
    fn the_first_id_outside_the_vocabulary_is_found() {
        let mut bytes = Vec::new();
        encode(&[3, 9, 10, 12], Dtype::U16, &mut bytes).unwrap();
        assert_eq!(first_outside(&bytes, Dtype::U16, 10), Some((2, 10)));
        assert_eq!(first_outside(&bytes, Dtype::U16, 13), None);
    }
}

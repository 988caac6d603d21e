//! Precisions of matrices: f32, f16, and blocks of 32 eight-bit integers with one f16 scale.

use half::f16;
use rayon::prelude::*;

/// Elements of a block.
const BLOCK: usize = 32;
/// Bytes of a block: the scale, then the integers.
const BLOCK_BYTES: usize = 2 + BLOCK;

/// How matrices are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Encoding {
    /// Four bytes an element.
    F32,
    /// Two.
    F16,
    /// A little over one: blocks of 32 integers of 8 bits and a scale.
    #[value(name = "q8_0")]
    Q8_0,
}

impl Encoding {
    /// The encoding of a tensor of this shape: norms stay f32, rows that are no whole blocks f16.
    pub fn of(self, shape: &[usize]) -> Encoding {
        match (shape, self) {
            ([_], _) => Encoding::F32,
            (_, Encoding::Q8_0) if !shape.last().is_some_and(|columns| columns.is_multiple_of(BLOCK)) => Encoding::F16,
            _ => self,
        }
    }

    /// ggml's number for the type.
    pub fn type_number(self) -> u32 {
        match self {
            Encoding::F32 => 0,
            Encoding::F16 => 1,
            Encoding::Q8_0 => 8,
        }
    }

    /// llama.cpp's number for a file that is mostly of this type.
    pub fn file_type(self) -> u32 {
        match self {
            Encoding::F32 => 0,
            Encoding::F16 => 1,
            Encoding::Q8_0 => 7,
        }
    }

    /// Bytes of `elements` elements.
    pub fn bytes(self, elements: usize) -> u64 {
        (match self {
            Encoding::F32 => 4 * elements,
            Encoding::F16 => 2 * elements,
            Encoding::Q8_0 => elements / BLOCK * BLOCK_BYTES,
        }) as u64
    }

    /// The bytes of a tensor.
    pub fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Encoding::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Encoding::F16 => values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
            Encoding::Q8_0 => {
                let mut out = vec![0; values.len() / BLOCK * BLOCK_BYTES];
                out.par_chunks_exact_mut(BLOCK_BYTES).zip(values.par_chunks_exact(BLOCK)).for_each(block);
                out
            }
        }
    }
}

/// The largest magnitude becomes 127; the integers are rounded to nearest with the scale before its own rounding, as
/// ggml does.
fn block((out, values): (&mut [u8], &[f32])) {
    let scale = values.iter().fold(0f32, |most, value| most.max(value.abs())) / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    out[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    for (byte, value) in out[2..].iter_mut().zip(values) {
        *byte = ((value * inverse).round() as i8) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_the_largest_element_and_round_the_rest() {
        let mut values = vec![0f32; BLOCK];
        (values[0], values[1], values[2]) = (-127.0, 0.5, 63.4);
        let bytes = Encoding::Q8_0.encode(&values);
        assert_eq!(bytes.len(), BLOCK_BYTES);
        assert_eq!(f16::from_le_bytes([bytes[0], bytes[1]]).to_f32(), 1.0);
        assert_eq!([bytes[2] as i8, bytes[3] as i8, bytes[4] as i8, bytes[5] as i8], [-127, 1, 63, 0]);
        assert_eq!(Encoding::Q8_0.encode(&[0.0; BLOCK]), [0; BLOCK_BYTES]);
    }

    #[test]
    fn norms_and_odd_rows_keep_more_precision() {
        assert_eq!(Encoding::Q8_0.of(&[64]), Encoding::F32);
        assert_eq!(Encoding::Q8_0.of(&[8, 48]), Encoding::F16);
        assert_eq!(Encoding::Q8_0.of(&[8, 64]), Encoding::Q8_0);
    }
}

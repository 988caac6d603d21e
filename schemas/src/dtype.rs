//! The width of a token id on disk.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Width of a token id in `.bin` files and in the `tokens` column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// Two bytes, little-endian; Megatron's dtype code 8.
    #[default]
    U16,
    /// Four bytes, little-endian; Megatron's dtype code 4 (its readers take it as i32).
    U32,
}

impl Dtype {
    /// Bytes of one token.
    pub const fn token_bytes(self) -> usize {
        match self {
            Dtype::U16 => 2,
            Dtype::U32 => 4,
        }
    }

    /// The code of this width in a Megatron-Core `.idx` header.
    pub const fn megatron_code(self) -> u8 {
        match self {
            Dtype::U16 => 8,
            Dtype::U32 => 4,
        }
    }

    /// The width a Megatron-Core `.idx` header names, if it is one of ours.
    pub const fn from_megatron_code(code: u8) -> Option<Dtype> {
        match code {
            8 => Some(Dtype::U16),
            4 => Some(Dtype::U32),
            _ => None,
        }
    }

    /// The largest token id that fits. Megatron reads u32 files as i32, hence the bound.
    pub const fn max_id(self) -> u32 {
        match self {
            Dtype::U16 => u16::MAX as u32,
            Dtype::U32 => i32::MAX as u32,
        }
    }

    /// `u16` or `u32`.
    pub const fn name(self) -> &'static str {
        match self {
            Dtype::U16 => "u16",
            Dtype::U32 => "u32",
        }
    }
}

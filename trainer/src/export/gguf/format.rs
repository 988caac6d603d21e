//! The container: header, typed metadata, tensor table, aligned tensor data. Version 3, little-endian.
//!
//! Source of the layout: ggml's `docs/gguf.md`.

use std::path::Path;

use super::quantize::Encoding;
use crate::checkpoint::Named;
use crate::error::Result;

const MAGIC: &[u8; 4] = b"GGUF";
const VERSION: u32 = 3;
/// Tensor data starts at multiples of this, the default where `general.alignment` is not given.
const ALIGNMENT: u64 = 32;

/// A metadata value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    I32s(Vec<i32>),
}

impl Value {
    /// The format's number for the type.
    fn type_number(&self) -> u32 {
        match self {
            Value::U32(_) => 4,
            Value::F32(_) => 6,
            Value::Bool(_) => 7,
            Value::Text(_) => 8,
            Value::Texts(_) | Value::I32s(_) => 9,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Value::U32(value) => out.extend(value.to_le_bytes()),
            Value::F32(value) => out.extend(value.to_le_bytes()),
            Value::Bool(value) => out.push(u8::from(*value)),
            Value::Text(value) => text(out, value),
            Value::Texts(values) => {
                out.extend(8u32.to_le_bytes());
                out.extend((values.len() as u64).to_le_bytes());
                values.iter().for_each(|value| text(out, value));
            }
            Value::I32s(values) => {
                out.extend(5u32.to_le_bytes());
                out.extend((values.len() as u64).to_le_bytes());
                out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
        }
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Metadata, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata(Vec<(&'static str, Value)>);

impl Metadata {
    /// None yet.
    pub fn new() -> Metadata {
        Metadata::default()
    }

    /// Adds a value.
    pub fn add(&mut self, key: &'static str, value: Value) {
        self.0.push((key, value));
    }
}

/// A file to be written.
pub struct File<'a> {
    /// What it says of the model.
    pub metadata: Metadata,
    /// Under the format's names.
    pub tensors: &'a [Named<'a>],
    /// Of matrices.
    pub encoding: Encoding,
}

impl File<'_> {
    fn header(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.0.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata.0 {
            text(&mut out, key);
            out.extend(value.type_number().to_le_bytes());
            value.encode(&mut out);
        }
        let mut offset = 0u64;
        for tensor in self.tensors {
            let encoding = self.encoding.of(&tensor.shape);
            text(&mut out, &tensor.name);
            out.extend((tensor.shape.len() as u32).to_le_bytes());
            // The fastest dimension comes first.
            out.extend(tensor.shape.iter().rev().flat_map(|&size| (size as u64).to_le_bytes()));
            out.extend(encoding.type_number().to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset += encoding.bytes(tensor.values.len()).next_multiple_of(ALIGNMENT);
        }
        out.resize(out.len().next_multiple_of(ALIGNMENT as usize), 0);
        out
    }

    /// Writes the file, one tensor in memory at a time.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut file = shards::commit::AtomicFile::create(path)?;
        file.append(&self.header())?;
        for tensor in self.tensors {
            let mut bytes = self.encoding.of(&tensor.shape).encode(&tensor.values);
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT as usize), 0);
            file.append(&bytes)?;
        }
        file.commit()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded_with_explicit_widths() {
        let encoded = |value: Value| {
            let mut out = Vec::new();
            value.encode(&mut out);
            out
        };
        assert_eq!(encoded(Value::U32(258)), [2, 1, 0, 0]);
        assert_eq!(encoded(Value::Text("ab".into())), [2, 0, 0, 0, 0, 0, 0, 0, b'a', b'b']);
        assert_eq!(encoded(Value::I32s(vec![-1])), [5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]);
        assert_eq!(encoded(Value::Texts(vec![]))[..4], [8, 0, 0, 0]);
    }
}

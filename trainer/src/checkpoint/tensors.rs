//! Safetensors files of `f32`, written from slices and read with every name and shape checked.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, View, serialize_to_file};

use crate::error::{Error, Result};

/// A tensor to be written.
pub struct Named<'a> {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements, in row-major order.
    pub values: Cow<'a, [f32]>,
}

impl View for &Named<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()
    }

    fn data_len(&self) -> usize {
        self.values.len() * size_of::<f32>()
    }
}

/// Writes tensors to a new file and makes it durable.
pub fn write(path: &Path, tensors: &[Named]) -> Result<()> {
    let views = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor));
    // Tools of the field look for this key.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    serialize_to_file(views, Some(metadata), path).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => Error::Io { path: path.to_path_buf(), source },
        other => Error::TensorFile { path: path.to_path_buf(), problem: other.to_string() },
    })?;
    super::files::sync(path)
}

/// Tensors of a file, by name.
pub struct TensorFile<'a> {
    path: &'a Path,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl<'a> TensorFile<'a> {
    /// Reads a whole file.
    ///
    /// # Errors
    /// Where it cannot be read, is cut off, or holds another precision than f32 or bf16.
    pub fn read(path: &'a Path) -> Result<TensorFile<'a>> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let broken = |error: safetensors::SafeTensorError| Error::TensorFile {
            path: path.to_path_buf(),
            problem: error.to_string(),
        };
        let file = SafeTensors::deserialize(&bytes).map_err(broken)?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let values = match view.dtype() {
                Dtype::F32 => f32_of_f32(view.data()),
                Dtype::BF16 => f32_of_bf16(view.data()),
                other => {
                    let (path, name, expected) = (path.to_path_buf(), name.to_owned(), "F32 or BF16");
                    return Err(Error::TensorDtype { path, name, expected, found: format!("{other:?}") });
                }
            };
            tensors.insert(name.to_owned(), (view.shape().to_vec(), values));
        }
        Ok(TensorFile { path, tensors })
    }

    /// Takes a tensor out of the file, checking its shape.
    ///
    /// # Errors
    /// Where it is missing or shaped otherwise.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let Some((found, values)) = self.tensors.remove(name) else {
            return Err(Error::TensorMissing { path: self.path.to_path_buf(), name: name.to_owned() });
        };
        if found != shape {
            let (path, name, expected) = (self.path.to_path_buf(), name.to_owned(), shape.to_vec());
            return Err(Error::TensorShape { path, name, expected, found });
        }
        Ok(values)
    }

    /// Ends reading: what was not taken is not part of the model, but for `allowed`.
    ///
    /// # Errors
    /// Where a tensor is left.
    pub fn finish(self, allowed: &[&str]) -> Result<()> {
        match self.tensors.into_keys().find(|name| !allowed.contains(&name.as_str())) {
            Some(name) => Err(Error::TensorUnknown { path: self.path.to_path_buf(), name }),
            None => Ok(()),
        }
    }
}

fn f32_of_f32(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn f32_of_bf16(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|b| f32::from_le_bytes([0, 0, b[0], b[1]])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_is_the_upper_half_of_f32() {
        assert_eq!(f32_of_bf16(&[0x80, 0x3f, 0x00, 0xc0]), [1.0, -2.0]);
    }

    #[test]
    fn tensors_round_trip_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let values = vec![1.5f32, -0.0, f32::MIN_POSITIVE, 3e38, 0.1, 7.0];
        write(&path, &[Named { name: "a".into(), shape: vec![2, 3], values: Cow::Borrowed(&values) }]).unwrap();
        let mut file = TensorFile::read(&path).unwrap();
        let read = file.take("a", &[2, 3]).unwrap();
        assert_eq!(
            read.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
            values.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        );
        file.finish(&[]).unwrap();
    }
}

//! Safetensors files of `f32`, written from slices and read with every name and shape checked.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, View, serialize_to_file};
use serde::Deserialize;

use super::{INDEX_FILE, MODEL_FILE};

use crate::error::{Error, Result};

/// A tensor to be written.
#[derive(Debug, Clone)]
pub struct Named<'a> {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements, in row-major order.
    pub values: Cow<'a, [f32]>,
}

/// How weights are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Precision {
    /// Four bytes an element, exact.
    #[value(name = "float32", alias = "f32")]
    Float32,
    /// The upper two bytes of a float32, rounded to nearest.
    #[value(name = "bfloat16", alias = "bf16")]
    BFloat16,
    /// IEEE half precision.
    #[value(name = "float16", alias = "f16")]
    Float16,
}

impl Precision {
    /// PyTorch's name.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Float32 => "float32",
            Precision::BFloat16 => "bfloat16",
            Precision::Float16 => "float16",
        }
    }

    /// Bytes of an element.
    pub fn bytes(self) -> u64 {
        if self == Precision::Float32 { 4 } else { 2 }
    }
}

/// A tensor on its way to a file.
struct Written<'a>(&'a Named<'a>, Precision);

impl View for Written<'_> {
    fn dtype(&self) -> Dtype {
        match self.1 {
            Precision::Float32 => Dtype::F32,
            Precision::BFloat16 => Dtype::BF16,
            Precision::Float16 => Dtype::F16,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = self.0.values.iter();
        match self.1 {
            Precision::Float32 => values.flat_map(|value| value.to_le_bytes()).collect(),
            Precision::BFloat16 => values.flat_map(|value| half::bf16::from_f32(*value).to_le_bytes()).collect(),
            Precision::Float16 => values.flat_map(|value| half::f16::from_f32(*value).to_le_bytes()).collect(),
        }
    }

    fn data_len(&self) -> usize {
        self.0.values.len() * self.1.bytes() as usize
    }
}

/// Writes tensors to a new file of float32 and makes it durable.
pub fn write(path: &Path, tensors: &[Named]) -> Result<()> {
    write_as(path, tensors, Precision::Float32)
}

/// Writes tensors to a new file and makes it durable.
///
/// # Errors
/// Where it cannot be written.
pub fn write_as(path: &Path, tensors: &[Named], precision: Precision) -> Result<()> {
    let views = tensors.iter().map(|tensor| (tensor.name.as_str(), Written(tensor, precision)));
    // Tools of the field look for this key.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    serialize_to_file(views, Some(metadata), path).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => Error::Io { path: path.to_path_buf(), source },
        other => Error::TensorFile { path: path.to_path_buf(), problem: other.to_string() },
    })?;
    super::files::sync(path)
}

/// Tensors of a file, or of the files of a folder, by name.
pub struct TensorFile {
    path: PathBuf,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

/// Where each tensor lies, when a model has several files.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The precisions that are read; all become f32.
const READABLE: &str = "F32, BF16 or F16";

impl TensorFile {
    /// Reads a whole file.
    ///
    /// # Errors
    /// Where it cannot be read, is cut off, or holds another precision than f32, bf16 or f16.
    pub fn read(path: &Path) -> Result<TensorFile> {
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
                Dtype::F16 => f32_of_f16(view.data()),
                other => {
                    let (path, name) = (path.to_path_buf(), name.to_owned());
                    return Err(Error::TensorDtype { path, name, expected: READABLE, found: format!("{other:?}") });
                }
            };
            tensors.insert(name.to_owned(), (view.shape().to_vec(), values));
        }
        Ok(TensorFile { path: path.to_path_buf(), tensors })
    }

    /// Reads a model's weights: `model.safetensors`, or the files that `model.safetensors.index.json` lists.
    ///
    /// # Errors
    /// As [`TensorFile::read`]; [`Error::Pickle`] where the folder has pickled weights only.
    pub fn read_folder(folder: &Path) -> Result<TensorFile> {
        let single = folder.join(MODEL_FILE);
        let index = folder.join(INDEX_FILE);
        if single.is_file() || !index.is_file() {
            if let (false, Some(path)) = (single.is_file(), pickle_in(folder)) {
                return Err(Error::Pickle { path });
            }
            return TensorFile::read(&single);
        }
        TensorFile::read_sharded(folder, index)
    }

    fn read_sharded(folder: &Path, index: PathBuf) -> Result<TensorFile> {
        let json = |problem: String| Error::Json { path: index.clone(), problem };
        let bytes = std::fs::read(&index).map_err(Error::io(&index))?;
        let listed: Index = serde_json::from_slice(&bytes).map_err(|error| json(error.to_string()))?;
        let mut files: Vec<&String> = listed.weight_map.values().collect();
        files.sort();
        files.dedup();
        let mut tensors = BTreeMap::new();
        for name in files {
            // A name is one of a file beside the index, never a path elsewhere.
            if Path::new(name).file_name() != Some(name.as_ref()) {
                return Err(json(format!("weight_map: {name:?} is no plain file name")));
            }
            tensors.extend(TensorFile::read(&folder.join(name))?.tensors);
        }
        if let Some(name) = listed.weight_map.keys().find(|name| !tensors.contains_key(*name)) {
            return Err(Error::TensorMissing { path: index.clone(), name: name.clone() });
        }
        Ok(TensorFile { path: index, tensors })
    }

    /// The names and shapes.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, (shape, _))| (name.as_str(), shape.as_slice()))
    }

    /// The values of a tensor.
    pub fn get(&self, name: &str) -> Option<&[f32]> {
        self.tensors.get(name).map(|(_, values)| values.as_slice())
    }

    /// The same tensors by other names; `None` leaves one out.
    pub fn renamed(self, name: impl Fn(&str) -> Option<String>) -> TensorFile {
        let rename = |(old, tensor): (String, _)| Some((name(&old)?, tensor));
        TensorFile { path: self.path, tensors: self.tensors.into_iter().filter_map(rename).collect() }
    }

    /// Changes the values of the tensors that `change` returns something for.
    pub fn changed(mut self, change: impl Fn(&str, &[usize], &[f32]) -> Option<Vec<f32>>) -> TensorFile {
        for (name, (shape, values)) in &mut self.tensors {
            if let Some(new) = change(name, shape, values) {
                *values = new;
            }
        }
        self
    }

    /// Takes a tensor out of the file, checking its shape.
    ///
    /// # Errors
    /// Where it is missing or shaped otherwise.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let Some((found, values)) = self.tensors.remove(name) else {
            return Err(Error::TensorMissing { path: self.path.clone(), name: name.to_owned() });
        };
        if found != shape {
            let (path, name, expected) = (self.path.clone(), name.to_owned(), shape.to_vec());
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
            Some(name) => Err(Error::TensorUnknown { path: self.path, name }),
            None => Ok(()),
        }
    }
}

fn f32_of_f32(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn f32_of_f16(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
}

fn f32_of_bf16(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|b| f32::from_le_bytes([0, 0, b[0], b[1]])).collect()
}

/// The first pickled weight file of a folder.
fn pickle_in(folder: &Path) -> Option<PathBuf> {
    let is_pickle = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("bin" | "pth" | "pt" | "ckpt"))
    };
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    found.sort();
    found.into_iter().find(is_pickle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_is_the_upper_half_of_f32() {
        assert_eq!(f32_of_bf16(&[0x80, 0x3f, 0x00, 0xc0]), [1.0, -2.0]);
    }

    #[test]
    fn f16_is_read_with_its_subnormals() {
        assert_eq!(f32_of_f16(&[0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00]), [1.0, -2.0, 2f32.powi(-24)]);
    }

    fn named(name: &str, values: &[f32]) -> Named<'static> {
        Named { name: name.into(), shape: vec![values.len()], values: Cow::Owned(values.to_vec()) }
    }

    #[test]
    fn the_files_of_an_index_are_read_as_one() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("model-1.safetensors"), &[named("a", &[1.0])]).unwrap();
        write(&folder.path().join("model-2.safetensors"), &[named("b", &[2.0])]).unwrap();
        let index = |map: &str| {
            std::fs::write(folder.path().join(INDEX_FILE), format!("{{\"weight_map\": {map}}}")).unwrap();
            TensorFile::read_folder(folder.path())
        };
        let mut file = index(r#"{"a": "model-1.safetensors", "b": "model-2.safetensors"}"#).unwrap();
        assert_eq!((file.take("a", &[1]).unwrap(), file.take("b", &[1]).unwrap()), (vec![1.0], vec![2.0]));
        let missing = index(r#"{"a": "model-1.safetensors", "c": "model-2.safetensors"}"#).err().unwrap();
        assert!(matches!(missing, Error::TensorMissing { name, .. } if name == "c"));
        assert!(matches!(index(r#"{"a": "../model-1.safetensors"}"#), Err(Error::Json { .. })));
        assert!(matches!(index("[]"), Err(Error::Json { .. })));
    }

    #[test]
    fn pickled_weights_are_refused_with_the_way_to_convert_them() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pytorch_model.bin"), b"\x80\x02").unwrap();
        let error = TensorFile::read_folder(folder.path()).err().unwrap();
        assert!(matches!(error, Error::Pickle { .. }) && error.hint().unwrap().contains("save_file"), "{error}");
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

//! Tensors as `f32` slices and back, for the fused operations.

use std::ops::Deref;

use candle_core::{CpuStorage, Device, Layout, Result, Shape, Storage, Tensor, bail};

/// The contiguous `f32` elements of a CPU storage.
pub fn of_storage<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else { bail!("a fused operation wants contiguous input") };
    match storage {
        CpuStorage::F32(values) => values.get(start..end).ok_or_else(|| candle_core::Error::msg("storage too short")),
        other => bail!("a fused operation wants f32, not {:?}", candle_core::backend::BackendStorage::dtype(other)),
    }
}

/// Read access to a tensor's elements.
struct Elements<G> {
    storage: G,
    start: usize,
    end: usize,
}

impl<G: Deref<Target = Storage>> Deref for Elements<G> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.start..self.end],
            _ => &[],
        }
    }
}

/// The elements of a contiguous CPU tensor of `f32`.
pub fn of_tensor(tensor: &Tensor) -> Result<impl Deref<Target = [f32]>> {
    let (storage, layout) = tensor.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else { bail!("a fused operation wants contiguous input") };
    match &*storage {
        Storage::Cpu(cpu) => of_storage(cpu, layout)?,
        _ => bail!("a fused operation wants a tensor on the CPU"),
    };
    Ok(Elements { storage, start, end })
}

/// A CPU tensor of the elements, without copying them.
pub fn into_tensor(values: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(values, shape.into(), &Device::Cpu)
}

/// What a fused forward returns: the elements and their shape.
pub fn into_storage(values: Vec<f32>, shape: impl Into<Shape>) -> (CpuStorage, Shape) {
    (CpuStorage::F32(values), shape.into())
}

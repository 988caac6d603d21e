//! Models for others: [`hugging_face`] writes the folder that `transformers` opens, in the precision asked for and in
//! files of bounded size; [`gguf`] writes the one file that llama.cpp opens.

pub mod gguf;
pub mod hugging_face;

use candle_core::Tensor;

use crate::checkpoint::Named;
use crate::error::Result;
use crate::model::Parameters;

/// The elements of a weight, in row-major order.
fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.flatten_all()?.to_vec1::<f32>()?)
}

/// Every weight by its name, as it lies in memory.
fn named(parameters: &Parameters) -> Result<Vec<Named<'static>>> {
    let of = |parameter: &crate::model::Parameter| {
        let values = values(parameter.var.as_tensor())?.into();
        Ok(Named { name: parameter.name.clone(), shape: parameter.var.dims().to_vec(), values })
    };
    parameters.iter().map(of).collect()
}

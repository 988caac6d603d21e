//! Where and in what precision a run computes: checked before any work, and the step for it.

#[cfg(any(test, feature = "cuda"))]
use super::cuda::{CudaConfig, CudaStep, Device, Element, check_supported};
use super::step::EngineStep;
use crate::config::{ModelConfig, TrainConfig};
use crate::error::{Error, Result};
use crate::model::Llama;
use crate::optimizer::AdamW;
use crate::train::{AutogradStep, TrainStep};

/// A device and a precision that can be had here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compute {
    device: String,
    dtype: Dtype,
}

/// `--dtype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dtype {
    Bfloat16,
    Float16,
    Float32,
}

const CPU: &str = "cpu";

/// The CUDA kernels on the CPU, which tests compute with.
#[cfg(test)]
const EMULATOR: &str = "emulator";

impl Dtype {
    fn new(name: &str) -> Result<Dtype> {
        match name {
            "bfloat16" => Ok(Dtype::Bfloat16),
            "float16" => Ok(Dtype::Float16),
            "float32" => Ok(Dtype::Float32),
            _ => {
                let problem = format!("`{name}` is not supported, only bfloat16, float16 and float32");
                Err(Error::Config { field: "dtype", problem })
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Dtype::Bfloat16 => "bfloat16",
            Dtype::Float16 => "float16",
            Dtype::Float32 => "float32",
        }
    }

    #[cfg(any(test, feature = "cuda"))]
    fn element(self) -> Element {
        match self {
            Dtype::Bfloat16 => Element::Bf16,
            Dtype::Float16 => Element::F16,
            Dtype::Float32 => Element::F32,
        }
    }
}

fn refused(device: &str, problem: impl Into<String>) -> Error {
    Error::Device { device: device.to_owned(), problem: problem.into() }
}

impl Compute {
    /// The CPU in `float32`.
    pub fn cpu() -> Compute {
        Compute { device: CPU.to_owned(), dtype: Dtype::Float32 }
    }

    /// The CUDA kernels in the CPU emulator, in `float32`.
    #[cfg(test)]
    pub fn emulator() -> Compute {
        Compute { device: EMULATOR.to_owned(), dtype: Dtype::Float32 }
    }

    /// What `--device` and `--dtype` ask for.
    ///
    /// # Errors
    /// Where the device is unknown or cannot be had, or there is no such precision.
    pub fn new(device: &str, dtype: &str) -> Result<Compute> {
        let compute = Compute { device: device.to_owned(), dtype: Dtype::new(dtype)? };
        match device {
            CPU => Ok(compute),
            cuda if cuda.starts_with("cuda") => find_cuda(cuda).map(|()| compute),
            _ => Err(refused(device, "unknown; use cpu or cuda:N")),
        }
    }

    /// Whether it is the CPU, where anything can be trained.
    pub fn is_cpu(&self) -> bool {
        self.device == CPU
    }

    /// What there is to say of it, in one line.
    pub fn remark(&self) -> Option<String> {
        match (self.is_cpu(), self.dtype) {
            (true, Dtype::Float32) => None,
            (true, Dtype::Bfloat16) => Some("dtype: float32; candle has no bfloat16 arithmetic on the CPU".to_owned()),
            (true, Dtype::Float16) => {
                Some("dtype: float32; the CPU computes no float16, so no loss scaling is needed".to_owned())
            }
            (false, dtype) => {
                Some(format!("device: {}, {}; weights and moments in float32", self.device, dtype.name()))
            }
        }
    }

    /// Refuses a run that the device does not compute.
    ///
    /// # Errors
    /// Naming what is not supported on it.
    pub fn check(&self, model: &ModelConfig, config: &TrainConfig, ranks: usize) -> Result<()> {
        if self.is_cpu() {
            return Ok(());
        }
        let unsupported = [("several ranks are", ranks > 1), ("--flash-attn false is", !config.flash_attn)];
        if let Some((what, _)) = unsupported.into_iter().find(|(_, asked)| *asked) {
            return Err(refused(&self.device, format!("{what} not supported here yet; use cpu")));
        }
        self.check_model(model)
    }

    #[cfg(any(test, feature = "cuda"))]
    fn check_model(&self, model: &ModelConfig) -> Result<()> {
        check_supported(&self.device, model, self.dtype.element())
    }

    #[cfg(not(any(test, feature = "cuda")))]
    fn check_model(&self, _model: &ModelConfig) -> Result<()> {
        find_cuda(&self.device)
    }

    /// The fastest step for a model on the host, with room for micro-batches of up to `rows_max` tokens.
    ///
    /// # Errors
    /// Where the device fails, does not compute such a model, or lacks memory; the error says what would fit.
    pub fn step(&self, model: Llama, optimizer: AdamW, rows_max: usize) -> Result<Box<dyn TrainStep>> {
        match self.device.as_str() {
            CPU if EngineStep::supports(&model) => Ok(Box::new(EngineStep::new(model, optimizer)?)),
            CPU => Ok(Box::new(AutogradStep::new(model, optimizer))),
            #[cfg(test)]
            EMULATOR => {
                let folder = tempfile::tempdir().map_err(Error::io(std::path::Path::new(EMULATOR)))?;
                self.cuda_step_on(super::cuda::Emulator::build(folder.path(), 0)?, model, optimizer, rows_max)
            }
            _ => self.cuda_step(model, optimizer, rows_max),
        }
    }

    #[cfg(any(test, feature = "cuda"))]
    fn cuda_step_on<D: Device + 'static>(
        &self,
        device: D,
        model: Llama,
        optimizer: AdamW,
        rows_max: usize,
    ) -> Result<Box<dyn TrainStep>> {
        let recompute = model.training_options().recompute;
        let config = CudaConfig { element: self.dtype.element(), recompute, rows_max };
        Ok(Box::new(CudaStep::new(device, model, optimizer, config)?))
    }

    #[cfg(feature = "cuda")]
    fn cuda_step(&self, model: Llama, optimizer: AdamW, rows_max: usize) -> Result<Box<dyn TrainStep>> {
        self.cuda_step_on(super::cuda::Gpu::open(&self.device)?, model, optimizer, rows_max)
    }

    #[cfg(not(feature = "cuda"))]
    fn cuda_step(&self, _model: Llama, _optimizer: AdamW, _rows_max: usize) -> Result<Box<dyn TrainStep>> {
        Err(without_cuda(&self.device))
    }

    /// Floating-point operations a second that matrix products reach on the device; `None` on the CPU.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn measured_peak_flops(&self) -> Result<Option<f64>> {
        #[cfg(feature = "cuda")]
        if !self.is_cpu() {
            let gpu = super::cuda::Gpu::open(&self.device)?;
            return super::cuda::measured_peak_flops(&gpu, self.dtype.element()).map(Some);
        }
        Ok(None)
    }
}

/// Refuses a GPU that cannot be used here, in one line.
#[cfg(feature = "cuda")]
fn find_cuda(device: &str) -> Result<()> {
    super::cuda::Gpu::locate(device).map(drop)
}

#[cfg(not(feature = "cuda"))]
fn find_cuda(device: &str) -> Result<()> {
    Err(without_cuda(device))
}

#[cfg(not(feature = "cuda"))]
fn without_cuda(device: &str) -> Error {
    refused(device, "this trainer was built without CUDA; use cpu, or build with --features trainer/cuda")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ModelShape, MoeConfig};

    fn shape() -> ModelShape {
        ModelShape { dim: 64, n_layers: 1, n_heads: 2, n_kv_heads: None, vocab_size: 50, ..ModelShape::default() }
    }

    fn problem(shape: ModelShape, config: &TrainConfig, ranks: usize) -> String {
        let model = shape.config(Some(1), Some(2)).unwrap();
        assert!(Compute::cpu().check(&model, config, ranks).is_ok());
        Compute::emulator().check(&model, config, ranks).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_device_and_an_unknown_dtype_are_refused_by_name() {
        let problem = |device, dtype| Compute::new(device, dtype).unwrap_err().to_string();
        assert_eq!(problem("tpu", "float32"), "device tpu: unknown; use cpu or cuda:N");
        assert_eq!(problem("emulator", "float32"), "device emulator: unknown; use cpu or cuda:N");
        assert!(problem("cpu", "int8").starts_with("dtype: `int8`"));
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn cuda_is_refused_by_a_trainer_built_without_it() {
        let error = Compute::new("cuda:0", "bfloat16").unwrap_err().to_string();
        assert!(error.starts_with("device cuda:0: this trainer was built without CUDA"), "{error}");
    }

    #[cfg(feature = "cuda")]
    #[test]
    fn a_device_number_that_is_none_is_refused_whether_or_not_there_is_a_gpu() {
        assert!(Compute::new("cuda:first", "bfloat16").unwrap_err().to_string().contains("unknown"));
        assert!(Compute::new("cuda:9999", "bfloat16").is_err());
    }

    #[test]
    fn what_the_cuda_list_does_not_compute_is_refused_before_any_work() {
        let plain = TrainConfig::default();
        let model = shape().config(Some(1), Some(2)).unwrap();
        assert!(Compute::emulator().check(&model, &plain, 1).is_ok());
        assert!(problem(shape(), &plain, 2).contains("several ranks are not supported here yet; use cpu"));
        let standard = TrainConfig { flash_attn: false, ..TrainConfig::default() };
        assert!(problem(shape(), &standard, 1).contains("--flash-attn false is not supported"));
        assert!(problem(ModelShape { dropout: 0.1, ..shape() }, &plain, 1).contains("dropout is not supported"));
        let experts = ModelShape { moe: Some(MoeConfig::default()), ..shape() };
        assert!(problem(experts, &plain, 1).contains("mixture of experts is not supported"));
        let odd = ModelShape { n_heads: 16, ..shape() };
        assert!(problem(odd, &plain, 1).contains("head_dim must be a multiple of 8 here, not 4"));
    }
}

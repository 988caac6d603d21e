//! The operations as kernel launches.
//!
//! # Layout
//! - `device`: what a device offers: memory, launches by kernel name, matrix products.
//! - `gpu`: a CUDA GPU. The driver and cuBLAS are opened when one is asked for, so the program starts without them.
//! - `emulator`: the same kernels, compiled by the host's C++ compiler and run on the CPU; for proof, not for speed.
//! - `peak`: what the device's matrix products reach.
//! - `flat`: weights, moments and gradients as flat buffers; `rows`: embedding's backward pass prepared on the host.
//! - `ops`: the list's operations; `step`: the training step; `check`: every kernel against its CPU twin.
//!
//! **Invariant:** inside a micro-batch nothing is allocated, and the host waits only for the loss.

pub mod check;
mod device;
mod emulator;
mod flat;
#[cfg(feature = "cuda")]
mod gpu;
mod ops;
mod peak;
mod rows;
mod step;

pub use device::{Address, Arg, Device, Element, Launch, Operand, Product};
pub use emulator::Emulator;
#[cfg(feature = "cuda")]
pub use gpu::Gpu;
pub use peak::measured_peak_flops;
pub use step::{CudaConfig, CudaStep, check_supported};

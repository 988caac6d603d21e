//! From shards to batches: what is read, in which order, and how it is read ahead.

mod batch;
mod loader;
mod pool;
mod source;
mod windows;

pub use batch::{Batch, IGNORED};
pub use loader::Loader;
pub use source::{Source, Verify};
pub use windows::Windows;

//! From shards to batches: what is read, in which order, and how it is read ahead.

mod batch;
mod corpus;
mod grown;
mod loader;
mod mixture;
mod packing;
mod pool;
mod samples;
mod source;
mod starts;
mod windows;

pub use batch::{Batch, IGNORED};
pub use corpus::Corpus;
pub use loader::{Loader, Reading};
pub use samples::Samples;
pub use source::{Source, Verify};
pub use windows::{Scratch, Span, Windows};

//! Which documents stay: lists, `--max-chars`, then a preset's conditions, then a Polars SQL expression over any column.
//!
//! ```text
//! "a < 1 AND b > 0" -> conjunct (texts) -> compile (expressions over one document) -> types (of columns, by use)
//! Records -> columns (one DataFrame a block) -> Filter::apply -> a Verdict a document
//! ```
//!
//! A document's fate depends on itself alone: aggregates, windows, random functions and functions that are not the
//! same on every machine are refused when the filter is planned. So block bounds and threads leave no trace.
//!
//! Polars has one pool of threads for the process. A conjunct whose two sides are both computed (`a + b < c + d`)
//! hands them to that pool while our thread waits, so no more threads run than ours; all else runs on the calling
//! thread. `POLARS_MAX_THREADS=1` in the environment turns the hand-over off; results are the same.

mod address;
mod columns;
mod compile;
mod conjunct;
mod error;
mod lists;
mod names;
mod plan;
pub mod presets;
mod thresholds;
mod types;

pub use compile::compile as condition;
pub use error::Error;
pub use lists::Lists;
pub use names::{names_in, selects_all};
pub use plan::{Filter, Verdict};
pub use thresholds::{Threshold, thresholds, thresholds_of};
pub use types::WantedType;

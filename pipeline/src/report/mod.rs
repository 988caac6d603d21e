//! The report of a dataset: `report.json`, figures, and `report.html`, the same figures to look at.
//!
//! - [`sketch`], [`shares`]: the distribution of a number, the shares of values, in bounded memory.
//! - [`columns`]: both, for the columns of Arrow batches. The write and rejects stages keep them of their rows.
//! - [`examples`]: the first lines of each reason.
//! - [`mixture`]: what mixing made of the values of its column.
//! - [`figures`]: what all of it adds up to. [`page`]: how it looks.

pub mod columns;
pub mod examples;
pub mod figures;
pub mod mixture;
pub mod page;
pub mod shares;
pub mod sketch;

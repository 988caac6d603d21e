//! What the tests of the whole workspace share: they drive the programs from outside, as people do.
//!
//! # Layout
//! - [`program`]: runs `pipeline` and `trainer` as child processes and keeps what they said.
//! - [`tree`]: every file of a dataset but `run/`, and where two datasets differ.
//! - [`dataset`]: a reader of datasets written from `docs/FORMAT.md` alone. It imports none of the code under test,
//!   so a fault in the writer cannot hide in the reader.
//! - [`jaccard`]: near-duplicates by brute force.
//! - [`families`]: texts that are near-duplicates in every degree.
//! - [`tasks`]: a run whose tasks are processes of their own.
//! - [`table`]: rows of Parquet files as JSON values.
//! - [`corpus`]: inputs to run on, and a tokenizer for them.
//! - [`strace`]: the same programs under injected kills and faults.

pub mod corpus;
pub mod dataset;
pub mod families;
pub mod jaccard;
pub mod program;
pub mod strace;
pub mod table;
pub mod tasks;
pub mod tree;

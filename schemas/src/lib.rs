//! What is on disk, as types: manifest, ledger, run configuration, Arrow schemas, versions.
//!
//! This crate does no I/O. `shards` writes and reads what stands here; `pipeline` and `trainer` import both.
//!
//! # Layout
//! - [`manifest`]: the commit point of a dataset, and its own hash.
//! - [`ledger`]: where every input line went, and the sum that must hold.
//! - [`rule`]: why a line is invalid or dropped.
//! - [`columns`]: kinds of values, their union, and the Arrow schemas of `data/` and `rejects/`.
//! - [`config`]: `config.toml`, what decides the bytes of a dataset.
//! - [`dtype`]: the width of a token id.
//!
//! ```
//! use schemas::ledger::Ledger;
//! let mut ledger = Ledger::default();
//! ledger.lines = 3;
//! ledger.blank = 1;
//! ledger.drop("dedup", "exact", 1);
//! ledger.kept = 1;
//! assert!(ledger.balance().is_ok());
//! ```
#![forbid(unsafe_code)]

pub mod columns;
pub mod config;
pub mod dtype;
pub mod ledger;
pub mod manifest;
pub mod measure;
pub mod rule;

/// Version of the dataset layout. A reader refuses a larger major number.
pub const FORMAT_VERSION: u32 = 1;

/// Version of the tool that writes, as it stands in the manifest.
pub const TOOL_VERSION: &str = env!("CARGO_PKG_VERSION");

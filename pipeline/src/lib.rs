//! Text corpora in, training shards out.

pub mod against;
pub mod augment;
pub mod bpe;
pub mod clean;
pub mod cli;
pub mod decontaminate;
pub mod dedup;
pub mod derive;
pub mod engine;
pub mod error;
pub mod export;
pub mod filter;
pub mod launch;
pub mod look;
pub mod measure;
pub mod mix;
pub mod query;
pub mod read;
pub mod record;
pub mod report;
pub mod settings;
pub mod sources;
pub mod spill;
pub mod stages;
pub mod terms;
pub mod tokenize;

//! Cleaning: named, ordered steps over the text of a document, each counting what it changed.
//!
//! - [`cleaner`]: the steps of a configuration, taken until the text stays as it is; [`apply`] does it to a block.
//! - [`sets`]: `--clean STEPS`; [`step`]: a step made ready; [`lists`]: the user's words and phrases.
//! - [`edit`], [`profile`], [`chars`], [`digits`]: what steps are made of.
//! - One file a step: the rest.
//!
//! Every step is linear in the text, makes valid UTF-8 of valid UTF-8, and looks at bytes before it looks at
//! characters, because most text needs no change.

pub mod apply;
pub mod bank_cards;
pub mod chars;
pub mod cleaner;
pub mod controls;
pub mod cut_end;
pub mod digits;
pub mod edit;
pub mod emails;
pub mod error;
pub mod html;
pub mod id_numbers;
pub mod ips;
pub mod lines;
pub mod lists;
pub mod markdown;
pub mod mojibake;
pub mod normalization;
pub mod numbers;
pub mod phones;
pub mod profile;
pub mod punctuation;
pub mod script;
pub mod sentences;
pub mod sets;
pub mod step;
pub mod units;
pub mod urls;
pub mod whitespace;
pub mod width;
pub mod words;

pub use apply::{Cleaned, clean_records};
pub use cleaner::{Cleaner, Counts, merge_counts};
pub use error::Error;

#[cfg(test)]
mod tests;

//! Mixing: how often each document occurs, by the value of a column, and which documents are in a progressive subset.
//!
//! - [`settings`]: the section `[mix]`, checked, and the group of a document.
//! - [`hash`]: the two hashes of a text that decide.
//! - [`cut`]: how often documents of a group occur: a number of times, and once more below a bound of the hash.
//! - [`histogram`]: tokens by group and hash, from which the bounds of token budgets are found.

pub mod cut;
pub mod hash;
pub mod histogram;
pub mod settings;

pub use cut::Cut;
pub use settings::{Goal, Mix};

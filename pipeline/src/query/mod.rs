//! Asking a committed dataset questions: `pipeline sql`, `what-if` and `diff`, without how they print.
//!
//! Rows are read from `data/` and `rejects/`, only the columns a question names. They are held whole while Polars works
//! on them, so these commands, and no others, are exempt from `--memory`.

pub mod compare;
pub mod frame;
pub mod sql;
pub mod what_if;

use crate::{filter, look};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading the dataset.
    #[error(transparent)]
    Look(#[from] look::Error),
    /// The condition of `--where`.
    #[error(transparent)]
    Filter(#[from] filter::Error),
    /// Polars.
    #[error("{query}: {detail}{hint}")]
    Query {
        /// The question.
        query: String,
        /// What Polars says.
        detail: String,
        /// What there is.
        hint: String,
    },
    /// A column that the dataset does not have.
    #[error("expected a column of numbers in the dataset, found {column}\nhint: there are {known}")]
    NoColumn {
        /// The column.
        column: String,
        /// Those there are.
        known: String,
    },
}

//! What can be wrong with a filter: refused when it is planned, but for NULL under `--nulls error`.

use super::types::WantedType;

/// Why a filter cannot be planned or applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A preset that this version does not have.
    #[error("filter: no preset is called {name:?}; there are {known}")]
    UnknownPreset {
        /// The name.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The text is no SQL expression.
    #[error("filter {sql:?}: {detail}; write an expression such as `perplexity < 1500 AND lang = 'en'`")]
    Syntax {
        /// The text.
        sql: String,
        /// What the parser said.
        detail: String,
    },
    /// The expression looks at other documents, or is not a function of its input.
    #[error("filter {conjunct:?}: {what} is refused: {reason}")]
    Refused {
        /// The condition it stands in.
        conjunct: String,
        /// The function.
        what: String,
        /// Why.
        reason: &'static str,
    },
    /// The expression is neither true nor false.
    #[error("filter {conjunct:?}: expected a condition, found a value of type {found}; compare it with something")]
    NotBoolean {
        /// The condition.
        conjunct: String,
        /// Its type.
        found: String,
    },
    /// A column is used as two types.
    #[error("filter: column {column} is used as a {first} and as a {second}; a column has one type, CAST one use")]
    TypeConflict {
        /// The column.
        column: String,
        /// How it is used first.
        first: WantedType,
        /// How it is used later.
        second: WantedType,
    },
    /// Values of two types are compared or a function gets another type than it takes.
    #[error("filter {conjunct:?}: expected a {expected}, found {found}")]
    TypeMismatch {
        /// The condition.
        conjunct: String,
        /// The type the place takes.
        expected: WantedType,
        /// What stands there.
        found: String,
    },
    /// More conditions than rules can be numbered.
    #[error("filter: expected at most {max} conditions and columns, found {found}")]
    TooManyRules {
        /// The most.
        max: usize,
        /// How many there are.
        found: usize,
    },
    /// A condition is NULL and `--nulls error` is given.
    #[error(
        "filter {conjunct:?} is NULL for the record at place {line} of its task, because {column} is null; say `--nulls drop` or `--nulls keep`"
    )]
    Null {
        /// The condition.
        conjunct: String,
        /// Its first column that is null.
        column: String,
        /// Record number within the task, from 0.
        line: u64,
    },
    /// Polars failed.
    #[error("filter {conjunct:?}: {detail}")]
    Evaluate {
        /// The condition.
        conjunct: String,
        /// What Polars said.
        detail: String,
    },
}

//! What can be wrong with a list or a model that measures need.

use std::path::PathBuf;

/// Why measures cannot be computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A column needs a file that is not given.
    #[error(
        "column {column} needs measure.{key}, found none\nhint: set it in the section [measure] of the configuration, or leave the column out"
    )]
    Needs {
        /// The column.
        column: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A file cannot be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A model file is not what it should be, or of a kind that is not read here.
    #[error("read {} at byte {offset}: expected {expected}, found {found}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What should stand there.
        expected: String,
        /// What does.
        found: String,
    },
    /// A line of a model file is not what it should be.
    #[error("read {} at line {line}: expected {expected}, found {found:?}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Its number, from 1.
        line: u64,
        /// What should stand there.
        expected: String,
        /// What does.
        found: String,
    },
    /// A list is not UTF-8.
    #[error("read {} at byte {offset}: expected UTF-8, found another byte\nhint: save the list as UTF-8, a word a line", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: usize,
    },
    /// A file is not the one that the run was planned with.
    #[error(
        "the file of measure.{key} changed since the run was planned: expected {expected}, found {found}\nhint: restore it, or delete the dataset folder and start again"
    )]
    Changed {
        /// The key that names it.
        key: &'static str,
        /// Hash at plan time.
        expected: String,
        /// Hash now.
        found: String,
    },
}

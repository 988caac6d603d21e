//! Why cleaning cannot begin. Once begun it cannot fail.

/// Why cleaning cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A step or set has no such name.
    #[error(
        "expected a step or a set of steps, found {step:?}; steps are {}, sets are {}",
        super::sets::step_names(),
        super::sets::set_names()
    )]
    Unknown {
        /// What was asked for.
        step: String,
    },
    /// Two steps undo each other.
    #[error("steps {first} and {second} undo each other")]
    Contradiction {
        /// One.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// A list cannot be read.
    #[error("read {path}: {source}")]
    Read {
        /// The list.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A list has no entry.
    #[error("{path}: expected one entry a line, found none")]
    EmptyList {
        /// The list.
        path: String,
    },
    /// A list is too long.
    #[error("list {name}: {detail}")]
    List {
        /// Its name.
        name: String,
        /// What the automaton's builder says.
        detail: String,
    },
    /// Step `flagged_words` has no list.
    #[error("step flagged_words has no list; name one for each category under [clean.flagged_words]")]
    NoWords,
}

impl Error {
    pub(super) fn list(name: &str, error: aho_corasick::BuildError) -> Error {
        Error::List { name: name.to_owned(), detail: error.to_string() }
    }
}

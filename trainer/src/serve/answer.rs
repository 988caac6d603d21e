//! How answering can fail: the client is gone, or the request cannot be met.

use super::http::Problem;
use crate::error::Error;

/// Why there is no answer.
#[derive(Debug)]
pub enum Failed {
    /// The connection broke.
    Client(std::io::Error),
    /// To be told to the client.
    Request(Problem),
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Failed {
        Failed::Client(error)
    }
}

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Failed {
        Failed::Request(problem)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        match error {
            Error::Io { source, .. } => Failed::Client(source),
            Error::Config { .. } | Error::PromptTooLong { .. } => Failed::Request(Problem::new(400, error.to_string())),
            other => Failed::Request(Problem::new(500, other.to_string())),
        }
    }
}

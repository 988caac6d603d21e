//! A program that makes versions: it reads a JSON object a line, `{"id": "FILE@OFFSET", "text": "..."}`, and writes one a
//! line for each, in the same order: `{"id": the same, "text": "..."}`, with `null` for none. It may write when it likes,
//! for lines are sent and received at once.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Longest answer in bytes.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// A document for the program.
#[derive(Debug, Serialize)]
pub struct Request<'a> {
    /// Its place.
    pub id: &'a str,
    /// Its text.
    pub text: &'a str,
}

#[derive(Debug, Deserialize)]
struct Answer {
    id: String,
    text: Option<String>,
}

/// The running program; killed where it is dropped before its end.
pub struct Variants {
    name: String,
    child: Child,
    answers: BufReader<ChildStdout>,
    line: u64,
}

/// Where requests go.
pub struct Requests(BufWriter<ChildStdin>);

impl Requests {
    /// Sends a document.
    ///
    /// # Errors
    /// Where the program reads no more; its answers tell why.
    pub fn send(&mut self, request: &Request<'_>) -> std::io::Result<()> {
        serde_json::to_writer(&mut self.0, request)?;
        self.0.write_all(b"\n")
    }

    /// Tells the program that there are no more.
    ///
    /// # Errors
    /// Where the program reads no more.
    pub fn finish(mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Variants {
    /// Starts the program.
    ///
    /// # Errors
    /// [`Error::Command`] where it cannot be started.
    pub fn start(command: &[String]) -> Result<(Variants, Requests), Error> {
        let name = command.join(" ");
        let failed = |detail: String| Error::Command { command: name.clone(), detail };
        let Some((program, arguments)) = command.split_first() else { return Err(failed("no program".to_owned())) };
        let child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| failed(error.to_string()))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("it has no pipes".to_owned()));
        };
        Ok((Variants { name, child, answers: BufReader::new(stdout), line: 0 }, Requests(BufWriter::new(stdin))))
    }

    /// The version of the document that was sent next.
    ///
    /// # Errors
    /// [`Error::Command`] where the answer is missing, is none, or is of another document.
    pub fn receive(&mut self, id: &str) -> Result<Option<String>, Error> {
        let mut line = Vec::new();
        let read = std::io::Read::take(&mut self.answers, LINE_BYTES_MAX).read_until(b'\n', &mut line);
        read.map_err(|error| self.failed(error.to_string()))?;
        self.line += 1;
        if line.is_empty() {
            let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
            return Err(
                self.failed(format!("expected an answer for {id} in line {}, found the end ({status})", self.line))
            );
        }
        let answer: Answer = serde_json::from_slice(&line).map_err(|error| {
            let start: String = String::from_utf8_lossy(&line).chars().take(80).collect();
            self.failed(format!("line {}: expected {{\"id\", \"text\"}}, found {start:?}: {error}", self.line))
        })?;
        if answer.id != id {
            return Err(self.failed(format!("line {}: expected the answer for {id}, found {}", self.line, answer.id)));
        }
        Ok(answer.text)
    }

    /// Waits for the end of the program.
    ///
    /// # Errors
    /// [`Error::Command`] where it says more than was asked, or fails.
    pub fn finish(mut self) -> Result<(), Error> {
        let mut rest = Vec::new();
        let read = std::io::Read::take(&mut self.answers, 80).read_until(b'\n', &mut rest);
        read.map_err(|error| self.failed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(self.failed(format!("more than an answer a document: {:?}", String::from_utf8_lossy(&rest))));
        }
        let status = self.child.wait().map_err(|error| self.failed(error.to_string()))?;
        if status.success() { Ok(()) } else { Err(self.failed(status.to_string())) }
    }

    fn failed(&self, detail: String) -> Error {
        Error::Command { command: self.name.clone(), detail }
    }
}

impl Drop for Variants {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended, which is as good
        let _ = self.child.wait();
    }
}

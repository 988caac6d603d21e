//! What looking commands print: one JSON object for programs, and the end of a pipe that its reader closed.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use super::Outcome;

/// The end of a command that printed: a reader who has seen enough (`| head`) is no failure.
///
/// # Errors
/// Where the output could not be written for another reason.
pub(super) fn finish(printed: io::Result<()>) -> anyhow::Result<Outcome> {
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(Outcome::Done),
    }
}

/// Prints `fields` as one line, an event of this name.
///
/// # Errors
/// Where the output cannot be written.
pub(super) fn event(out: &mut dyn Write, name: &str, fields: &impl Serialize) -> io::Result<()> {
    let mut event = json!({"event": name});
    if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), serde_json::to_value(fields)?) {
        event.extend(fields);
    }
    writeln!(out, "{event}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_no_failure_and_a_full_disk_is() {
        assert!(finish(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        assert!(finish(Err(io::ErrorKind::StorageFull.into())).is_err());
    }

    #[test]
    fn an_event_starts_with_its_name() {
        let mut out = Vec::new();
        event(&mut out, "done", &json!({"files": 2})).unwrap();
        assert_eq!(out, b"{\"event\":\"done\",\"files\":2}\n");
    }
}

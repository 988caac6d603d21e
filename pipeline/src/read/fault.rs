//! What is wrong with a line, kept small because it is made on the hot path and worded off it.

use schemas::columns::RAW_BYTES_MAX;
use schemas::rule::InvalidRule;

use crate::record::{Invalid, Position};

/// Why a line is not a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The rule it breaks.
    pub rule: InvalidRule,
    /// What was expected and found, and where.
    pub detail: String,
}

impl Fault {
    /// A fault in words.
    pub fn new(rule: InvalidRule, detail: impl Into<String>) -> Fault {
        Fault { rule, detail: detail.into() }
    }

    /// "expected X at byte N, found Y".
    #[cold]
    pub fn expected(what: &str, line: &[u8], at: usize) -> Fault {
        Fault::new(InvalidRule::JsonSyntax, format!("expected {what} at byte {at}, found {}", found(line, at)))
    }

    /// The record of a damaged line.
    #[cold]
    pub fn into_invalid(self, position: Position, line: &[u8]) -> Invalid {
        let raw = line.get(..RAW_BYTES_MAX).unwrap_or(line).to_vec();
        Invalid { position, rule: self.rule, detail: self.detail, raw }
    }
}

/// What stands at a byte, for a message.
fn found(line: &[u8], at: usize) -> String {
    let Some(rest) = line.get(at..).filter(|rest| !rest.is_empty()) else { return "end of line".to_owned() };
    let head = rest.get(..4).unwrap_or(rest);
    let valid = head.utf8_chunks().next().map(|chunk| chunk.valid()).unwrap_or_default();
    match valid.chars().next() {
        Some(character) if !character.is_control() => format!("{character:?}"),
        _ => format!("byte 0x{:02x}", rest.first().copied().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_shows_characters_and_names_bytes_that_are_none() {
        assert_eq!(found("x文".as_bytes(), 1), "'文'");
        assert_eq!(found(b"\x01", 0), "byte 0x01");
        assert_eq!(found(b"\xff", 0), "byte 0xff");
        assert_eq!(found(b"ab", 2), "end of line");
    }

    #[test]
    fn the_raw_bytes_of_a_long_line_are_capped() {
        let line = vec![b'x'; RAW_BYTES_MAX + 1];
        let invalid = Fault::new(InvalidRule::JsonSyntax, "x").into_invalid(Position::default(), &line);
        assert_eq!(invalid.raw.len(), RAW_BYTES_MAX);
    }
}

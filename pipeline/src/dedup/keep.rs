//! Which of two duplicates stays: the first, the longest, or the best by a column. Ties go to the first in input order.

use crate::error::Error;

/// A keep policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// The first in input order.
    First,
    /// The one with most code points.
    Longest,
    /// The one with the least or greatest value of a column; one without a number there is worst.
    Column {
        /// Name of the column in the input.
        name: String,
        /// Whether the greatest is best.
        descending: bool,
    },
}

/// A document in the order of a keep policy: less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    /// What the policy says.
    pub priority: u64,
    /// Number of the document; they grow in input order.
    pub document: u64,
}

impl Keep {
    /// `first`, `longest`, `COLUMN`, `COLUMN asc` or `COLUMN desc`.
    ///
    /// # Errors
    /// [`Error::Usage`] for anything else.
    pub fn parse(text: &str) -> Result<Keep, Error> {
        let column = |name: &str, descending| Ok(Keep::Column { name: name.to_owned(), descending });
        match text.split_whitespace().collect::<Vec<_>>()[..] {
            ["first"] => Ok(Keep::First),
            ["longest"] => Ok(Keep::Longest),
            [name] => column(name, false),
            [name, order] if order.eq_ignore_ascii_case("asc") => column(name, false),
            [name, order] if order.eq_ignore_ascii_case("desc") => column(name, true),
            _ => {
                let detail = format!("expected first, longest, or a column with asc or desc, found {text:?}");
                Err(Error::usage("--keep", detail, "for example --keep \"perplexity asc\""))
            }
        }
    }

    /// Column the policy looks at.
    pub fn column(&self) -> Option<&str> {
        match self {
            Keep::Column { name, .. } => Some(name),
            Keep::First | Keep::Longest => None,
        }
    }

    /// Priority of a document, by its code points and the lexeme of the policy's column. None is 0: that is the priority
    /// of a document of an earlier dataset, which stays whatever the policy says.
    pub fn priority(&self, n_chars: u64, lexeme: Option<&str>) -> u64 {
        match self {
            Keep::First => 1,
            Keep::Longest => !n_chars.min(u64::MAX - 1),
            Keep::Column { descending, .. } => {
                let number = lexeme.and_then(|lexeme| lexeme.parse::<f64>().ok()).filter(|number| !number.is_nan());
                number.map_or(u64::MAX, |number| ordered_bits(if *descending { -number } else { number }))
            }
        }
    }
}

/// Bits that sort as the numbers do; -0 is 0.
fn ordered_bits(number: f64) -> u64 {
    let bits = (number + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_is_better_and_a_missing_value_is_worst() {
        let keep = Keep::parse("perplexity asc").unwrap();
        let priorities = ["-1e300", "-2", "-0.0", "1e-9", "37", "1e300"].map(|lexeme| keep.priority(1, Some(lexeme)));
        assert!(priorities.is_sorted() && priorities[5] < keep.priority(1, None), "{priorities:?}");
        assert_eq!(keep.priority(1, Some("\"x\"")), keep.priority(1, None));
        let keep = Keep::parse("score DESC").unwrap();
        assert!(keep.priority(1, Some("2")) < keep.priority(1, Some("1")));
    }

    #[test]
    fn the_longest_is_best_by_code_points() {
        let keep = Keep::parse("longest").unwrap();
        assert!(keep.priority(9, None) < keep.priority(8, None));
    }

    #[test]
    fn what_is_no_policy_is_refused_with_an_example() {
        let message = Keep::parse("perplexity sideways").unwrap_err().to_string();
        assert!(message.contains("perplexity asc"), "{message}");
    }
}

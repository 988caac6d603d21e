//! Real examples of rejected lines: the first few of each rule, in input order.

use serde::{Deserialize, Serialize};

/// Examples kept of one rule.
pub const EXAMPLES_MAX: usize = 3;
/// Characters of a text that an example shows.
pub const EXCERPT_CHARS_MAX: usize = 160;

/// One rejected line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Its document's id, or place.
    pub doc_id: String,
    /// Its input.
    pub source: String,
    /// Its line, from 1.
    pub line: i64,
    /// The value that decided.
    pub value: String,
    /// The beginning of its text, or of its bytes where it is damaged.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub excerpt: Option<String>,
}

/// Count and first examples of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The stage that rejected.
    pub stage: String,
    /// Its rule.
    pub rule: String,
    /// Lines rejected.
    pub count: u64,
    /// The first of them.
    pub examples: Vec<Example>,
}

/// Reasons in order of first appearance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reasons(pub Vec<Reason>);

impl Reasons {
    /// Counts a line; its example is made only where one is wanted.
    pub fn push(&mut self, stage: &str, rule: &str, example: impl FnOnce() -> Example) {
        let reason = self.entry(stage, rule);
        reason.count += 1;
        if reason.examples.len() < EXAMPLES_MAX {
            reason.examples.push(example());
        }
    }

    /// Adds the lines that come after.
    pub fn merge(&mut self, next: &Reasons) {
        for other in &next.0 {
            let reason = self.entry(&other.stage, &other.rule);
            reason.count += other.count;
            let wanted = EXAMPLES_MAX.saturating_sub(reason.examples.len());
            reason.examples.extend(other.examples.iter().take(wanted).cloned());
        }
    }

    fn entry(&mut self, stage: &str, rule: &str) -> &mut Reason {
        let found = self.0.iter().position(|reason| reason.stage == stage && reason.rule == rule);
        let index = found.unwrap_or_else(|| {
            let (stage, rule) = (stage.to_owned(), rule.to_owned());
            self.0.push(Reason { stage, rule, count: 0, examples: Vec::new() });
            self.0.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "the index was found or made just now")]
        &mut self.0[index]
    }
}

/// The beginning of a text, with an ellipsis where it goes on.
pub fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT_CHARS_MAX) {
        Some((end, _)) => format!("{}\u{2026}", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(line: i64) -> Example {
        Example { doc_id: line.to_string(), source: "a".into(), line, value: String::new(), excerpt: None }
    }

    #[test]
    fn the_first_examples_are_kept_whatever_the_parts() {
        let mut whole = Reasons::default();
        (1..=9).for_each(|line| whole.push("filter", "a < 1", || example(line)));
        let mut joined = Reasons::default();
        for lines in [1..=2, 3..=9] {
            let mut part = Reasons::default();
            lines.for_each(|line| part.push("filter", "a < 1", || example(line)));
            joined.merge(&part);
        }
        assert_eq!(joined, whole);
        assert_eq!(whole.0[0].examples.len(), EXAMPLES_MAX);
    }
}

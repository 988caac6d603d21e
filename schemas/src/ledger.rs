//! The ledger: every input line is counted once.
//!
//! `lines = blank + invalid + dropped + kept`, asserted when a dataset is committed and again when it is opened.
//! Maps are ordered by name so that the same counts are the same bytes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where every input line went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Lines read, of every kind. For Parquet and CSV inputs a row is a line.
    pub lines: u64,
    /// Lines of nothing but white space.
    pub blank: u64,
    /// Damaged lines by rule ([`crate::rule::InvalidRule`]).
    pub invalid: BTreeMap<String, u64>,
    /// Documents left out, by stage and rule.
    pub dropped: BTreeMap<String, BTreeMap<String, u64>>,
    /// Lines that became a document of the dataset.
    pub kept: u64,
}

/// The ledger does not add up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "ledger does not balance: {lines} lines, but blank {blank} + invalid {invalid} + dropped {dropped} + kept {kept} = {sum}"
)]
pub struct Imbalance {
    /// Lines read.
    pub lines: u64,
    /// Blank lines.
    pub blank: u64,
    /// Damaged lines, all rules.
    pub invalid: u64,
    /// Dropped documents, all stages and rules.
    pub dropped: u64,
    /// Kept documents.
    pub kept: u64,
    /// The four added up.
    pub sum: u64,
}

impl Ledger {
    /// Counts `count` damaged lines under `rule`.
    pub fn invalidate(&mut self, rule: &str, count: u64) {
        if count > 0 {
            *self.invalid.entry(rule.to_owned()).or_default() += count;
        }
    }

    /// Counts `count` documents left out by `rule` of `stage`.
    pub fn drop(&mut self, stage: &str, rule: &str, count: u64) {
        if count > 0 {
            let rules = self.dropped.entry(stage.to_owned()).or_default();
            *rules.entry(rule.to_owned()).or_default() += count;
        }
    }

    /// Damaged lines, all rules.
    pub fn invalid_total(&self) -> u64 {
        self.invalid.values().sum()
    }

    /// Dropped documents, all stages and rules.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().flat_map(BTreeMap::values).sum()
    }

    /// Adds another part of the input.
    pub fn merge(&mut self, other: &Ledger) {
        self.lines += other.lines;
        self.blank += other.blank;
        self.kept += other.kept;
        for (rule, count) in &other.invalid {
            self.invalidate(rule, *count);
        }
        for (stage, rules) in &other.dropped {
            for (rule, count) in rules {
                self.drop(stage, rule, *count);
            }
        }
    }

    /// Checks that every line is counted once.
    ///
    /// # Errors
    /// [`Imbalance`] with every term where the sum does not hold.
    pub fn balance(&self) -> Result<(), Imbalance> {
        let invalid = self.invalid_total();
        let dropped = self.dropped_total();
        let sum = self.blank + invalid + dropped + self.kept;
        if sum == self.lines {
            return Ok(());
        }
        Err(Imbalance { lines: self.lines, blank: self.blank, invalid, dropped, kept: self.kept, sum })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_counted_twice_does_not_balance() {
        let mut ledger = Ledger { lines: 2, kept: 2, ..Ledger::default() };
        assert!(ledger.balance().is_ok());
        ledger.drop("filter", "max_chars", 1);
        let imbalance = ledger.balance().unwrap_err();
        assert_eq!((imbalance.lines, imbalance.sum), (2, 3));
    }

    #[test]
    fn merging_adds_rule_by_rule() {
        let mut left = Ledger { lines: 2, ..Ledger::default() };
        left.invalidate("json_syntax", 2);
        let mut right = Ledger { lines: 3, blank: 1, ..Ledger::default() };
        right.invalidate("json_syntax", 1);
        right.drop("dedup", "exact", 1);
        left.merge(&right);
        assert_eq!(left.invalid["json_syntax"], 3);
        assert!(left.balance().is_ok());
    }
}

//! [`Shares`]: how rows divide over the values of a column, as long as there are few enough to group by.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most different values of a column by which one groups; a column of more is one of names, titles, addresses.
pub const VALUES_MAX: usize = 4_096;
const VALUE_BYTES_MAX: usize = 64;

/// Rows and tokens of one value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Documents.
    pub documents: u64,
    /// Their tokens.
    pub tokens: u64,
}

impl Share {
    /// Adds other documents.
    pub fn add(&mut self, other: Share) {
        self.documents += other.documents;
        self.tokens += other.tokens;
    }
}

/// Rows and tokens by value. Null is a value, called so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares {
    /// By value.
    pub values: BTreeMap<String, Share>,
    /// Whether there were too many values, or too long ones; there are none then.
    pub too_many: bool,
}

impl Shares {
    /// Counts a row.
    pub fn push(&mut self, value: Option<&str>, tokens: u64) {
        let value = value.unwrap_or("null");
        if self.too_many {
            return;
        }
        if let Some(share) = self.values.get_mut(value) {
            share.documents += 1;
            share.tokens += tokens;
            return;
        }
        if value.len() > VALUE_BYTES_MAX {
            self.give_up();
            return;
        }
        self.values.insert(value.to_owned(), Share { documents: 1, tokens });
        self.check();
    }

    /// Adds other rows.
    pub fn merge(&mut self, other: &Shares) {
        if self.too_many || other.too_many {
            self.give_up();
            return;
        }
        for (value, share) in &other.values {
            let sum = self.values.entry(value.clone()).or_default();
            sum.documents += share.documents;
            sum.tokens += share.tokens;
        }
        self.check();
    }

    fn check(&mut self) {
        if self.values.len() > VALUES_MAX {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        self.too_many = true;
        self.values.clear();
    }

    /// Shannon's entropy of the shares of documents, in bits.
    pub fn entropy_bits(&self) -> f64 {
        self.entropy(|share| share.documents)
    }

    /// Shannon's entropy of the shares of tokens, in bits.
    pub fn token_entropy_bits(&self) -> f64 {
        self.entropy(|share| share.tokens)
    }

    fn entropy(&self, of: fn(&Share) -> u64) -> f64 {
        let total: u64 = self.values.values().map(of).sum();
        let term = |amount: u64| {
            let part = amount as f64 / total as f64;
            -part * libm::log2(part)
        };
        self.values.values().map(of).filter(|amount| *amount > 0).map(term).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_shares_have_the_entropy_of_their_number() {
        let mut shares = Shares::default();
        ["a", "b", "c", "d"].into_iter().for_each(|value| shares.push(Some(value), 3));
        assert_eq!(shares.entropy_bits(), 2.0);
    }

    #[test]
    fn a_column_of_titles_is_no_column_to_group_by() {
        let mut shares = Shares::default();
        (0..=VALUES_MAX).for_each(|value| shares.push(Some(&value.to_string()), 1));
        assert!(shares.too_many && shares.values.is_empty());
        let mut long = Shares::default();
        long.push(Some(&"x".repeat(65)), 1);
        assert!(long.too_many);
    }
}

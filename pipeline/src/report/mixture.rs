//! [`Mixture`]: what mixing made of the values of its column.

use serde::{Deserialize, Serialize};

use super::shares::{Share, Shares};

/// Values that are shown one by one.
const VALUES_SHOWN: usize = 50;

/// Documents and tokens by the value of the column, before mixing and after it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Mixture {
    /// The column.
    pub by: String,
    /// Most times a document occurs.
    pub max_copies: u32,
    /// What was asked of each group.
    pub groups: Vec<GroupGoal>,
    /// The values, most documents before first.
    pub values: Vec<Mixed>,
    /// Entropy of the shares of tokens before, in bits.
    pub entropy_bits_before: f64,
    /// Entropy of the shares of tokens after, in bits.
    pub entropy_bits_after: f64,
}

/// What was asked of a group of values.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupGoal {
    /// A value, a pattern, or `*`.
    pub name: String,
    /// How often a document occurs, on average.
    pub weight: f64,
    /// Most tokens, where documents are mixed by tokens.
    pub wanted_tokens: Option<u64>,
    /// Whether there is less than was wanted, for documents would occur too often.
    pub short: bool,
}

/// A value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Mixed {
    /// The value.
    pub value: String,
    /// Before mixing.
    pub before: Share,
    /// After it.
    pub after: Share,
}

impl Mixture {
    /// Lists the values of both.
    pub fn new(by: &str, max_copies: u32, groups: Vec<GroupGoal>, before: &Shares, after: &Shares) -> Mixture {
        let of = |shares: &Shares, value: &str| shares.values.get(value).copied().unwrap_or_default();
        let value = |value: &String| Mixed { value: value.clone(), before: of(before, value), after: of(after, value) };
        let mut values: Vec<Mixed> = before.values.keys().map(value).collect();
        values.sort_by(|left, right| {
            right.before.documents.cmp(&left.before.documents).then_with(|| left.value.cmp(&right.value))
        });
        if values.len() > VALUES_SHOWN {
            let mut others = Mixed { value: "\u{2026}".to_owned(), ..Mixed::default() };
            for value in values.drain(VALUES_SHOWN..) {
                others.before.add(value.before);
                others.after.add(value.after);
            }
            values.push(others);
        }
        Mixture {
            by: by.to_owned(),
            max_copies,
            groups,
            values,
            entropy_bits_before: before.token_entropy_bits(),
            entropy_bits_after: after.token_entropy_bits(),
        }
    }
}

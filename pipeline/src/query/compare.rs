//! What differs between two datasets: settings, counts, and documents by id and text.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use shards::dataset::Dataset;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::Error;
use super::frame::Table;
use crate::look::cell;

/// Ids named of each kind of difference.
const EXAMPLES: usize = 5;

/// What differs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Lines of `config.toml` that only one has: those of the first, then those of the second.
    pub config: (Vec<String>, Vec<String>),
    /// Counts that differ, by name: first, second.
    pub counts: BTreeMap<String, (u64, u64)>,
    /// Documents of the same id and text.
    pub same: u64,
    /// Documents of the same id and other text.
    pub changed: Documents,
    /// Documents only the first has.
    pub only_first: Documents,
    /// Documents only the second has.
    pub only_second: Documents,
}

/// How many, and some of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Documents {
    /// How many.
    pub count: u64,
    /// The ids of the first of them.
    pub ids: Vec<String>,
}

impl Documents {
    fn push(&mut self, id: &str) {
        self.count += 1;
        if self.ids.len() < EXAMPLES {
            self.ids.push(id.to_owned());
        }
    }
}

impl Difference {
    /// Whether the datasets hold the same documents, made by the same settings.
    pub fn is_none(&self) -> bool {
        self.config.0.is_empty()
            && self.config.1.is_empty()
            && self.counts.is_empty()
            && [&self.changed, &self.only_first, &self.only_second].iter().all(|documents| documents.count == 0)
    }
}

/// Compares two datasets. Holds 24 bytes a document of the first.
///
/// # Errors
/// Where rows cannot be read.
pub fn compare(first: &Dataset, second: &Dataset) -> Result<Difference, Error> {
    let mut difference =
        Difference { config: config_lines(first, second), counts: counts(first, second), ..Difference::default() };
    // By id: hash of the text, and whether the second has it. Equal ids are told apart by their number.
    let mut known: HashMap<u128, (u64, bool)> = HashMap::new();
    each_document(first, |key, _, text| {
        known.insert(key, (text, false));
    })?;
    each_document(second, |key, id, text| match known.get_mut(&key) {
        Some((other, seen)) => {
            *seen = true;
            if *other == text { difference.same += 1 } else { difference.changed.push(id) }
        }
        None => difference.only_second.push(id),
    })?;
    each_document(first, |key, id, _| {
        if known.get(&key).is_some_and(|(_, seen)| !seen) {
            difference.only_first.push(id);
        }
    })?;
    Ok(difference)
}

/// Calls for each document with a key of its id (and of how often the id came before), the id and a hash of the text.
fn each_document(dataset: &Dataset, mut call: impl FnMut(u128, &str, u64)) -> Result<(), Error> {
    let mut times: HashMap<u128, u32> = HashMap::new();
    let table = Table::open(dataset, "data")?;
    for batch in table.stream(&["doc_id", "text"])? {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            let id = cell::text(&batch, row, "doc_id").unwrap_or_default();
            let text = cell::text(&batch, row, "text").unwrap_or_default();
            let key = xxh3_128(id.as_bytes());
            let time = times.entry(key).or_default();
            call(key.wrapping_add(u128::from(*time)), id, xxh3_64(text.as_bytes()));
            *time += 1;
        }
    }
    Ok(())
}

fn config_lines(first: &Dataset, second: &Dataset) -> (Vec<String>, Vec<String>) {
    let lines = |dataset: &Dataset| -> Vec<String> {
        let text = std::fs::read_to_string(dataset.dir().join("config.toml")).unwrap_or_default();
        let mut section = String::new();
        let mut lines = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                Some(name) => section = format!("{name}."),
                None => lines.push(format!("{section}{line}")),
            }
        }
        lines
    };
    let (left, right) = (lines(first), lines(second));
    let only =
        |these: &[String], those: &[String]| these.iter().filter(|line| !those.contains(line)).cloned().collect();
    (only(&left, &right), only(&right, &left))
}

fn counts(first: &Dataset, second: &Dataset) -> BTreeMap<String, (u64, u64)> {
    let named = |dataset: &Dataset| -> BTreeMap<String, u64> {
        let manifest = dataset.manifest();
        let ledger = &manifest.ledger;
        let mut counts = BTreeMap::from([
            ("lines".to_owned(), ledger.lines),
            ("blank".to_owned(), ledger.blank),
            ("kept".to_owned(), ledger.kept),
            ("documents".to_owned(), manifest.documents.total),
            ("train tokens".to_owned(), manifest.splits.train.tokens),
            ("val tokens".to_owned(), manifest.splits.val.tokens),
        ]);
        counts.extend(ledger.invalid.iter().map(|(rule, count)| (format!("invalid {rule}"), *count)));
        for (stage, rules) in &ledger.dropped {
            counts.extend(rules.iter().map(|(rule, count)| (format!("dropped {stage} {rule}"), *count)));
        }
        counts
    };
    let (left, right) = (named(first), named(second));
    let names: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let pair = |name: &&String| (left.get(*name).copied().unwrap_or(0), right.get(*name).copied().unwrap_or(0));
    names.iter().map(|name| ((*name).clone(), pair(name))).filter(|(_, (left, right))| left != right).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::testing::{Doc, dataset};

    #[test]
    fn documents_are_compared_by_id_and_text() {
        let first = dataset(&[Doc::new("a", "one"), Doc::new("b", "two"), Doc::new("c", "three"), Doc::new("c", "3")]);
        let second = dataset(&[Doc::new("b", "two!"), Doc::new("c", "three"), Doc::new("c", "3"), Doc::new("d", "4")]);
        let found = compare(&first.open(), &second.open()).unwrap();
        assert_eq!(found.same, 2);
        assert_eq!(found.changed.ids, ["b"]);
        assert_eq!(found.only_first.ids, ["a"]);
        assert_eq!(found.only_second.ids, ["d"]);
        assert!(!found.is_none());
        assert!(compare(&first.open(), &first.open()).unwrap().is_none());
    }
}

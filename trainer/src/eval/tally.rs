//! Sums over documents, and what follows from them.

use std::collections::BTreeMap;

/// What a group of documents adds up to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tally {
    /// Documents.
    pub documents: u64,
    /// Tokens judged: all but each document's first.
    pub tokens: u64,
    /// Bytes of the documents' text, UTF-8.
    pub bytes: u64,
    /// Sum of negative log-probabilities.
    pub nats: f64,
}

impl Tally {
    /// Adds judged tokens.
    pub fn add(&mut self, log_probabilities: &[f32]) {
        self.tokens += log_probabilities.len() as u64;
        self.nats -= log_probabilities.iter().map(|&x| f64::from(x)).sum::<f64>();
    }

    /// Adds another group.
    pub fn merge(&mut self, other: &Tally) {
        self.documents += other.documents;
        self.tokens += other.tokens;
        self.bytes += other.bytes;
        self.nats += other.nats;
    }

    /// Mean cross-entropy of a token, in nats; none where there was no token.
    pub fn loss(&self) -> Option<f64> {
        (self.tokens > 0).then(|| self.nats / self.tokens as f64)
    }

    /// The exponential of the loss.
    pub fn perplexity(&self) -> Option<f64> {
        self.loss().map(f64::exp)
    }

    /// Bits for a byte of text: comparable between vocabularies. The end of a document counts among its tokens.
    pub fn bits_per_byte(&self) -> Option<f64> {
        (self.bytes > 0).then(|| self.nats / std::f64::consts::LN_2 / self.bytes as f64)
    }
}

/// Tallies by group.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Groups(BTreeMap<String, Tally>);

impl Groups {
    /// The tally of a group.
    pub fn entry(&mut self, group: &str) -> &mut Tally {
        self.0.entry(group.to_owned()).or_default()
    }

    /// Groups with the most tokens first.
    pub fn by_tokens(&self) -> Vec<(&str, &Tally)> {
        let mut all: Vec<_> = self.0.iter().map(|(group, tally)| (group.as_str(), tally)).collect();
        all.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.tokens));
        all
    }

    /// The sum of all groups.
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.0.values().for_each(|tally| total.merge(tally));
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_perplexity_and_bits_follow_from_the_sums() {
        let mut groups = Groups::default();
        groups.entry("a").add(&[-1.0, -3.0]);
        groups.entry("b").add(&[-2.0; 4]);
        groups.entry("a").bytes = 4;
        let total = groups.total();
        assert_eq!((total.loss(), total.perplexity()), (Some(2.0), Some(2f64.exp())));
        let bits = groups.entry("a").bits_per_byte().unwrap();
        assert!((bits - 1.0 / std::f64::consts::LN_2).abs() < 1e-12);
        assert_eq!(groups.by_tokens()[0].0, "b");
    }

    #[test]
    fn nothing_has_no_loss() {
        assert_eq!((Tally::default().loss(), Tally::default().bits_per_byte()), (None, None));
    }
}

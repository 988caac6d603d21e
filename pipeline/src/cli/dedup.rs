//! The flags of deduplication, and what a plan says of it.

use schemas::config::{Cluster, Dedup, DedupMethod, Normalize, PassageUnit, Passages};
use serde_json::{Value, json};

use super::flags::{named, set};
use crate::dedup::settings::Near;

/// Flags of the `[dedup]` section.
#[derive(Debug, clap::Args)]
pub(super) struct DedupArgs {
    /// How duplicates are found; minhash finds exact ones too [default: exact]
    #[arg(long, value_name = "METHOD", value_parser = ["none", "exact", "minhash"])]
    dedup: Option<String>,
    /// Least similarity of near-duplicates: Jaccard, of their shingles [default: 0.8]
    #[arg(long, value_name = "SIMILARITY")]
    threshold: Option<f64>,
    /// Units of a shingle: words, or characters in scripts without spaces [default: 5]
    #[arg(long, value_name = "N")]
    shingle: Option<u32>,
    /// Which duplicate stays: first, longest, or the best by a column, "perplexity asc" [default: first]
    #[arg(long, value_name = "POLICY")]
    keep: Option<String>,
    /// What becomes of linked documents; star drops one only for a near twin that stays, component keeps one of all that
    /// pairs link [default: star]
    #[arg(long, value_name = "WAY", value_parser = ["star", "component"])]
    cluster: Option<String>,
    /// What exact duplicates may differ in
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = ["case", "whitespace", "punctuation", "width"])]
    normalize: Vec<String>,
    /// Earlier datasets: a document that one of them holds, by its keys/, is dropped
    #[arg(long, value_name = "DIR", num_args = 1..)]
    against: Vec<String>,
    /// Cut copies of passages from the documents that stay: lines, paragraphs, or runs of units wherever they begin
    #[arg(long, value_name = "UNIT", value_parser = ["none", "line", "paragraph", "substring"])]
    passages: Option<String>,
    /// Copies of a passage that stay in the whole corpus, the first ones [default: 1]
    #[arg(long, value_name = "N")]
    passage_copies: Option<u32>,
    /// Cut a passage of more copies than that everywhere
    #[arg(long, value_name = "N")]
    passage_everywhere: Option<u32>,
    /// Fewest characters of a line or paragraph that is looked at [default: 20]
    #[arg(long, value_name = "N")]
    passage_chars: Option<u32>,
    /// Units of a run that is looked at with --passages substring [default: 50]
    #[arg(long, value_name = "N")]
    passage_units: Option<u32>,
    /// Believe match keys: do not compare the shingles of pairs
    #[arg(long)]
    no_verify: bool,
}

impl DedupArgs {
    /// Overrides the section `[passages]`.
    pub(super) fn apply_passages(&self, passages: &mut Passages) {
        set(&mut passages.unit, named::<PassageUnit>(self.passages.as_ref()));
        set(&mut passages.copies, self.passage_copies);
        passages.everywhere = self.passage_everywhere.or(passages.everywhere);
        set(&mut passages.chars_min, self.passage_chars);
        set(&mut passages.ngram, self.passage_units);
    }

    /// Overrides the section.
    pub(super) fn apply(&self, dedup: &mut Dedup) {
        set(&mut dedup.method, named::<DedupMethod>(self.dedup.as_ref()));
        set(&mut dedup.threshold, self.threshold);
        set(&mut dedup.shingle, self.shingle);
        set(&mut dedup.keep, self.keep.clone());
        set(&mut dedup.cluster, named::<Cluster>(self.cluster.as_ref()));
        dedup.verify &= !self.no_verify;
        if !self.against.is_empty() {
            dedup.against = self.against.clone();
        }
        let steps: Vec<Normalize> = self.normalize.iter().filter_map(|step| named(Some(step))).collect();
        if !steps.is_empty() {
            dedup.normalize = steps;
        }
    }
}

/// Which pairs are compared, for people: the layout, and the chance that a pair of each similarity is caught.
pub(super) fn describe_near(near: &Near) -> Vec<String> {
    let bands = near.bands;
    let chance = |(similarity, chance): (f64, f64)| format!("{similarity:.2}: {chance:.3}");
    let shown = bands.curve().into_iter().filter(|(_, chance)| (0.001..0.9995).contains(chance)).map(chance);
    vec![
        format!(
            "near-duplicates: {} bands of {} rows, shingles of {} units",
            bands.bands, bands.rows, near.shingle_units
        ),
        format!("  chance of comparing a pair, by similarity: {}", shown.collect::<Vec<_>>().join(", ")),
    ]
}

/// The same for programs.
pub(super) fn near_json(near: &Near) -> Value {
    let curve: Vec<[f64; 2]> =
        near.bands.curve().into_iter().map(|(similarity, chance)| [similarity, chance]).collect();
    json!({
        "bands": near.bands.bands,
        "rows": near.bands.rows,
        "shingle": near.shingle_units,
        "threshold": near.threshold,
        "caught": curve,
    })
}

//! The `[dedup]` section, compiled: what every task of a run asks for.

use schemas::config::{Cluster, Dedup, DedupMethod};

use super::bands::Bands;
use super::keep::Keep;
use super::normalize::Normalizer;
use crate::error::Error;

/// Most units of a shingle: beyond that a text is compared as a whole, which exact dedup does better.
const SHINGLE_UNITS_MAX: u32 = 64;
/// Least similarity that signatures of 128 values still find.
const THRESHOLD_MIN: f64 = 0.05;

/// What the dedup stages do.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which duplicate stays.
    pub keep: Keep,
    /// What exact duplicates may differ in.
    pub normalizer: Normalizer,
    /// How near-duplicates are found; None: not at all.
    pub near: Option<Near>,
}

/// How near-duplicates are found.
#[derive(Debug, Clone, Copy)]
pub struct Near {
    /// Least Jaccard similarity of two duplicates.
    pub threshold: f64,
    /// Units of a shingle.
    pub shingle_units: usize,
    /// Layout of signatures.
    pub bands: Bands,
    /// Whether pairs are confirmed by their shingles.
    pub verify: bool,
    /// What becomes of pairs.
    pub cluster: Cluster,
}

impl Settings {
    /// Checks and compiles the section.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the flag.
    pub fn from_config(config: &Dedup) -> Result<Settings, Error> {
        let threshold = config.threshold;
        if !(THRESHOLD_MIN..=1.0).contains(&threshold) {
            let detail = format!("expected a similarity from {THRESHOLD_MIN} to 1, found {threshold}");
            return Err(Error::usage("--threshold", detail, ""));
        }
        if !(1..=SHINGLE_UNITS_MAX).contains(&config.shingle) {
            let detail = format!("expected 1 to {SHINGLE_UNITS_MAX} units, found {}", config.shingle);
            return Err(Error::usage("--shingle", detail, ""));
        }
        let near = (config.method == DedupMethod::Minhash).then_some(Near {
            threshold,
            shingle_units: config.shingle as usize,
            bands: Bands::for_threshold(threshold),
            verify: config.verify,
            cluster: config.cluster,
        });
        let (keep, normalizer) = (Keep::parse(&config.keep)?, Normalizer::new(&config.normalize));
        Ok(Settings { keep, normalizer, near })
    }
}

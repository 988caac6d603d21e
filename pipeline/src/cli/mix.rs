//! The flags of mixing, and what a run says of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use schemas::config::Mix;

use super::flags::set;
use crate::error::Error;
use crate::look::human::count;
use crate::report::figures::Figures;

/// Flags of mixing.
#[derive(Debug, clap::Args)]
pub struct MixArgs {
    /// Mix documents by the values of this column; `source` is the path of the input
    #[arg(long, value_name = "COLUMN")]
    mix_by: Option<String>,
    /// How often a document of a value occurs: zh=0.5,en=2; `*` is all others
    #[arg(long, value_name = "VALUE=N", value_delimiter = ',')]
    mix_weights: Vec<String>,
    /// Most tokens of a value: zh=1000000,en=500000
    #[arg(long, value_name = "VALUE=N", value_delimiter = ',', conflicts_with = "mix_weights")]
    mix_tokens: Vec<String>,
    /// Share of the tokens of a value: zh=0.7,en=0.3; documents of others are left out
    #[arg(long, value_name = "VALUE=SHARE", value_delimiter = ',', conflicts_with_all = ["mix_weights", "mix_tokens"])]
    mix_shares: Vec<String>,
    /// Write this share of the documents, a beginning of the dataset of any larger one: 0.1, 0.3 or 1
    #[arg(long, value_name = "FRACTION")]
    subset: Option<f64>,
}

impl MixArgs {
    /// Sets what was given. Values of a flag replace those of the file.
    ///
    /// # Errors
    /// [`Error::Usage`] where something is no VALUE=NUMBER.
    pub fn apply(&self, mix: &mut Mix) -> Result<(), Error> {
        mix.by = self.mix_by.clone().or(mix.by.take());
        if !(self.mix_weights.is_empty() && self.mix_tokens.is_empty() && self.mix_shares.is_empty()) {
            mix.weights = pairs("--mix-weights", &self.mix_weights)?;
            mix.tokens = pairs("--mix-tokens", &self.mix_tokens)?;
            mix.shares = pairs("--mix-shares", &self.mix_shares)?;
        }
        set(&mut mix.subset, self.subset.map(Some));
        Ok(())
    }
}

fn pairs<T: FromStr>(flag: &str, given: &[String]) -> Result<BTreeMap<String, T>, Error> {
    let pair = |text: &String| {
        let (value, number) = text.rsplit_once('=')?;
        Some((value.to_owned(), number.trim().parse().ok()?))
    };
    let pairs = given
        .iter()
        .map(|text| pair(text).ok_or_else(|| Error::usage(flag, format!("expected VALUE=NUMBER, found {text:?}"), "")));
    pairs.collect()
}

/// Tells what mixing made of each group, from the report of the dataset; nothing where it cannot be read.
pub fn print_mix(dataset: &Path) {
    let text = std::fs::read_to_string(dataset.join("report.json")).unwrap_or_default();
    let figures: Option<Figures> = serde_json::from_str(&text).ok();
    let Some(mix) = figures.and_then(|figures| figures.mix) else { return };
    for value in mix.values {
        let (before, after) = (value.before, value.after);
        let tokens = format!("{} -> {} tokens", count(before.tokens), count(after.tokens));
        let documents = format!("{} -> {} documents", count(before.documents), count(after.documents));
        eprintln!("  {}={}: {documents}, {tokens}", mix.by, value.value);
    }
    for group in mix.groups.iter().filter(|group| group.short) {
        let wanted = group.wanted_tokens.unwrap_or_default();
        eprintln!(
            "warning: {} tokens of {}={} are wanted, and its documents occur {} times at most (mix.max_copies)",
            count(wanted),
            mix.by,
            group.name,
            mix.max_copies
        );
    }
}

//! Augmentation: versions of documents made from their text, each marked as made.
//!
//! - [`synonyms`]: words of a dictionary give way to synonyms. [`sentences`]: the sentences of each paragraph in another
//!   order. Both are functions of text and seed.
//! - [`command`]: versions from a program that reads and writes JSON lines.
//! - [`Augment`]: the section `[augment]`, checked.

pub mod command;
pub mod sentences;
pub mod synonyms;

use schemas::config;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::Error;
use synonyms::Synonyms;

/// Column that says how a document was made; null for text of the input.
pub const GENERATED_BY: &str = "generated_by";
/// Its name in task files: no name of the input, which cannot hold this character unescaped.
pub const GENERATED_BY_FIELD: &str = "\u{0}generated_by";

const SEED: u64 = u64::from_le_bytes(*b"augment.");

/// A way to make a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// [`synonyms`].
    Synonyms,
    /// [`sentences`].
    Sentences,
    /// [`command`].
    Command,
}

impl Step {
    /// Its value in the column `generated_by`.
    pub fn name(self) -> &'static str {
        match self {
            Step::Synonyms => "synonyms",
            Step::Sentences => "sentences",
            Step::Command => "command",
        }
    }
}

/// What is made of each document.
#[derive(Debug, Default)]
pub struct Augment {
    /// The ways, in the order of their version numbers, from 1.
    pub steps: Vec<Step>,
    /// The program of step `command`, and its arguments.
    pub command: Vec<String>,
    synonyms: Option<Synonyms>,
    seed: u64,
}

impl Augment {
    /// Checks the section, and reads the dictionary.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the key.
    pub fn from_config(config: &config::Augment) -> Result<Augment, Error> {
        let synonyms = config.synonyms.as_deref();
        let synonyms = synonyms.map(|path| Synonyms::read(path, config.synonym_fraction)).transpose()?;
        if config.command.first().is_some_and(|program| program.trim().is_empty()) {
            return Err(Error::usage("augment.command", "expected a program, found an empty name", ""));
        }
        let steps = [
            synonyms.is_some().then_some(Step::Synonyms),
            config.shuffle_sentences.then_some(Step::Sentences),
            (!config.command.is_empty()).then_some(Step::Command),
        ];
        let steps = steps.into_iter().flatten().collect();
        Ok(Augment { steps, command: config.command.clone(), synonyms, seed: config.seed })
    }

    /// Whether anything is made.
    pub fn is_on(&self) -> bool {
        !self.steps.is_empty()
    }

    /// The version of a text by a step that needs no program; None where it is the text.
    pub fn version(&self, step: Step, text: &str) -> Option<String> {
        let seed = xxh3_64_with_seed(text.as_bytes(), SEED.wrapping_add(self.seed));
        let made = match step {
            Step::Synonyms => self.synonyms.as_ref()?.replace(text, seed),
            Step::Sentences => sentences::shuffle(text, seed),
            Step::Command => return None,
        };
        (made != text).then_some(made)
    }
}

/// The next number of a sequence that `state` begins (SplitMix64).
pub(crate) fn next_number(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

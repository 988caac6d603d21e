//! [`Cleaner`]: steps taken in order, again and again until the text stays as it is.
//!
//! So cleaning twice is cleaning once whatever the steps are, also where one makes work for an earlier one (a decoded
//! entity that is a zero-width space). A text that does not come to rest in [`ROUNDS_MAX`] rounds was made not to; its
//! document is dropped under `unstable`, so that the promise has no exception.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemas::config::Clean;

use super::error::Error;
use super::profile::Profile;
use super::sets;
use super::step::Step;

/// Most rounds for one text; one that needs cleaning takes two as a rule.
pub const ROUNDS_MAX: usize = 16;

/// Steps made ready.
#[derive(Debug, Default)]
pub struct Cleaner {
    steps: Vec<Step>,
}

/// What a step changed, over many texts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StepCount {
    /// Documents it changed.
    pub documents: u64,
    /// Places it changed.
    pub changes: u64,
}

/// What each step changed, by its name.
pub type Counts = BTreeMap<String, StepCount>;

/// Adds other counts.
pub fn merge_counts(counts: &mut Counts, other: &Counts) {
    for (name, count) in other {
        let sum = counts.entry(name.clone()).or_default();
        sum.documents += count.documents;
        sum.changes += count.changes;
    }
}

/// The text does not come to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unstable;

impl Cleaner {
    /// Makes the steps of a configuration ready.
    ///
    /// # Errors
    /// Steps that undo each other, lists that cannot be read.
    pub fn of_config(config: &Clean) -> Result<Cleaner, Error> {
        sets::check(&config.steps)?;
        Ok(Cleaner { steps: Step::of_config(config)? })
    }

    /// Whether there is no step.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Cleans one text and adds to the tally.
    ///
    /// # Errors
    /// [`Unstable`], with a tally of what was tried.
    pub fn clean<'a>(&self, text: &'a str, tally: &mut Tally) -> Result<Cow<'a, str>, Unstable> {
        let mut current = Cow::Borrowed(text);
        let mut profile = Profile::of(text);
        tally.begin(self.steps.len());
        for _ in 0..ROUNDS_MAX {
            let mut changed = false;
            for (index, step) in self.steps.iter().enumerate() {
                if !step.applies(&profile) {
                    continue;
                }
                let edited = step.clean(&current);
                if edited.changes == 0 || *edited.text == *current {
                    continue;
                }
                tally.add(index, edited.changes);
                current = Cow::Owned(edited.text.into_owned());
                profile = Profile::of(&current);
                changed = true;
            }
            if !changed {
                return Ok(current);
            }
        }
        Err(Unstable)
    }

    /// A tally by the names of the steps; steps that changed nothing have a count of 0.
    pub fn counts(&self, tally: &Tally) -> Counts {
        let counts = tally.counts.iter().copied().chain(std::iter::repeat(StepCount::default()));
        self.steps.iter().map(|step| step.name.clone()).zip(counts).collect()
    }
}

/// What each step changed, by its position.
#[derive(Debug, Default)]
pub struct Tally {
    counts: Vec<StepCount>,
    in_document: Vec<bool>,
}

impl Tally {
    fn begin(&mut self, steps: usize) {
        self.counts.resize(steps, StepCount::default());
        self.in_document.clear();
        self.in_document.resize(steps, false);
    }

    fn add(&mut self, step: usize, changes: u64) {
        if let (Some(count), Some(seen)) = (self.counts.get_mut(step), self.in_document.get_mut(step)) {
            count.changes += changes;
            count.documents += u64::from(!std::mem::replace(seen, true));
        }
    }
}

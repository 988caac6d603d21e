//! The guard between a gradient and the weights: a NaN or a spike stops the run or is skipped, and is never learnt.
//!
//! A spike is a loss or a gradient norm beyond a multiple of its moving mean. Means are over steps that were learnt,
//! decayed by [`DECAY`], and trusted after [`STEPS_TRUSTED`]; they are saved, so a resumed run judges alike.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How much of a mean stays at each step: it looks back about 50 steps.
const DECAY: f64 = 0.98;
/// Steps learnt before anything is called a spike.
const STEPS_TRUSTED: u64 = 20;
/// Skipped steps in a row that end the run: the model has diverged, and skipping only burns data.
const SKIPPED_MAX: u64 = 50;

/// What happens to a step that must not be learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SpikePolicy {
    /// The run ends with an error; the last checkpoint stays.
    #[default]
    Stop,
    /// The step's gradient is thrown away; its data counts as consumed.
    Skip,
}

/// What the guard remembers; saved with a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct GuardState {
    /// Steps learnt.
    pub learnt: u64,
    /// Steps skipped.
    pub skipped: u64,
    /// Of them, the latest in a row.
    pub skipped_in_a_row: u64,
    /// Moving mean of the loss.
    pub loss: f64,
    /// Moving mean of the gradient norm.
    pub grad_norm: f64,
}

/// The guard of a run.
#[derive(Debug, Clone)]
pub struct Guard {
    policy: SpikePolicy,
    /// A value beyond this multiple of its mean is a spike; 0 is never.
    factor: f64,
    state: GuardState,
}

/// What to do with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Update the weights.
    Learn,
    /// Leave them.
    Skip,
}

impl Guard {
    /// A guard that remembers `state`.
    pub fn new(policy: SpikePolicy, factor: f64, state: GuardState) -> Guard {
        Guard { policy, factor, state }
    }

    /// What it remembers.
    pub fn state(&self) -> GuardState {
        self.state
    }

    /// Judges a step by its loss and gradient norm.
    ///
    /// # Errors
    /// Where the policy is to stop, or too many steps in a row were skipped.
    pub fn judge(&mut self, step: u64, loss: f64, grad_norm: f64) -> Result<Verdict> {
        let values = [("loss", loss, self.state.loss), ("gradient norm", grad_norm, self.state.grad_norm)];
        match values.into_iter().find(|(_, value, mean)| self.is_outlier(*value, *mean)) {
            None => {
                self.learn(loss, grad_norm);
                Ok(Verdict::Learn)
            }
            Some((quantity, value, mean)) => self.skip(step, quantity, value, mean),
        }
    }

    fn is_outlier(&self, value: f64, mean: f64) -> bool {
        let trusted = self.factor > 0.0 && self.state.learnt >= STEPS_TRUSTED;
        !value.is_finite() || (trusted && value > self.factor * mean)
    }

    fn learn(&mut self, loss: f64, grad_norm: f64) {
        let state = &mut self.state;
        let keep = if state.learnt == 0 { 0.0 } else { DECAY };
        state.loss = keep * state.loss + (1.0 - keep) * loss;
        state.grad_norm = keep * state.grad_norm + (1.0 - keep) * grad_norm;
        state.learnt += 1;
        state.skipped_in_a_row = 0;
    }

    fn skip(&mut self, step: u64, quantity: &'static str, value: f64, mean: f64) -> Result<Verdict> {
        self.state.skipped += 1;
        self.state.skipped_in_a_row += 1;
        if self.policy == SpikePolicy::Skip && self.state.skipped_in_a_row < SKIPPED_MAX {
            return Ok(Verdict::Skip);
        }
        Err(match value.is_finite() {
            false => Error::NotFinite { step, quantity, value },
            true => Error::Spike { step, quantity, value, mean },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(policy: SpikePolicy) -> Guard {
        let mut guard = Guard::new(policy, 3.0, GuardState::default());
        (1..=30).for_each(|step| assert_eq!(guard.judge(step, 2.0, 1.0).unwrap(), Verdict::Learn));
        guard
    }

    #[test]
    fn a_spike_is_skipped_and_does_not_move_the_mean() {
        let mut guard = guard(SpikePolicy::Skip);
        assert_eq!(guard.judge(31, 2.0, 3.5).unwrap(), Verdict::Skip);
        assert_eq!(guard.judge(32, 6.5, 1.0).unwrap(), Verdict::Skip);
        assert_eq!(guard.judge(33, 2.0, 2.9).unwrap(), Verdict::Learn);
        assert_eq!((guard.state().skipped, guard.state().skipped_in_a_row), (2, 0));
        assert!((guard.state().loss - 2.0).abs() < 1e-9);
    }

    #[test]
    fn the_policy_to_stop_names_the_quantity_and_the_mean() {
        let error = guard(SpikePolicy::Stop).judge(31, 2.0, 9.0).unwrap_err();
        assert!(error.to_string().starts_with("step 31: gradient norm is 9"), "{error}");
    }

    #[test]
    fn a_nan_is_never_learnt_even_at_the_first_step() {
        let mut guard = Guard::new(SpikePolicy::Skip, 0.0, GuardState::default());
        assert_eq!(guard.judge(1, f64::NAN, 1.0).unwrap(), Verdict::Skip);
        assert_eq!(guard.judge(2, 1.0, f64::INFINITY).unwrap(), Verdict::Skip);
    }

    #[test]
    fn a_run_of_skipped_steps_ends_the_run() {
        let mut guard = Guard::new(SpikePolicy::Skip, 0.0, GuardState::default());
        let error = (1..).find_map(|step| guard.judge(step, f64::NAN, 1.0).err()).unwrap();
        assert!(matches!(error, Error::NotFinite { step: SKIPPED_MAX, .. }));
    }

    #[test]
    fn without_a_factor_only_what_is_not_finite_counts() {
        let mut guard = Guard::new(SpikePolicy::Stop, 0.0, GuardState::default());
        (1..=30).for_each(|step| assert_eq!(guard.judge(step, 2.0, 1.0).unwrap(), Verdict::Learn));
        assert_eq!(guard.judge(31, 1e9, 1e9).unwrap(), Verdict::Learn);
    }
}

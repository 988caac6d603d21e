//! How the next token is chosen from its logits.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::error::{Error, Result};
use crate::rng;

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the most likely token.
    pub temperature: f64,
    /// Only the `top_k` most likely tokens; 0 takes all.
    pub top_k: usize,
    /// Only the most likely tokens that together have this probability; 1 takes all.
    pub top_p: f64,
    /// Above 1, tokens that the context has become less likely: a positive logit is divided by it, a negative one
    /// multiplied (Keskar et al. 2019, CTRL); 1 changes nothing.
    pub repetition_penalty: f64,
    /// Of the choices; the same seed gives the same text.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling { temperature: 0.8, top_k: 50, top_p: 1.0, repetition_penalty: 1.0, seed: 0 }
    }
}

/// Most likely first; of equals, the lower id.
fn rank(logits: &[f32], a: u32, b: u32) -> Ordering {
    let of = |id: u32| logits.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY);
    of(b).total_cmp(&of(a)).then(a.cmp(&b))
}

/// The `count` most likely ids, in order; 0 is all of them.
pub fn most_likely(logits: &[f32], count: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    if (1..order.len()).contains(&count) {
        // A vocabulary of 150,000 is not sorted for 50 candidates.
        order.select_nth_unstable_by(count - 1, |&a, &b| rank(logits, a, b));
        order.truncate(count);
    }
    order.sort_unstable_by(|&a, &b| rank(logits, a, b));
    order
}

impl Sampling {
    /// The most likely token, always.
    pub fn greedy() -> Sampling {
        Sampling { temperature: 0.0, ..Sampling::default() }
    }

    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::Config`], naming the field.
    pub fn validate(&self) -> Result<()> {
        let refuse = |field, problem: &str| Err(Error::Config { field, problem: problem.to_owned() });
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return refuse("temperature", "must be a number of at least 0");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return refuse("top_p", "must be above 0 and at most 1");
        }
        if !(self.repetition_penalty.is_finite() && self.repetition_penalty > 0.0) {
            return refuse("repetition_penalty", "must be a number above 0");
        }
        Ok(())
    }

    fn penalise<'a>(&self, logits: &'a [f32], context: &[u32]) -> Cow<'a, [f32]> {
        if self.repetition_penalty == 1.0 {
            return logits.into();
        }
        let penalty = self.repetition_penalty as f32;
        let mut changed = logits.to_vec();
        let mut seen = context.to_vec();
        seen.sort_unstable();
        seen.dedup();
        for id in seen {
            if let Some(logit) = changed.get_mut(id as usize) {
                *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            }
        }
        changed.into()
    }

    /// Chooses a token from its logits; `context` are the tokens before it, `counter` numbers the choice.
    pub fn choose(&self, logits: &[f32], context: &[u32], counter: u64) -> u32 {
        let logits = self.penalise(logits, context);
        if self.temperature == 0.0 {
            return most_likely(&logits, 1).first().copied().unwrap_or(0);
        }
        let order = most_likely(&logits, self.top_k);
        let best = order.first().copied().unwrap_or(0);
        let highest = f64::from(logits.get(best as usize).copied().unwrap_or(0.0));
        let weight = |id: &u32| ((f64::from(logits[*id as usize]) - highest) / self.temperature).exp();
        let weights: Vec<f64> = order.iter().map(weight).collect();
        let nucleus = nucleus(&weights, self.top_p);
        let target = rng::uniform(self.seed, rng::stream("sample"), counter) * nucleus.iter().sum::<f64>();
        let mut sum = 0.0;
        let chosen = nucleus.iter().position(|weight| {
            sum += weight;
            sum > target
        });
        order.get(chosen.unwrap_or(nucleus.len().saturating_sub(1))).copied().unwrap_or(best)
    }
}

/// The shortest prefix of falling weights that holds the share `top_p` of their sum.
fn nucleus(weights: &[f64], top_p: f64) -> &[f64] {
    let target = weights.iter().sum::<f64>() * top_p;
    let mut sum = 0.0;
    let whole = weights.iter().position(|weight| {
        sum += weight;
        sum >= target
    });
    &weights[..whole.map_or(weights.len(), |index| index + 1)]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const LOGITS: [f32; 5] = [0.0, 3.0, 1.0, 3.0, -9.0];

    fn chosen(sampling: Sampling, context: &[u32]) -> Vec<u32> {
        let ids: BTreeSet<u32> = (0..500).map(|counter| sampling.choose(&LOGITS, context, counter)).collect();
        ids.into_iter().collect()
    }

    #[test]
    fn temperature_zero_takes_the_most_likely_token() {
        assert_eq!(Sampling::greedy().choose(&LOGITS, &[], 9), 1);
    }

    #[test]
    fn top_k_and_top_p_bound_the_choice() {
        let hot = Sampling { temperature: 5.0, top_k: 0, seed: 1, ..Sampling::default() };
        assert_eq!(chosen(hot, &[]), [0, 1, 2, 3, 4]);
        assert_eq!(chosen(Sampling { top_k: 3, ..hot }, &[]), [1, 2, 3]);
        assert_eq!(chosen(Sampling { top_p: 0.5, ..hot }, &[]), [1, 3]);
        assert_eq!(chosen(Sampling { top_k: 99, ..hot }, &[]), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn choices_follow_the_probabilities() {
        let sampling = Sampling { temperature: 1.0, top_k: 0, seed: 7, ..Sampling::default() };
        let logits = [0.0f32, 3f32.ln()];
        let ones = (0..20_000).filter(|&counter| sampling.choose(&logits, &[], counter) == 1).count();
        assert!((ones as f64 / 20_000.0 - 0.75).abs() < 0.02);
    }

    #[test]
    fn tokens_of_the_context_are_penalised_once_by_the_sign_of_their_logit() {
        let penalty = Sampling { repetition_penalty: 2.0, ..Sampling::greedy() };
        assert_eq!(&*penalty.penalise(&LOGITS, &[1, 1, 4, 99]), [0.0, 1.5, 1.0, 3.0, -18.0]);
        assert_eq!((penalty.choose(&LOGITS, &[1], 0), penalty.choose(&LOGITS, &[1, 3], 0)), (3, 1));
    }

    #[test]
    fn logits_that_are_no_numbers_do_not_panic() {
        assert!(Sampling::default().choose(&[f32::NAN; 3], &[], 0) < 3);
        assert_eq!(Sampling::default().choose(&[], &[], 0), 0);
    }

    #[test]
    fn a_setting_out_of_range_is_refused_by_name() {
        for (field, sampling) in [
            ("temperature", Sampling { temperature: -1.0, ..Default::default() }),
            ("top_p", Sampling { top_p: 0.0, ..Default::default() }),
            ("repetition_penalty", Sampling { repetition_penalty: f64::NAN, ..Default::default() }),
        ] {
            assert!(sampling.validate().unwrap_err().to_string().starts_with(field));
        }
    }
}

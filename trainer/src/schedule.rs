//! The learning rate of a step: linear warm-up from 0, then a fall to the minimum by one of several shapes.
//!
//! Steps are counted from 1, and are optimizer steps. The notebook counts micro-steps from 0, so its first step has a
//! learning rate of 0 when there is a warm-up, and its last does not quite reach the minimum; here the last warm-up
//! step has the full rate and the last step has exactly the minimum.

use serde::{Deserialize, Serialize};

/// How the rate falls after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// Half a cosine down to the minimum (Loshchilov & Hutter 2017); the notebook's.
    #[default]
    Cosine,
    /// A straight line down to the minimum.
    Linear,
    /// Warm-up, stable, decay (Hu et al. 2024): at the peak, then a straight line over the last `decay_steps`. A run at
    /// the peak can be made longer without having been planned so.
    Wsd,
    /// At the peak to the end.
    Constant,
}

/// Warm-up and decay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Shape of the fall.
    pub decay: Decay,
    /// Highest rate.
    pub peak: f64,
    /// Rate of the last step and beyond.
    pub minimum: f64,
    /// Steps of warm-up.
    pub warmup_steps: u64,
    /// Steps of the fall, for [`Decay::Wsd`].
    pub decay_steps: u64,
    /// Steps in all.
    pub total_steps: u64,
}

impl Schedule {
    /// The learning rate used at `step`, from 1.
    pub fn learning_rate(&self, step: u64) -> f64 {
        if step <= self.warmup_steps {
            return self.peak * step as f64 / self.warmup_steps as f64;
        }
        let from = match self.decay {
            Decay::Constant => return self.peak,
            Decay::Wsd => self.total_steps.saturating_sub(self.decay_steps).max(self.warmup_steps),
            Decay::Cosine | Decay::Linear => self.warmup_steps,
        };
        if step >= self.total_steps {
            return self.minimum;
        }
        let done = step.saturating_sub(from) as f64 / (self.total_steps - from).max(1) as f64;
        let left = match self.decay {
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
            _ => 1.0 - done,
        };
        self.minimum + left * (self.peak - self.minimum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule =
        Schedule { decay: Decay::Cosine, peak: 1.0, minimum: 0.1, warmup_steps: 10, decay_steps: 20, total_steps: 110 };

    #[test]
    fn warm_up_is_linear_and_ends_at_the_peak() {
        assert_eq!(SCHEDULE.learning_rate(1), 0.1);
        assert_eq!(SCHEDULE.learning_rate(5), 0.5);
        assert_eq!(SCHEDULE.learning_rate(10), 1.0);
    }

    #[test]
    fn the_cosine_is_half_way_in_the_middle_and_minimal_at_the_end() {
        assert!((SCHEDULE.learning_rate(60) - 0.55).abs() < 1e-12);
        assert!((SCHEDULE.learning_rate(35) - (0.1 + 0.45 * (1.0 + 0.5f64.sqrt()))).abs() < 1e-12);
        assert_eq!(SCHEDULE.learning_rate(110), 0.1);
        assert_eq!(SCHEDULE.learning_rate(1000), 0.1);
    }

    #[test]
    fn the_line_is_half_way_in_the_middle_and_minimal_at_the_end() {
        let schedule = Schedule { decay: Decay::Linear, ..SCHEDULE };
        assert!((schedule.learning_rate(60) - 0.55).abs() < 1e-12);
        assert!((schedule.learning_rate(35) - 0.775).abs() < 1e-12);
        assert_eq!(schedule.learning_rate(110), 0.1);
    }

    #[test]
    fn warm_up_stable_decay_stays_at_the_peak_until_the_decay() {
        let schedule = Schedule { decay: Decay::Wsd, ..SCHEDULE };
        assert_eq!((schedule.learning_rate(11), schedule.learning_rate(90)), (1.0, 1.0));
        assert!((schedule.learning_rate(100) - 0.55).abs() < 1e-12);
        assert_eq!(schedule.learning_rate(110), 0.1);
        assert_eq!(Schedule { decay: Decay::Constant, ..SCHEDULE }.learning_rate(110), 1.0);
    }

    #[test]
    fn without_warm_up_it_starts_near_the_peak_and_falls() {
        let schedule = Schedule { warmup_steps: 0, ..SCHEDULE };
        let rates: Vec<f64> = (1..=110).map(|step| schedule.learning_rate(step)).collect();
        assert!(rates[0] > 0.99 && rates.windows(2).all(|pair| pair[1] < pair[0]));
    }

    #[test]
    fn a_warm_up_longer_than_the_run_still_rises() {
        let schedule = Schedule { warmup_steps: 200, ..SCHEDULE };
        assert_eq!(schedule.learning_rate(110), 0.55);
    }
}

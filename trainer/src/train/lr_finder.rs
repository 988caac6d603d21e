//! The learning-rate finder (Smith 2017): the rate grows by a factor each step, and the loss says where it was too much.

use super::Run;
use crate::error::Result;

/// Lowest and highest rate tried.
const RATES: (f64, f64) = (1e-7, 1.0);
/// How much of the smoothed loss stays at each step.
const SMOOTHING: f64 = 0.9;
/// The search ends where the smoothed loss exceeds its lowest by this factor.
const DIVERGED: f64 = 1.5;
/// The suggestion is this part of the rate with the lowest loss: an order of magnitude below where it turns.
const MARGIN: f64 = 0.1;

/// A step of the search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trial {
    /// Rate used.
    pub learning_rate: f64,
    /// Loss before the update.
    pub loss: f64,
    /// Moving mean of the losses so far.
    pub smoothed: f64,
}

/// What the search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// The steps, by rising rate.
    pub trials: Vec<Trial>,
    /// A tenth of the rate at which the smoothed loss was lowest; `None` where no step was finite.
    pub suggestion: Option<f64>,
}

/// The rate of trial `index` of `count`.
fn rate(index: usize, count: usize) -> f64 {
    let (low, high) = RATES;
    low * (high / low).powf(index as f64 / (count.max(2) - 1) as f64)
}

/// The moving mean after one more loss, and its unbiased value.
fn smooth(mean: f64, loss: f64, count: usize) -> (f64, f64) {
    let mean = SMOOTHING * mean + (1.0 - SMOOTHING) * loss;
    (mean, mean / (1.0 - SMOOTHING.powi(count as i32)))
}

fn suggestion(trials: &[Trial]) -> Option<f64> {
    let lowest = trials.iter().min_by(|a, b| a.smoothed.total_cmp(&b.smoothed))?;
    Some(lowest.learning_rate * MARGIN)
}

impl Run {
    /// Tries `steps` rates on the run's data; the run itself is used up, nothing is saved.
    ///
    /// # Errors
    /// Where reading or computing fails.
    pub fn find_learning_rate(mut self, steps: usize, mut trial: impl FnMut(&Trial)) -> Result<Search> {
        let (mut loader, mut trials) = (self.loader()?, Vec::<Trial>::new());
        let (mut mean, mut lowest) = (0f64, f64::INFINITY);
        for index in 0..steps {
            let loss = self.accumulate(&mut loader)?.loss();
            let grad_norm = self.step.gradient_norm()?;
            if !(loss.is_finite() && grad_norm.is_finite()) {
                break;
            }
            let (next, smoothed) = smooth(mean, loss, index + 1);
            mean = next;
            lowest = lowest.min(smoothed);
            let made = Trial { learning_rate: rate(index, steps), loss, smoothed };
            trial(&made);
            trials.push(made);
            if smoothed > DIVERGED * lowest {
                break;
            }
            self.step.update(made.learning_rate, grad_norm, self.config.grad_clip)?;
        }
        Ok(Search { suggestion: suggestion(&trials), trials })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_grow_by_one_factor_from_the_lowest_to_the_highest() {
        assert!((rate(0, 8) - 1e-7).abs() < 1e-20 && (rate(7, 8) - 1.0).abs() < 1e-9);
        assert!((rate(3, 8) / rate(2, 8) - rate(6, 8) / rate(5, 8)).abs() < 1e-9);
    }

    #[test]
    fn the_suggestion_is_a_tenth_of_the_rate_with_the_lowest_loss() {
        let trial = |learning_rate, smoothed| Trial { learning_rate, loss: smoothed, smoothed };
        let trials = [trial(1e-4, 3.0), trial(1e-3, 2.0), trial(1e-2, 1.0), trial(1e-1, 4.0)];
        assert!((suggestion(&trials).unwrap() - 1e-3).abs() < 1e-12);
        assert_eq!(suggestion(&[]), None);
    }

    #[test]
    fn a_constant_loss_is_its_own_moving_mean() {
        let mut mean = 0.0;
        for count in 1..20 {
            let (next, smoothed) = smooth(mean, 2.5, count);
            mean = next;
            assert!((smoothed - 2.5).abs() < 1e-12);
        }
    }
}

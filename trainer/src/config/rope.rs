//! `RopeScaling`: how the rotary frequencies are stretched for contexts longer than the model was trained on.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// `rope_scaling` of a `config.json`, the kind of Llama 3.1 (Llama team 2024): slow frequencies are divided by
/// `factor`, fast ones stay, and those between are blended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RopeScaling {
    /// `llama3`.
    #[serde(alias = "type")]
    pub rope_type: String,
    /// What slow frequencies are divided by.
    pub factor: f64,
    /// Waves longer than `original_max_position_embeddings / low_freq_factor` are slow.
    pub low_freq_factor: f64,
    /// Waves shorter than `original_max_position_embeddings / high_freq_factor` are fast.
    pub high_freq_factor: f64,
    /// Positions the frequencies were made for.
    pub original_max_position_embeddings: usize,
}

impl RopeScaling {
    /// Llama 3's scaling by `factor` of a model trained on `original` positions, with Llama 3.1's bounds 1 and 4.
    pub fn llama3(factor: f64, original: usize) -> RopeScaling {
        RopeScaling {
            rope_type: "llama3".to_owned(),
            factor,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: original,
        }
    }

    /// Checks kind and numbers.
    ///
    /// # Errors
    /// [`Error::Config`], naming `rope_scaling`.
    pub fn validate(&self) -> Result<()> {
        let refuse = |problem: String| Err(Error::Config { field: "rope_scaling", problem });
        if self.rope_type != "llama3" {
            return refuse(format!("rope_type `{}` is not supported, only `llama3`", self.rope_type));
        }
        if !(self.factor >= 1.0 && self.factor.is_finite()) {
            return refuse(format!("factor must be at least 1, not {}", self.factor));
        }
        let bounds = (self.low_freq_factor, self.high_freq_factor);
        if !(bounds.0 > 0.0 && bounds.0 < bounds.1 && bounds.1.is_finite()) {
            return refuse(format!(
                "low_freq_factor {} must be above 0 and below high_freq_factor {}",
                bounds.0, bounds.1
            ));
        }
        match self.original_max_position_embeddings {
            0 => refuse("original_max_position_embeddings must be at least 1".to_owned()),
            _ => Ok(()),
        }
    }

    /// The scaled angle a position of a frequency given in radians a position.
    pub fn scaled(&self, frequency: f64) -> f64 {
        let wave = std::f64::consts::TAU / frequency;
        let original = self.original_max_position_embeddings as f64;
        if wave < original / self.high_freq_factor {
            return frequency;
        }
        if wave > original / self.low_freq_factor {
            return frequency / self.factor;
        }
        let span = self.high_freq_factor - self.low_freq_factor;
        let smooth = (original / wave - self.low_freq_factor) / span;
        (1.0 - smooth) * frequency / self.factor + smooth * frequency
    }
}

/// Angle a position of each of the `head_dim / 2` pairs.
pub fn rotary_frequencies(theta: f64, head_dim: usize, scaling: Option<&RopeScaling>) -> Vec<f64> {
    let plain = |pair: usize| theta.powf(-2.0 * pair as f64 / head_dim as f64);
    (0..head_dim / 2).map(plain).map(|frequency| scaling.map_or(frequency, |s| s.scaled(frequency))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_waves_stay_slow_ones_are_divided_and_the_blend_is_between() {
        let scaling = RopeScaling::llama3(8.0, 8192);
        assert_eq!(scaling.scaled(1.0), 1.0);
        assert_eq!(scaling.scaled(1e-5), 1e-5 / 8.0);
        let between = std::f64::consts::TAU / 4096.0;
        // 8192 / 4096 = 2 waves: a third of the way from 1 to 4.
        assert!((scaling.scaled(between) - between * (2.0 / 3.0 / 8.0 + 1.0 / 3.0)).abs() < 1e-15);
    }

    #[test]
    fn without_scaling_the_frequencies_are_the_powers_of_theta() {
        assert_eq!(rotary_frequencies(10_000.0, 4, None), [1.0, 0.01]);
    }

    #[test]
    fn another_kind_is_refused_rather_than_ignored() {
        let scaling = RopeScaling { rope_type: "yarn".into(), ..RopeScaling::llama3(8.0, 8192) };
        assert!(scaling.validate().unwrap_err().to_string().contains("`yarn` is not supported"));
    }
}

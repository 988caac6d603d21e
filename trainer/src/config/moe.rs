//! `MoeConfig`: a feed-forward layer of many experts, by the notebook's names.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Mixture of experts: each token passes through `num_experts_per_tok` of `n_routed_experts`, and all shared ones.
///
/// The method is DeepSeekMoE's (Dai et al. 2024). An expert is as wide as the dense layer would be
/// (`intermediate_size`); the shared experts are one layer of `n_shared_experts` times that width, which is the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MoeConfig {
    /// Experts to choose from.
    pub n_routed_experts: usize,
    /// Experts chosen for a token.
    pub num_experts_per_tok: usize,
    /// Experts every token passes through; 0 is none.
    pub n_shared_experts: usize,
    /// How the gate turns logits into scores; only `softmax`.
    pub scoring_func: String,
    /// Weight of the auxiliary loss, which is added to the loss; 0 is none.
    pub aux_loss_alpha: f64,
    /// Whether the auxiliary loss balances each sequence, or the micro-batch as a whole.
    pub seq_aux: bool,
    /// Whether the weights of the chosen experts are divided by their sum.
    pub norm_topk_prob: bool,
}

impl Default for MoeConfig {
    /// The notebook's.
    fn default() -> Self {
        MoeConfig {
            n_routed_experts: 4,
            num_experts_per_tok: 2,
            n_shared_experts: 1,
            scoring_func: "softmax".to_owned(),
            aux_loss_alpha: 0.01,
            seq_aux: true,
            norm_topk_prob: true,
        }
    }
}

/// More experts than any model has; keeps products of sizes far from overflow.
const EXPERTS_MAX: usize = 1024;

impl MoeConfig {
    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::Config`], naming the field.
    pub fn validate(&self) -> Result<()> {
        let refuse = |field, problem: String| Err(Error::Config { field, problem });
        if !(1..=EXPERTS_MAX).contains(&self.n_routed_experts) {
            return refuse(
                "n_routed_experts",
                format!("must be between 1 and {EXPERTS_MAX}, not {}", self.n_routed_experts),
            );
        }
        if !(1..=self.n_routed_experts).contains(&self.num_experts_per_tok) {
            let problem = format!(
                "must be between 1 and the {} experts, not {}",
                self.n_routed_experts, self.num_experts_per_tok
            );
            return refuse("num_experts_per_tok", problem);
        }
        if self.n_shared_experts > EXPERTS_MAX {
            return refuse("n_shared_experts", format!("must be at most {EXPERTS_MAX}, not {}", self.n_shared_experts));
        }
        if self.scoring_func != "softmax" {
            return refuse("scoring_func", format!("`{}` is not supported, only `softmax`", self.scoring_func));
        }
        match self.aux_loss_alpha.is_finite() && self.aux_loss_alpha >= 0.0 {
            true => Ok(()),
            false => refuse("aux_loss_alpha", format!("must be a number of at least 0, not {}", self.aux_loss_alpha)),
        }
    }

    /// Whether the chosen weights are normalised: with one expert a token its score is its weight.
    pub fn normalises(&self) -> bool {
        self.norm_topk_prob && self.num_experts_per_tok > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_experts_a_token_than_there_are_is_refused_by_name() {
        let moe = MoeConfig { num_experts_per_tok: 5, ..MoeConfig::default() };
        assert!(
            moe.validate().unwrap_err().to_string().starts_with("num_experts_per_tok: must be between 1 and the 4")
        );
    }

    #[test]
    fn another_scoring_function_is_refused_rather_than_ignored() {
        let moe = MoeConfig { scoring_func: "sigmoid".into(), ..MoeConfig::default() };
        assert!(moe.validate().unwrap_err().to_string().starts_with("scoring_func"));
    }
}

//! Losses of a step, added up over micro-batches and ranks.

use super::MicroLoss;
use crate::distributed::World;
use crate::error::Result;

/// Sums over micro-batches, each weighted by its targets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    targets: f64,
    cross_entropy: f64,
    z: f64,
    auxiliary: f64,
    expert_tokens: Vec<f64>,
}

impl Totals {
    /// Adds a micro-batch.
    pub fn add(&mut self, loss: &MicroLoss) {
        let targets = loss.parts.targets as f64;
        self.targets += targets;
        self.cross_entropy += loss.parts.cross_entropy * targets;
        self.z += loss.parts.z * targets;
        self.auxiliary += loss.auxiliary * targets;
        self.expert_tokens.resize(loss.expert_tokens.len(), 0.0);
        self.expert_tokens.iter_mut().zip(&loss.expert_tokens).for_each(|(sum, tokens)| *sum += *tokens as f64);
    }

    /// The sums over all ranks.
    ///
    /// # Errors
    /// Where a rank has gone.
    pub fn over_ranks(self, world: &mut World) -> Result<Totals> {
        if world.size() == 1 {
            return Ok(self);
        }
        let mut values = vec![self.targets, self.cross_entropy, self.z, self.auxiliary];
        values.extend(self.expert_tokens);
        let sums = world.totals(&values)?;
        Ok(Totals {
            targets: sums[0],
            cross_entropy: sums[1],
            z: sums[2],
            auxiliary: sums[3],
            expert_tokens: sums[4..].to_vec(),
        })
    }

    fn mean(&self, sum: f64) -> f64 {
        sum / self.targets.max(1.0)
    }

    /// Targets that counted.
    pub fn tokens(&self) -> u64 {
        self.targets as u64
    }

    /// Mean cross-entropy.
    pub fn loss(&self) -> f64 {
        self.mean(self.cross_entropy)
    }

    /// Mean z-loss, where there is any.
    pub fn z_loss(&self) -> Option<f64> {
        (self.z != 0.0).then(|| self.mean(self.z))
    }

    /// Mean auxiliary loss, where there are experts.
    pub fn aux_loss(&self) -> Option<f64> {
        (!self.expert_tokens.is_empty()).then(|| self.mean(self.auxiliary))
    }

    /// Share of choices of each of `experts`, over all layers.
    pub fn expert_load(&self, experts: usize) -> Option<Vec<f64>> {
        let all: f64 = self.expert_tokens.iter().sum();
        let share = |expert| self.expert_tokens.iter().skip(expert).step_by(experts.max(1)).sum::<f64>() / all.max(1.0);
        (!self.expert_tokens.is_empty()).then(|| (0..experts).map(share).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::LossParts;

    #[test]
    fn means_weigh_each_target_alike_and_loads_are_shares() {
        let loss = |cross_entropy, targets| MicroLoss {
            parts: LossParts { cross_entropy, z: 0.0, targets },
            auxiliary: 0.5,
            expert_tokens: vec![3, 1, 2, 2],
        };
        let mut totals = Totals::default();
        totals.add(&loss(1.0, 3));
        totals.add(&loss(5.0, 1));
        assert_eq!((totals.loss(), totals.tokens(), totals.aux_loss(), totals.z_loss()), (2.0, 4, Some(0.5), None));
        assert_eq!(totals.expert_load(2).unwrap(), [0.625, 0.375]);
    }
}

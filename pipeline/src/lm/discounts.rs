//! What modified Kneser-Ney smoothing takes off a count of one, two, and three or more.

/// How many n-grams of an order have each small adjusted count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Statistics {
    /// n-grams by adjusted count from 1 to 4, pruned ones too.
    with_count: [u64; 4],
    /// All n-grams.
    pub all: u64,
    /// Those that are not pruned.
    pub kept: u64,
}

impl Statistics {
    pub fn add(&mut self, count: u64, is_pruned: bool) {
        self.all += 1;
        self.kept += u64::from(!is_pruned);
        let at = usize::try_from(count).ok().and_then(|count| count.checked_sub(1));
        if let Some(with_count) = at.and_then(|at| self.with_count.get_mut(at)) {
            *with_count += 1;
        }
    }

    /// Chen and Goodman's estimates (1998, equation 26): D(i) = i - (i + 1) Y n(i + 1) / n(i), Y = n1 / (n1 + 2 n2).
    /// None where the corpus is too small or too artificial for them: a count that no n-gram has, a discount out of
    /// its range.
    fn estimated(&self) -> Option<[f64; 3]> {
        let [n1, n2, n3, n4] = self.with_count.map(|n| n as f64);
        if n1 == 0.0 || n2 == 0.0 || n3 == 0.0 {
            return None;
        }
        let y = n1 / (n1 + 2.0 * n2);
        let discounts = [1.0 - 2.0 * y * n2 / n1, 2.0 - 3.0 * y * n3 / n2, 3.0 - 4.0 * y * n4 / n3];
        let fits = discounts.iter().zip([1.0, 2.0, 3.0]).all(|(discount, most)| (0.0..=most).contains(discount));
        fits.then_some(discounts)
    }
}

/// What is taken off the counts of an order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Discounts {
    /// Off a count of 1, of 2, and of 3 or more.
    pub amounts: [f64; 3],
    /// Whether the corpus said too little, and KenLM's fallback stands here.
    pub is_fallback: bool,
}

impl Discounts {
    const FALLBACK: [f64; 3] = [0.5, 1.0, 1.5];

    pub(super) fn of(statistics: &Statistics) -> Discounts {
        let estimated = statistics.estimated();
        Discounts { amounts: estimated.unwrap_or(Self::FALLBACK), is_fallback: estimated.is_none() }
    }

    /// What is taken off a count.
    pub(super) fn off(&self, count: u64) -> f64 {
        let [one, two, more] = self.amounts;
        match count {
            0 => 0.0,
            1 => one,
            2 => two,
            _ => more,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics(with_count: [u64; 4]) -> Statistics {
        Statistics { with_count, all: 0, kept: 0 }
    }

    #[test]
    fn the_estimates_are_those_of_the_paper() {
        let discounts = Discounts::of(&statistics([100, 50, 30, 20]));
        assert_eq!(discounts.amounts, [0.5, 2.0 - 1.5 * 0.6, 3.0 - 2.0 * 20.0 / 30.0]);
        assert!(!discounts.is_fallback);
    }

    #[test]
    fn a_count_that_no_ngram_has_or_a_discount_below_zero_takes_the_fallback() {
        for with_count in [[100, 0, 30, 20], [0, 50, 30, 20], [10, 50, 3000, 20]] {
            let discounts = Discounts::of(&statistics(with_count));
            assert_eq!((discounts.amounts, discounts.is_fallback), (Discounts::FALLBACK, true));
        }
    }
}

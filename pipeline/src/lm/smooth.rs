//! From adjusted counts to probabilities that shorter n-grams are yet to be mixed into, one order at a time.

use std::path::Path;

use super::counts::Adjusted;
use super::discounts::Discounts;
use super::gram::Gram;
use super::sort::{RunWriter, Sorted, Sorter, Stream};
use crate::error::Error;

/// What the n-grams of one context add up to.
#[derive(Debug, Clone, Copy, Default)]
struct Context {
    /// Sum of adjusted counts.
    total: u64,
    /// What discounts and pruning leave to shorter n-grams, in counts.
    left: f64,
    grams: u64,
    kept: u64,
}

impl Context {
    fn add(&mut self, adjusted: Adjusted, discounts: &Discounts) {
        self.total += adjusted.count;
        self.grams += 1;
        if adjusted.is_pruned {
            self.left += adjusted.count as f64;
        } else {
            self.left += discounts.off(adjusted.count);
            self.kept += 1;
        }
    }

    fn weight(&self) -> f64 {
        self.left / self.total as f64
    }
}

/// Writes the weight of each context to `backoffs`, by suffix, and beside it 1 if one of its n-grams is not pruned,
/// else 0; hands n-grams that are not pruned to `out`, with their discounted share and the weight of what shorter ones
/// say.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn smooth(
    grams: &Sorted,
    order: usize,
    discounts: &Discounts,
    backoffs: &Path,
    out: &mut Sorter,
) -> Result<(), Error> {
    let mut backoffs = RunWriter::create(backoffs, order - 1)?;
    // One reads a context to its end before the other hands out its n-grams: a context may have any number of them.
    let (mut ahead, mut behind) = (grams.stream()?, grams.stream()?);
    let mut next = ahead.next()?;
    while let Some(first) = next {
        let words = first.context();
        let mut context = Context::default();
        while let Some(gram) = next.filter(|gram| gram.context() == words) {
            context.add(Adjusted::unpack(gram.value), discounts);
            next = ahead.next()?;
        }
        let weight = context.weight() as f32;
        if order > 1 {
            backoffs.write(&Gram::with_shares(words, weight, f32::from(u8::from(context.kept > 0))))?;
        }
        hand_out(&mut behind, &context, weight, discounts, out)?;
    }
    backoffs.finish()
}

fn hand_out(
    behind: &mut Stream<'_>,
    context: &Context,
    weight: f32,
    discounts: &Discounts,
    out: &mut Sorter,
) -> Result<(), Error> {
    for _ in 0..context.grams {
        let Some(gram) = behind.next()? else { break };
        let Adjusted { count, is_pruned } = Adjusted::unpack(gram.value);
        if !is_pruned {
            let share = (count as f64 - discounts.off(count)) / context.total as f64;
            out.push(Gram::with_shares(gram.words, share as f32, weight))?;
        }
    }
    Ok(())
}

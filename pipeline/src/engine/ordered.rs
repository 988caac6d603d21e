//! One reader, many workers, one writer, in order: how a single task uses every core.
//!
//! The calling thread produces items and consumes results; the work between runs on the pool. While it waits for the
//! oldest result it works off the pool's jobs itself, so a pool of one thread makes progress too.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::error::Error;

type Outcome<R> = Result<Result<R, Error>, Box<dyn Any + Send>>;

/// A result on its way.
struct Slot<R>(Mutex<Option<Outcome<R>>>);

impl<R> Slot<R> {
    fn take(&self) -> Option<Outcome<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, outcome: Outcome<R>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }

    /// Works off other jobs until the result is there.
    fn wait(&self) -> Result<R, Error> {
        loop {
            match self.take() {
                Some(Ok(result)) => return result,
                Some(Err(panic)) => resume_unwind(panic),
                None if rayon::yield_now() == Some(rayon::Yield::Executed) => {}
                None => std::thread::sleep(Duration::from_micros(20)),
            }
        }
    }
}

/// Runs `produce` until it returns None, `work` on each item on the pool, and `consume` on the results in the order
/// of the items. At most `in_flight` items (at least one) exist at once, which bounds memory.
///
/// # Errors
/// The first error in item order; what is in flight is waited for and thrown away.
pub fn ordered<T: Send, R: Send>(
    in_flight: usize,
    mut produce: impl FnMut() -> Result<Option<T>, Error>,
    work: impl Fn(T) -> Result<R, Error> + Sync,
    mut consume: impl FnMut(R) -> Result<(), Error>,
) -> Result<(), Error> {
    let work = &work;
    rayon::in_place_scope(|scope| {
        let mut waiting: VecDeque<Arc<Slot<R>>> = VecDeque::with_capacity(in_flight);
        loop {
            if waiting.len() >= in_flight
                && let Some(oldest) = waiting.pop_front()
            {
                consume(oldest.wait()?)?;
            }
            let Some(item) = produce()? else { break };
            let slot = Arc::new(Slot(Mutex::new(None)));
            waiting.push_back(Arc::clone(&slot));
            scope.spawn(move |_| slot.put(catch_unwind(AssertUnwindSafe(|| work(item)))));
        }
        waiting.into_iter().try_for_each(|slot| consume(slot.wait()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn squares(threads: usize, count: u64) -> Vec<u64> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut items = 0..count;
        let mut results = Vec::new();
        pool.install(|| {
            ordered(
                3,
                || Ok(items.next()),
                |item| Ok(item * item),
                |result| {
                    results.push(result);
                    Ok(())
                },
            )
        })
        .unwrap();
        results
    }

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let expected: Vec<u64> = (0..100).map(|item| item * item).collect();
        assert_eq!(squares(1, 100), expected);
        assert_eq!(squares(4, 100), expected);
    }

    #[test]
    fn the_first_error_ends_it() {
        let mut items = 0..10;
        let mut seen = 0;
        let result = ordered(
            2,
            || Ok(items.next()),
            |item| if item == 3 { Err(Error::Interrupted(2)) } else { Ok(item) },
            |_| {
                seen += 1;
                Ok(())
            },
        );
        assert!(matches!(result, Err(Error::Interrupted(2))));
        assert_eq!(seen, 3);
    }
}

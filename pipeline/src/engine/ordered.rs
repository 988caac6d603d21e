//! One reader, many workers, one writer, in order: how a single task uses every core.
//!
//! The calling thread produces items and consumes results; the work between runs on the pool. While it waits for the
//! oldest result it works off the pool's jobs itself, so a pool of one thread makes progress too.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::memory::{Held, Room};
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

/// How much exists at once between `produce` and `consume`.
pub struct Bounds<'a, T> {
    /// Items; one where 0.
    pub items: usize,
    /// Memory for large documents.
    pub room: &'a Room,
    /// Bytes of the documents of an item.
    pub weigh: fn(&T) -> u64,
}

/// Runs `produce` until it returns None, `work` on each item on the pool, and `consume` on the results in the order
/// of the items. What exists at once is bounded, which bounds memory.
///
/// # Errors
/// The first error in item order; what is in flight is waited for and thrown away.
pub fn ordered<T: Send, R: Send>(
    bounds: &Bounds<'_, T>,
    mut produce: impl FnMut() -> Result<Option<T>, Error>,
    work: impl Fn(T) -> Result<R, Error> + Sync,
    mut consume: impl FnMut(R) -> Result<(), Error>,
) -> Result<(), Error> {
    let work = &work;
    rayon::in_place_scope(|scope| {
        let mut waiting: VecDeque<(Arc<Slot<R>>, Held<'_>)> = VecDeque::with_capacity(bounds.items);
        loop {
            if waiting.len() >= bounds.items.max(1)
                && let Some((oldest, held)) = waiting.pop_front()
            {
                consume(oldest.wait()?)?;
                drop(held);
            }
            let Some(item) = produce()? else { break };
            let weight = (bounds.weigh)(&item);
            let held = loop {
                if let Some(held) = bounds.room.try_hold(weight) {
                    break held;
                }
                // Only who holds nothing may wait for others.
                match waiting.pop_front() {
                    Some((oldest, held)) => {
                        consume(oldest.wait()?)?;
                        drop(held);
                    }
                    None => break bounds.room.hold(weight),
                }
            };
            let slot = Arc::new(Slot(Mutex::new(None)));
            waiting.push_back((Arc::clone(&slot), held));
            scope.spawn(move |_| slot.put(catch_unwind(AssertUnwindSafe(|| work(item)))));
        }
        waiting.into_iter().try_for_each(|(slot, _held)| consume(slot.wait()?))
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
                &Bounds { items: 3, room: &Room::new(0, 1), weigh: |_| 0 },
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
    fn items_that_have_no_room_beside_each_other_come_one_by_one() {
        let mut items = 0..20_u64;
        let at_once = std::sync::atomic::AtomicU64::new(0);
        let mut results = Vec::new();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let bounds = Bounds { items: 5, room: &Room::new(0, 1), weigh: |_| 1 << 30 };
        pool.install(|| {
            ordered(
                &bounds,
                || {
                    Ok(items
                        .next()
                        .inspect(|_| assert!(at_once.fetch_add(1, std::sync::atomic::Ordering::SeqCst) <= 1)))
                },
                Ok,
                |item| {
                    at_once.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    results.push(item);
                    Ok(())
                },
            )
        })
        .unwrap();
        assert_eq!(results, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_error_ends_it() {
        let mut items = 0..10;
        let mut seen = 0;
        let result = ordered(
            &Bounds { items: 2, room: &Room::new(0, 1), weigh: |_| 0 },
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

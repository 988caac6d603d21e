//! Data parallel training: the ranks of a job, and the sums and agreements between them.
//!
//! Every rank trains the same model on its share of each global batch; gradients are added up before the update, so
//! all ranks make the same update and weights never differ. Ranks find each other by the variables that torchrun,
//! Slurm or Open MPI set, and form a ring of TCP connections.
//!
//! **Invariant:** a sum depends on the number of ranks, never on timing: the order of its terms is fixed by rank. A rank
//! that ends or fails closes its connections, so its neighbours fail with an error that names it, and so on around the
//! ring: nobody waits for ever.

mod place;
mod ring;

pub use place::{Place, place};

use std::time::Duration;

use crate::error::{Error, Result};
use ring::Ring;

/// How long ranks are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Until all ranks have come.
    pub rendezvous: Duration,
    /// Until a neighbour says something.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience { rendezvous: Duration::from_secs(300), silence: Duration::from_secs(1800) }
    }
}

/// The ranks of a job, seen from one of them.
pub struct World {
    rank: usize,
    size: usize,
    ring: Option<Ring>,
}

impl World {
    /// One process.
    pub fn alone() -> World {
        World { rank: 0, size: 1, ring: None }
    }

    /// Joins the ranks of a job; all must have the same `fingerprint` of their settings.
    ///
    /// # Errors
    /// [`Error::Distributed`] where a rank does not come, comes twice, or has other settings.
    pub fn join(place: &Place, fingerprint: u64, patience: Patience) -> Result<World> {
        let ring = if place.size > 1 { Some(Ring::form(place, fingerprint, patience)?) } else { None };
        Ok(World { rank: place.rank, size: place.size, ring })
    }

    /// This rank, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Ranks in all.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether this rank writes what the job writes.
    pub fn is_first(&self) -> bool {
        self.rank == 0
    }

    /// Replaces `values` by their sums over all ranks, the same bits on each.
    ///
    /// # Errors
    /// Where a rank has gone, or gives another number of values.
    pub fn sum(&mut self, values: &mut [f32]) -> Result<()> {
        match &mut self.ring {
            Some(ring) => ring.sum(values).map_err(|problem| self.failed(problem)),
            None => Ok(()),
        }
    }

    /// The values of every rank, by rank.
    ///
    /// # Errors
    /// As [`World::sum`].
    pub fn gather(&mut self, values: &[f64]) -> Result<Vec<Vec<f64>>> {
        match &mut self.ring {
            Some(ring) => ring.gather(values).map_err(|problem| self.failed(problem)),
            None => Ok(vec![values.to_vec()]),
        }
    }

    /// The sums of the values of all ranks, added in the order of the ranks.
    ///
    /// # Errors
    /// As [`World::sum`].
    pub fn totals(&mut self, values: &[f64]) -> Result<Vec<f64>> {
        let of_ranks = self.gather(values)?;
        Ok((0..values.len()).map(|index| of_ranks.iter().map(|of_rank| of_rank[index]).sum()).collect())
    }

    /// What rank 0 says.
    ///
    /// # Errors
    /// As [`World::sum`].
    pub fn first_says(&mut self, value: u64) -> Result<u64> {
        // Two halves, because a f64 holds 53 bits.
        let halves = self.gather(&[(value >> 32) as f64, (value & 0xffff_ffff) as f64])?;
        let [high, low] =
            [0, 1].map(|half| halves.first().and_then(|said| said.get(half)).copied().unwrap_or(0.0) as u64);
        Ok(high << 32 | low)
    }

    /// The largest of what the ranks say.
    ///
    /// # Errors
    /// As [`World::sum`].
    pub fn largest(&mut self, value: u8) -> Result<u8> {
        let said = self.gather(&[f64::from(value)])?;
        Ok(said.iter().flatten().fold(0.0f64, |most, value| most.max(*value)) as u8)
    }

    fn failed(&self, problem: String) -> Error {
        Error::Distributed { rank: self.rank, size: self.size, problem }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Several ranks in one process.

    use super::*;

    /// A port that was free a moment ago.
    pub fn free_port() -> u16 {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    /// The place of a rank on this machine.
    pub fn local_place(rank: usize, size: usize, port: u16) -> Place {
        Place { rank, size, local_rank: rank, master: "127.0.0.1".into(), port, launcher: "test" }
    }

    /// Runs `job` as each rank of a world, and returns what they return, by rank.
    pub fn ranks<R: Send>(size: usize, job: impl Fn(World) -> R + Sync) -> Vec<R> {
        let port = free_port();
        std::thread::scope(|scope| {
            let start = |rank| {
                let job = &job;
                scope.spawn(move || {
                    let place = local_place(rank, size, port);
                    let patience = Patience { rendezvous: Duration::from_secs(20), ..Patience::default() };
                    job(World::join(&place, 7, patience).unwrap())
                })
            };
            let threads: Vec<_> = (0..size).map(start).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{free_port, local_place, ranks};
    use super::*;

    #[test]
    fn sums_are_right_and_the_same_bits_on_every_rank() {
        for size in [1, 2, 3, 4] {
            // Fewer values than ranks, none, and a number that does not divide.
            for count in [0, 1, 2, 1001] {
                let value = |rank: usize, i: usize| (i as f32 * 0.37 + rank as f32).sin();
                let found = ranks(size, |mut world| {
                    let mut values: Vec<f32> = (0..count).map(|i| value(world.rank(), i)).collect();
                    world.sum(&mut values).unwrap();
                    values
                });
                assert!(found.iter().all(|values| *values == found[0]));
                for (i, sum) in found[0].iter().enumerate() {
                    let expected: f32 = (0..size).map(|rank| value(rank, i)).sum();
                    assert!((sum - expected).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn every_rank_gathers_the_values_of_all_in_their_order() {
        let found = ranks(4, |mut world| {
            let rank = world.rank() as f64;
            (world.gather(&[rank, -rank]).unwrap(), world.totals(&[rank]).unwrap()[0])
        });
        let expected: Vec<Vec<f64>> = (0..4).map(|rank| vec![f64::from(rank), -f64::from(rank)]).collect();
        assert!(found.iter().all(|(gathered, total)| *gathered == expected && *total == 6.0));
    }

    #[test]
    fn ranks_agree_on_what_the_first_and_the_largest_say() {
        let word = 0x1234_5678_9abc_def0u64;
        let found = ranks(3, |mut world| {
            let own = if world.is_first() { word } else { 5 };
            (world.first_says(own).unwrap(), world.largest(world.rank() as u8).unwrap())
        });
        assert_eq!(found, vec![(word, 2); 3]);
    }

    #[test]
    fn a_rank_that_ends_makes_the_others_fail_and_is_named() {
        let errors = ranks(3, |mut world| match world.rank() {
            1 => String::new(),
            _ => {
                let error = (0..1000).find_map(|_| world.sum(&mut [1.0; 64]).err());
                error.expect("an error").to_string()
            }
        });
        assert!(errors[2].contains("rank 1 has gone"), "{errors:?}");
        assert!(errors[0].contains("has gone"), "{errors:?}");
    }

    #[test]
    fn a_rank_that_does_not_come_is_named() {
        let patience = Patience { rendezvous: Duration::from_millis(300), ..Patience::default() };
        let error = World::join(&local_place(0, 3, free_port()), 7, patience).err().unwrap().to_string();
        assert!(error.contains("ranks 1, 2 did not come"), "{error}");
    }

    #[test]
    fn a_rank_with_other_settings_is_refused_on_both_sides() {
        let (port, patience) = (free_port(), Patience { rendezvous: Duration::from_secs(5), ..Patience::default() });
        let errors: Vec<String> = std::thread::scope(|scope| {
            let start = |rank: usize| {
                let place = local_place(rank, 2, port);
                scope.spawn(move || World::join(&place, rank as u64, patience).err().unwrap().to_string())
            };
            let threads: Vec<_> = (0..2).map(start).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(errors.iter().all(|error| error.contains("other settings")), "{errors:?}");
    }
}

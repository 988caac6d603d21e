//! Merge after merge.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::cells::{Cells, Frequent, Part, TOKEN_LIMIT, count_of};
use super::pairs::{Pair, Pairs, Places};
use super::words::WordCounts;

/// The tokens that there are before merging.
#[derive(Debug, Clone)]
pub struct Alphabet {
    /// The token of each byte.
    pub bytes: [u32; 256],
    /// How many tokens there are.
    pub len: usize,
    /// Tokens that stand for more than one byte, by their bytes: a merge that makes such bytes makes that token.
    pub fixed: HashMap<Vec<u8>, u32>,
}

/// What was learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learned {
    /// Left, right and made token, in order of rank.
    pub merges: Vec<(u32, u32, u32)>,
    /// The bytes of the new tokens, which are numbered on from the alphabet's.
    pub tokens: Vec<Vec<u8>>,
}

/// Places of a pair from which on they are worked off by several threads.
const PARALLEL_MIN: usize = 1 << 14;

/// Learns merges until there are `vocab_size` tokens or no pair occurs at least `min_frequency` times; `each` is called
/// for each merge. None: the words are longer in all than 4 GiB, or `vocab_size` is beyond 2^20.
///
/// The result is that of `tokenizers` 0.23 for the same words. A merged pair keeps its count there, but never occurs
/// again, so nothing depends on it; that counts go stale in its queue changes nothing either, since they only fall, and
/// are looked up when their turn comes. Counts have 64 bits here and 32 there.
pub fn learn(
    words: WordCounts,
    alphabet: &Alphabet,
    vocab_size: usize,
    min_frequency: u64,
    mut each: impl FnMut(),
) -> Option<Learned> {
    let mut cells = Cells::default();
    cells.all.reserve_exact(words.bytes() as usize + words.len() + 1);
    let mut fits = vocab_size < TOKEN_LIMIT as usize;
    words.drain(|word, count| fits &= cells.add(word, count, &alphabet.bytes));
    if !fits {
        return None;
    }
    let pairs = Pairs::of_bytes(&cells, &alphabet.bytes, min_frequency.max(1));
    let queue = pairs.counts().map(|(pair, count)| (count, Reverse(pair))).collect();
    let mut learner = Learner { cells, pairs, queue, vocabulary: Vocabulary::new(alphabet), changes: Vec::new() };
    let mut merges = Vec::new();
    while learner.vocabulary.len() < vocab_size {
        let Some(pair) = learner.most_frequent() else { break };
        let made = learner.vocabulary.make(pair);
        merges.push((pair.0, pair.1, made));
        learner.merge(pair, made);
        each();
    }
    let tokens = learner.vocabulary.bytes.split_off(alphabet.len);
    Some(Learned { merges, tokens })
}

struct Learner {
    cells: Cells,
    pairs: Pairs,
    /// The most frequent first, of equal ones the lowest ids.
    queue: BinaryHeap<(u64, Reverse<Pair>)>,
    vocabulary: Vocabulary,
    /// One for each thread that works on a merge.
    changes: Vec<Changes>,
}

/// Tokens by id.
struct Vocabulary {
    bytes: Vec<Vec<u8>>,
    lengths: Vec<u32>,
    fixed: HashMap<Vec<u8>, u32>,
}

impl Vocabulary {
    fn new(alphabet: &Alphabet) -> Vocabulary {
        let mut bytes = vec![Vec::new(); alphabet.len];
        for (byte, token) in (0..=255).zip(alphabet.bytes) {
            if let Some(slot) = bytes.get_mut(token as usize) {
                slot.push(byte);
            }
        }
        let lengths = vec![1; bytes.len()];
        Vocabulary { bytes, lengths, fixed: alphabet.fixed.clone() }
    }

    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn bytes(&self, token: u32) -> &[u8] {
        self.bytes.get(token as usize).map_or(&[], Vec::as_slice)
    }

    /// The token of two.
    fn make(&mut self, (left, right): Pair) -> u32 {
        let bytes = [self.bytes(left), self.bytes(right)].concat();
        if let Some(token) = self.fixed.get(&bytes) {
            if let Some(length) = self.lengths.get_mut(*token as usize) {
                *length = bytes.len() as u32;
            }
            if let Some(slot) = self.bytes.get_mut(*token as usize) {
                *slot = bytes;
            }
            return *token;
        }
        self.lengths.push(bytes.len() as u32);
        self.bytes.push(bytes);
        self.bytes.len() as u32 - 1
    }
}

/// What a merge of `left right` to `made` changes on one side of the new tokens, by the token that stands there.
#[derive(Default)]
struct Side {
    by_token: Vec<Change>,
    touched: Vec<u32>,
}

#[derive(Default)]
struct Change {
    touched: bool,
    /// Occurrences beside the old token that are no more.
    lost: u64,
    /// Occurrences beside the new token, some of which may be lost again.
    gained: Places,
}

impl Side {
    #[inline(always)]
    fn of(&mut self, token: u32) -> &mut Change {
        let at = token as usize;
        if at >= self.by_token.len() {
            self.by_token.resize_with(at + 1, Change::default);
        }
        // The length was made sure of; the first entry stands for what cannot be.
        let at = at.min(self.by_token.len() - 1);
        let (by_token, touched) = (&mut self.by_token, &mut self.touched);
        #[expect(clippy::indexing_slicing, reason = "below the length, which is not 0")]
        let change = &mut by_token[at];
        if !change.touched {
            change.touched = true;
            touched.push(token);
        }
        change
    }

    /// Hands out all changes and forgets them.
    fn drain(&mut self) -> Vec<(u32, Change)> {
        let touched = std::mem::take(&mut self.touched);
        let take = |token: u32| Some((token, std::mem::take(self.by_token.get_mut(token as usize)?)));
        touched.into_iter().filter_map(take).collect()
    }

    /// Adds changes at later places.
    fn add(&mut self, later: &mut Side) {
        for (token, change) in later.drain() {
            let own = self.of(token);
            own.lost += change.lost;
            own.gained.count += change.gained.count;
            own.gained.places.extend(change.gained.places);
        }
    }
}

/// What one thread's part of a merge changes.
#[derive(Default)]
struct Changes {
    before: Side,
    behind: Side,
}

/// A merge under way.
#[derive(Clone, Copy)]
struct Merge<'a> {
    pair: Pair,
    made: u32,
    /// Bytes of each token.
    lengths: &'a [u32],
}

impl Learner {
    fn most_frequent(&mut self) -> Option<Pair> {
        loop {
            let (queued, Reverse(pair)) = self.queue.pop()?;
            match self.pairs.count(pair) {
                Some(count) if count == queued => return Some(pair),
                Some(count) => self.queue.push((count, Reverse(pair))),
                None => {}
            }
        }
    }

    fn merge(&mut self, pair: Pair, made: u32) {
        let Some(Places { places, .. }) = self.pairs.take(pair) else { return };
        let lengths = &self.vocabulary.lengths;
        let merge = Merge { pair, made, lengths };
        let threads = if places.len() < PARALLEL_MIN { 1 } else { rayon::current_num_threads() };
        while self.changes.len() < threads {
            self.changes.push(Changes::default());
        }
        let part = Part { cells: &mut self.cells.all, base: 0 };
        let changes = self.changes.get_mut(..threads).unwrap_or_default();
        merge.work_off(part, &places, changes, &self.cells.frequent);
        drop(places);
        self.settle(pair, made, threads);
    }

    /// Adds the changes of all threads, in the order of their places, and counts anew.
    fn settle(&mut self, (left, right): Pair, made: u32, threads: usize) {
        let parts = self.changes.get_mut(..threads).and_then(<[_]>::split_first_mut);
        let Some((Changes { before, behind }, later)) = parts else { return };
        for part in later {
            before.add(&mut part.before);
            behind.add(&mut part.behind);
        }
        // Of two new tokens side by side, the second was still `left` when the first was made.
        let again = std::mem::take(&mut before.of(made).lost);
        behind.of(left).gained.count -= again;
        for (token, change) in before.drain() {
            self.pairs.lessen((token, left), change.lost);
            add(&mut self.pairs, &mut self.queue, (token, made), change.gained);
        }
        for (token, change) in behind.drain() {
            self.pairs.lessen((right, token), change.lost);
            add(&mut self.pairs, &mut self.queue, (made, token), change.gained);
        }
    }
}

fn add(pairs: &mut Pairs, queue: &mut BinaryHeap<(u64, Reverse<Pair>)>, pair: Pair, places: Places) {
    let count = places.count;
    if pairs.add(pair, places) {
        queue.push((count, Reverse(pair)));
    }
}

impl Merge<'_> {
    fn length_of(&self, token: u32) -> u32 {
        self.lengths.get(token as usize).copied().unwrap_or(1)
    }

    /// Merges at `places`, all in `part`, on as many threads as there are `changes`.
    fn work_off(self, part: Part<'_>, places: &[u32], changes: &mut [Changes], frequent: &Frequent) {
        if let [changes] = changes {
            return self.work_off_part(part, places, changes, frequent);
        }
        let (first, second) = changes.split_at_mut(changes.len() / 2);
        let Some(middle) = places.get(places.len() / 2) else { return };
        let [left, right] = part.cut(*middle);
        let (before, behind) = places.split_at(places.partition_point(|place| *place < right.base));
        rayon::join(|| self.work_off(left, before, first, frequent), || self.work_off(right, behind, second, frequent));
    }

    fn work_off_part(self, mut part: Part<'_>, places: &[u32], changes: &mut Changes, frequent: &Frequent) {
        let (left, right) = self.pair;
        let (left_bytes, bytes) = (self.length_of(left), self.length_of(self.made));
        for place in places.iter().copied() {
            let middle = place + left_bytes;
            let Some(cell) = part.begins(place, left).filter(|_| part.begins(middle, right).is_some()) else {
                continue;
            };
            let count = count_of(cell, place, frequent);
            let end = place + bytes;
            if let Some(token) = part.before(place) {
                let change = changes.before.of(token);
                change.lost += count;
                change.gained.count += count;
                change.gained.places.push(place - self.length_of(token));
            }
            if let Some(token) = part.at(end) {
                let change = changes.behind.of(token);
                change.lost += count;
                change.gained.count += count;
                change.gained.places.push(place);
            }
            part.join(place, middle, end - 1, self.made);
        }
    }
}

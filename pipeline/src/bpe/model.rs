//! A vocabulary and its merges, made ready: which tokens merging can make at all, how each is made, and which two may
//! stand side by side.
//!
//! A token is made in one way, because merging a text of its bytes goes one way: its last merge splits it into two
//! tokens, and so on down to single symbols. Two tokens `a b` stand side by side in merged text exactly if merging
//! their bytes gives `a b` again, and a sequence is what merging gives exactly if each two neighbours are so: no merge
//! crosses a border before the tokens beside it are complete, whatever stands further away. (Whoever doubts it: project
//! the merges of the whole text onto two neighbours; they are those of the two alone, until one crosses a border.) So
//! encoding is a search for the one sequence whose neighbours agree, and needs no queue of merges.

use std::collections::HashMap;
use std::ops::Range;

use super::classes::decode;
use super::junctions::Junctions;
use super::merges::{ID_LIMIT, Merges};
use super::token_table::TokenTable;
use super::trie::{Match, NONE, Trie};

/// A vocabulary entry: its id and its bytes.
pub struct Entry {
    /// The token's id.
    pub id: u32,
    /// What it stands for in text.
    pub bytes: Vec<u8>,
}

/// How a token is made, in one word, because there are many and they are looked at in no order: the rank of the last
/// merge, 0 for a symbol; the two tokens merged; whether each merge on the way has a higher rank than those that made
/// its parts; whether there is such a token.
#[derive(Clone, Copy)]
struct Way(u64);

const RIGHT: u32 = 20;
const RANK: u32 = 40;
const ASCENDING: u64 = 1 << 62;
const EXISTS: u64 = 1 << 63;
/// Ranks have the bits between.
const RANK_LIMIT: usize = 1 << (62 - RANK);

impl Way {
    const ABSENT: Way = Way(ASCENDING);
    const SYMBOL: Way = Way(ASCENDING | EXISTS);

    fn new(rank: u32, left: u32, right: u32, ascending: bool) -> Way {
        let flags = if ascending { ASCENDING | EXISTS } else { EXISTS };
        Way(flags | u64::from(rank) << RANK | u64::from(right) << RIGHT | u64::from(left))
    }

    #[inline(always)]
    fn rank(self) -> u32 {
        (self.0 >> RANK) as u32 & (RANK_LIMIT as u32 - 1)
    }

    #[inline(always)]
    fn left(self) -> u32 {
        self.0 as u32 & (ID_LIMIT - 1)
    }

    #[inline(always)]
    fn right(self) -> u32 {
        (self.0 >> RIGHT) as u32 & (ID_LIMIT - 1)
    }

    #[inline(always)]
    fn is_ascending(self) -> bool {
        self.0 & ASCENDING != 0
    }

    fn exists(self) -> bool {
        self.0 & EXISTS != 0
    }
}

/// A vocabulary that encodes.
pub struct Model {
    ways: Vec<Way>,
    /// By token: the longest one that begins it, itself not counted.
    prefixes: Vec<Match>,
    merges: Merges,
    trie: Trie,
    table: TokenTable,
    junctions: Junctions,
    bytes: Vec<Box<[u8]>>,
    symbols: Symbols,
    /// Tokens that merging never makes and that are pieces all the same, by their bytes.
    whole: HashMap<Box<[u8]>, u32>,
    /// Bytes of the longest of these.
    whole_bytes_max: usize,
}

/// What the merging of a text begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Its bytes.
    Byte,
    /// Its characters.
    Char,
}

/// The token of each symbol.
struct Symbols {
    unit: Unit,
    by_bytes: HashMap<Box<[u8]>, u32>,
    /// A bit for each code point that is a symbol.
    chars: Vec<u64>,
}

impl Symbols {
    /// The symbols of a text of known symbols.
    fn of(&self, text: &[u8]) -> Option<Vec<u32>> {
        let ends = (1..=text.len()).filter(|end| match self.unit {
            Unit::Byte => true,
            Unit::Char => text.get(*end).is_none_or(|byte| byte & 0xc0 != 0x80),
        });
        let mut start = 0;
        let symbol = |end| {
            let symbol = self.by_bytes.get(text.get(start..end)?).copied();
            start = end;
            symbol
        };
        ends.map(symbol).collect()
    }

    fn add_if_one(&mut self, entry: &Entry) {
        let mut chars = std::str::from_utf8(&entry.bytes).unwrap_or_default().chars();
        let only_char = chars.next().filter(|_| chars.next().is_none());
        let is_one = match self.unit {
            Unit::Byte => entry.bytes.len() == 1,
            Unit::Char => only_char.is_some(),
        };
        if !is_one {
            return;
        }
        self.by_bytes.insert(entry.bytes.clone().into(), entry.id);
        if let Some(bits) = only_char.and_then(|c| self.chars.get_mut(c as usize / 64)) {
            *bits |= 1 << (only_char.map_or(0, u32::from) % 64);
        }
    }

    fn holds(&self, code_point: u32) -> bool {
        self.chars.get(code_point as usize / 64).is_some_and(|bits| bits >> (code_point % 64) & 1 == 1)
    }
}

impl Model {
    /// Makes a vocabulary ready. `merges` are `(left, right, made)` in order of rank. With `ignore_merges`, a piece that
    /// is in the vocabulary is that token even if merging its bytes gives others.
    ///
    /// None: the vocabulary, or a token, is larger than the tables hold.
    pub fn new(unit: Unit, entries: Vec<Entry>, merges: &[(u32, u32, u32)], ignore_merges: bool) -> Option<Model> {
        let size = entries.iter().map(|entry| entry.id as usize + 1).max().unwrap_or(0);
        let too_long = entries.iter().any(|entry| entry.bytes.len() >= Match::LENGTH_LIMIT);
        if too_long || size >= ID_LIMIT as usize || merges.len() >= RANK_LIMIT {
            return None;
        }
        let mut bytes: Vec<Box<[u8]>> = vec![Box::default(); size];
        let mut symbols = Symbols { unit, by_bytes: HashMap::new(), chars: vec![0; 0x11_0000 / 64] };
        for entry in entries {
            symbols.add_if_one(&entry);
            if let Some(slot) = bytes.get_mut(entry.id as usize) {
                *slot = entry.bytes.into();
            }
        }
        let (ways, prefixes) = (vec![Way::ABSENT; size], vec![Match::NONE; size]);
        let trie = Trie::new(&[], |_| &[], |_| NONE)?;
        let (merges_table, junctions) = (Merges::new(merges), Junctions::default());
        let table = TokenTable::default();
        let mut model = Model {
            ways,
            prefixes,
            merges: merges_table,
            trie,
            table,
            junctions,
            bytes,
            symbols,
            whole: HashMap::new(),
            whole_bytes_max: 0,
        };
        model.plant(merges);
        model.grow_trie(ignore_merges)?;
        Some(model)
    }

    /// Finds how each token is made, shorter ones first.
    fn plant(&mut self, merges: &[(u32, u32, u32)]) {
        let mut ways: Vec<(u32, u32, u32)> =
            (1..).zip(merges).map(|(rank, (.., made))| (self.length(*made), *made, rank)).collect();
        ways.sort_unstable();
        let symbols: Vec<u32> = self.symbols.by_bytes.values().copied().collect();
        for id in symbols {
            self.set(id, Way::SYMBOL);
        }
        for ways in ways.chunk_by(|left, right| left.1 == right.1) {
            let Some((_, made, _)) = ways.first() else { continue };
            let pairs = ways.iter().filter_map(|(.., rank)| {
                let (left, right, _) = merges.get(*rank as usize - 1)?;
                (self.merges.rank(*left, *right) == Some(*rank)).then_some((*left, *right, *rank))
            });
            let way = self.way(*made, pairs);
            self.set(*made, way.unwrap_or(Way::ABSENT));
        }
    }

    fn set(&mut self, id: u32, way: Way) {
        if let Some(slot) = self.ways.get_mut(id as usize) {
            *slot = way;
        }
    }

    /// The way in which a token is made, among pairs that would make it; None if merging its bytes gives another.
    fn way(&self, made: u32, pairs: impl Iterator<Item = (u32, u32, u32)>) -> Option<Way> {
        let mut odd = false;
        for (left, right, rank) in pairs {
            let [left_way, right_way] = [self.way_of(left), self.way_of(right)];
            if !left_way.exists() || !right_way.exists() {
                continue;
            }
            let ascends = rank > left_way.rank() && rank > right_way.rank();
            if !(ascends && left_way.is_ascending() && right_way.is_ascending()) {
                odd = true;
            } else if self.no_merge_between_parts(left, right) {
                return Some(Way::new(rank, left, right, true));
            }
        }
        if odd { self.way_by_merging(made) } else { None }
    }

    fn way_by_merging(&self, made: u32) -> Option<Way> {
        let mut symbols = self.symbols.of(self.bytes(made))?;
        while symbols.len() > 2 {
            let before = symbols.len();
            self.merges.merge_once(&mut symbols);
            if symbols.len() == before {
                return None;
            }
        }
        let [left, right] = *symbols.first_chunk::<2>()?;
        let rank = self.merges.rank(left, right).filter(|rank| self.merges.made(*rank) == made)?;
        Some(Way::new(rank, left, right, false))
    }

    /// Sorts the tokens that merging makes by their bytes, finds the prefix of each, and makes the trie.
    fn grow_trie(&mut self, ignore_merges: bool) -> Option<()> {
        let all = 0..self.size();
        let named = all.filter(|id| !self.bytes(*id).is_empty());
        let (mut sorted, unreachable): (Vec<u32>, Vec<u32>) = named.partition(|id| self.way_of(*id).exists());
        sorted.sort_unstable_by(|left, right| self.bytes(*left).cmp(self.bytes(*right)));
        let mut begun: Vec<u32> = Vec::new();
        for id in &sorted {
            while begun.last().is_some_and(|last| !self.bytes(*id).starts_with(self.bytes(*last))) {
                begun.pop();
            }
            let prefix = begun.last().map_or(Match::NONE, |prefix| self.match_of(*prefix));
            if let Some(slot) = self.prefixes.get_mut(*id as usize) {
                *slot = prefix;
            }
            begun.push(*id);
        }
        for id in &sorted {
            self.junctions.add(self.bytes.get(*id as usize).map_or(&[], |bytes| bytes));
        }
        self.trie = Trie::new(&sorted, |id| self.bytes(id), |id| self.prefix_of(id).token_or_none())?;
        self.table = TokenTable::new(sorted.iter().map(|id| (*id, self.bytes(*id))));
        if ignore_merges {
            self.whole = unreachable.into_iter().map(|id| (self.bytes(id).into(), id)).collect();
            self.whole_bytes_max = self.whole.keys().map(|bytes| bytes.len()).max().unwrap_or(0);
        }
        Some(())
    }

    /// The largest id plus one.
    pub fn size(&self) -> u32 {
        self.ways.len() as u32
    }

    /// What a token stands for in text; nothing if there is none of this id.
    pub fn bytes(&self, id: u32) -> &[u8] {
        self.bytes.get(id as usize).map_or(&[], |bytes| bytes)
    }

    fn length(&self, id: u32) -> u32 {
        self.bytes(id).len() as u32
    }

    #[inline(always)]
    fn way_of(&self, id: u32) -> Way {
        self.ways.get(id as usize).copied().unwrap_or(Way::ABSENT)
    }

    /// The longest token at `start`.
    #[inline(always)]
    pub fn longest_at(&self, text: &[u8], start: usize) -> Match {
        self.trie.longest_at(text, start)
    }

    /// The token of a short piece that is one, by [`Key::bits`](super::memo::Key::bits).
    #[inline(always)]
    pub fn token_of(&self, key: u128) -> Option<u32> {
        self.table.get(key)
    }

    /// Whether merging makes a token.
    pub fn is_made(&self, id: u32) -> bool {
        self.way_of(id).exists()
    }

    /// A token and its length.
    pub fn match_of(&self, id: u32) -> Match {
        Match::new(id, self.bytes(id).len())
    }

    /// The longest token that begins a token, itself not counted.
    #[inline(always)]
    pub fn prefix_of(&self, id: u32) -> Match {
        self.prefixes.get(id as usize).copied().unwrap_or(Match::NONE)
    }

    /// The token of a piece that is one although merging never makes it.
    pub fn whole(&self, piece: &[u8]) -> Option<u32> {
        if piece.len() > self.whole_bytes_max { None } else { self.whole.get(piece).copied() }
    }

    /// Whether there are such tokens: then a part of a piece may have other ids than a piece of the same bytes.
    #[inline(always)]
    pub fn has_whole(&self) -> bool {
        self.whole_bytes_max > 0
    }

    /// Whether no token holds the border between the characters at `at`, so that any two tokens may meet there.
    #[inline(always)]
    pub fn never_merges(&self, text: &[u8], at: usize) -> bool {
        self.junctions.never_merges(text, at)
    }

    /// Whether two tokens may stand side by side.
    #[inline]
    pub fn may_follow(&self, left: u32, right: u32) -> bool {
        if !(self.way_of(left).is_ascending() && self.way_of(right).is_ascending()) {
            return self.may_follow_by_merging(left, right);
        }
        self.merges.rank(left, right).is_none() && self.no_merge_between_parts(left, right)
    }

    /// Whether no merge crosses the border of two tokens before both are complete: goes back in time, undoing the
    /// later of the two tokens' last merges, and looks each time whether the symbols beside the border would have
    /// merged before that.
    #[inline]
    fn no_merge_between_parts(&self, mut left: u32, mut right: u32) -> bool {
        loop {
            let [left_way, right_way] = [self.way_of(left), self.way_of(right)];
            // Of equal ranks, the left token's merge came first.
            let before = if left_way.rank() > right_way.rank() {
                left = left_way.right();
                left_way.rank()
            } else if right_way.rank() > 0 {
                right = right_way.left();
                right_way.rank() + 1
            } else {
                return true;
            };
            if self.merges.rank(left, right).is_some_and(|rank| rank < before) {
                return false;
            }
        }
    }

    #[cold]
    fn may_follow_by_merging(&self, left: u32, right: u32) -> bool {
        let text = [self.bytes(left), self.bytes(right)].concat();
        let Some(mut symbols) = self.symbols.of(&text) else { return false };
        self.merges.merge_all(&mut symbols);
        symbols == [left, right]
    }

    /// The characters of a text that are no symbols.
    pub fn unknown_chars<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = Range<usize>> + 'a {
        let mut at = 0;
        std::iter::from_fn(move || {
            loop {
                let (code_point, length) = decode(text, at);
                let start = at;
                at += length;
                if length == 0 {
                    return None;
                }
                if !self.symbols.holds(code_point) {
                    return Some(start..at);
                }
            }
        })
    }
}

#[cfg(test)]
impl Model {
    /// How many tokens are made by merges whose ranks do not ascend.
    pub fn not_ascending(&self) -> usize {
        self.ways.iter().filter(|way| !way.is_ascending()).count()
    }

    /// The definition that the search is compared with.
    pub fn encode_by_merging(&self, text: &[u8]) -> Option<Vec<u32>> {
        let mut symbols = self.symbols.of(text)?;
        self.merges.merge_all(&mut symbols);
        Some(symbols)
    }
}

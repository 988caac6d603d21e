//! All distinct words, symbol by symbol, in one array in which merging moves nothing.
//!
//! A byte of a word has a cell. A token of several bytes stands in its first and its last cell, so that the token
//! before any place and the one behind it are found without links; cells between them hold nothing. Between words is
//! [`GAP`].

/// What stands between two words.
pub const GAP: u32 = TOKEN;
/// A cell inside a token.
const INSIDE: u32 = TOKEN - 1;
/// Tokens have the low 20 bits of a cell.
const TOKEN: u32 = (1 << 20) - 1;
/// Tokens are below this.
pub const TOKEN_LIMIT: u32 = INSIDE;
/// Set where a token begins.
const BEGINS: u32 = 1 << 20;
/// The word's count stands in the bits above; this and greater counts are looked up.
const COUNT_MAX: u64 = (1 << 11) - 1;

/// Words of a count too large for a cell: where each begins, ascending, and its count.
pub type Frequent = Vec<(u32, u64)>;

/// The words.
#[derive(Default)]
pub struct Cells {
    /// All words, each behind a gap, and a gap.
    pub all: Vec<u32>,
    pub frequent: Frequent,
}

/// A run of cells from a gap on, and where it begins.
pub struct Part<'a> {
    pub cells: &'a mut [u32],
    pub base: u32,
}

impl Cells {
    /// Adds a word; false if there are more cells than places can tell.
    pub fn add(&mut self, word: &[u8], count: u64, tokens: &[u32; 256]) -> bool {
        let start = self.all.len() + 1;
        if start + word.len() >= u32::MAX as usize {
            return false;
        }
        if count >= COUNT_MAX {
            self.frequent.push((start as u32, count));
        }
        let high = (count.min(COUNT_MAX) as u32) << 21 | BEGINS;
        self.all.push(GAP);
        self.all.extend(word.iter().filter_map(|byte| tokens.get(usize::from(*byte))).map(|token| token | high));
        true
    }
}

/// The token of a cell.
pub fn token_of(cell: u32) -> u32 {
    cell & TOKEN
}

/// How often the word occurs of which a token begins at `place` with this cell.
#[inline(always)]
pub fn count_of(cell: u32, place: u32, frequent: &Frequent) -> u64 {
    let count = u64::from(cell >> 21);
    if count < COUNT_MAX {
        return count;
    }
    let behind = frequent.partition_point(|(start, _)| *start <= place);
    frequent.get(..behind).and_then(<[_]>::last).map_or(0, |(_, count)| *count)
}

impl Part<'_> {
    /// Cuts the part in two at the beginning of the word that `place` is in.
    pub fn cut(self, place: u32) -> [Self; 2] {
        let within = place.wrapping_sub(self.base) as usize;
        let word = self.cells.iter().take(within).rposition(|cell| *cell == GAP).unwrap_or(0);
        let base = self.base + word as u32;
        let (left, right) = self.cells.split_at_mut(word);
        [Part { cells: left, base: self.base }, Part { cells: right, base }]
    }

    #[inline(always)]
    fn cell(&self, place: u32) -> u32 {
        self.cells.get(place.wrapping_sub(self.base) as usize).copied().unwrap_or(GAP)
    }

    fn set(&mut self, place: u32, cell: u32) {
        if let Some(slot) = self.cells.get_mut(place.wrapping_sub(self.base) as usize) {
            *slot = cell;
        }
    }

    /// The cell of `token` if it begins at `place`.
    #[inline(always)]
    pub fn begins(&self, place: u32, token: u32) -> Option<u32> {
        Some(self.cell(place)).filter(|cell| cell & (BEGINS | TOKEN) == BEGINS | token)
    }

    /// The token that ends before `place`; None at the beginning of a word.
    #[inline(always)]
    pub fn before(&self, place: u32) -> Option<u32> {
        Some(token_of(self.cell(place.wrapping_sub(1)))).filter(|token| *token != GAP)
    }

    /// The token that begins at `place`; None at the end of a word.
    #[inline(always)]
    pub fn at(&self, place: u32) -> Option<u32> {
        Some(token_of(self.cell(place))).filter(|token| *token != GAP)
    }

    /// Puts one token where two stood: from `start` on, the second from `middle`, the last cell at `last`.
    #[inline(always)]
    pub fn join(&mut self, start: u32, middle: u32, last: u32, token: u32) {
        let count = self.cell(start) & !(BEGINS | TOKEN);
        self.set(middle - 1, INSIDE);
        self.set(middle, INSIDE);
        self.set(last, token);
        self.set(start, count | BEGINS | token);
    }
}

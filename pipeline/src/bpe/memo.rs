//! What a thread remembers of the text before: fixed tables that forget, so that memory is bounded and no text is
//! slower than its own work.

/// What one thread needs to encode: the ids of short pieces, and which tokens may follow which.
pub struct Memo {
    /// The tokenizer that the tables are of.
    owner: u64,
    pieces: Box<[Set; SETS]>,
    pairs: Box<[u64; PAIRS]>,
    /// Places of the piece at hand where no token may end; a bit a byte.
    pub dead_ends: Vec<u64>,
    /// Text as the vocabulary spells it.
    pub spelled: Vec<u8>,
}

/// 32 bytes a piece: 4 MiB, so that English words stay; the frequent ones are in the nearest cache anyway. A quarter of
/// this was 20 to 40 % slower on English.
const SETS: usize = 1 << 16;
/// Two pieces of one cache line: a newer one moves the older aside, and then takes its place.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Set([Piece; 2]);

const PAIRS: usize = 1 << 16;
/// Longest piece that is remembered, in bytes.
const PIECE_BYTES_MAX: usize = 15;

#[derive(Clone, Copy)]
struct Piece {
    /// Bytes and, in the highest byte, the length; 0 where nothing is remembered.
    key: u128,
    /// Two ids a word where all are below 2^16, else one; then their number.
    ids: [u32; 4],
}

/// Most ids of a remembered piece whose ids are all below 2^16: the eighth place is for their number.
const SHORT_IDS_MAX: usize = 7;
/// Most ids of other pieces.
const LONG_IDS_MAX: usize = 3;
/// Set in the number of long ids.
const LONG: u32 = 1 << 31;

impl Piece {
    const NOTHING: Piece = Piece { key: 0, ids: [0; 4] };

    #[inline(always)]
    fn new(key: Key, ids: &[u32]) -> Option<Piece> {
        let mut packed = [0; 4];
        if ids.len() <= SHORT_IDS_MAX && ids.iter().all(|id| *id < 1 << 16) {
            ids.iter().enumerate().for_each(|(at, id)| packed[at / 2 % 4] |= id << (at % 2 * 16));
            packed[3] |= (ids.len() as u32) << 16;
        } else if ids.len() <= LONG_IDS_MAX {
            packed.iter_mut().zip(ids).for_each(|(to, from)| *to = *from);
            packed[3] = LONG | ids.len() as u32;
        } else {
            return None;
        }
        Some(Piece { key: key.0, ids: packed })
    }

    /// Appends the ids: always as many as there may be, of which the number is kept, for that is hard to predict.
    #[inline(always)]
    fn append(&self, out: &mut Vec<u32>) {
        let start = out.len();
        let [a, b, c, d] = self.ids;
        if d & LONG != 0 {
            out.extend_from_slice(&[a, b, c]);
            return out.truncate(start + (d & !LONG) as usize);
        }
        let low = |word: u32| word & 0xffff;
        out.extend_from_slice(&[low(a), a >> 16, low(b), b >> 16, low(c), c >> 16, low(d), d >> 16]);
        out.truncate(start + (d >> 16) as usize);
    }
}

/// A piece short enough to be remembered.
#[derive(Clone, Copy)]
pub struct Key(pub u128);

impl Key {
    /// The key of a piece of `text`; None if it is empty or too long.
    #[inline(always)]
    pub fn of(text: &[u8], start: usize, end: usize) -> Option<Key> {
        let length = end.wrapping_sub(start);
        if length.wrapping_sub(1) >= PIECE_BYTES_MAX {
            return None;
        }
        let bits = match text.get(start..).and_then(|rest| rest.first_chunk::<16>()) {
            Some(chunk) => u128::from_le_bytes(*chunk) & (u128::MAX >> (128 - 8 * length)),
            None => {
                let mut chunk = [0; 16];
                let piece = text.get(start..end).unwrap_or_default();
                chunk.iter_mut().zip(piece).for_each(|(to, from)| *to = *from);
                u128::from_le_bytes(chunk)
            }
        };
        Some(Key(bits | (length as u128) << 120))
    }

    #[inline(always)]
    pub fn slot(self) -> usize {
        let [low, high] = [self.0 as u64, (self.0 >> 64) as u64];
        let mixed =
            (low ^ high.rotate_left(23)).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ high.wrapping_mul(0xd6e8_feb8_6659_fd93);
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SETS.trailing_zeros())) as usize
    }
}

impl Default for Memo {
    fn default() -> Memo {
        Memo {
            owner: 0,
            pieces: boxed(Set([Piece::NOTHING; 2])),
            pairs: boxed(u64::MAX),
            dead_ends: Vec::new(),
            spelled: Vec::new(),
        }
    }
}

/// An array that is never on the stack: of megabytes, it would overflow a worker's.
pub(super) fn boxed<T: Copy, const N: usize>(value: T) -> Box<[T; N]> {
    match vec![value; N].into_boxed_slice().try_into() {
        Ok(array) => array,
        Err(_) => unreachable!("{N} elements are an array of {N}"),
    }
}

impl Memo {
    /// Forgets everything unless it is of this tokenizer. Whether it was another's.
    pub fn belong_to(&mut self, owner: u64) -> bool {
        let changed = self.owner != owner;
        if changed {
            self.pieces.fill(Set([Piece::NOTHING; 2]));
            self.pairs.fill(u64::MAX);
            self.owner = owner;
        }
        changed
    }

    /// Appends the ids of a piece, if they are remembered.
    #[inline(always)]
    pub fn recall(&self, key: Key, out: &mut Vec<u32>) -> bool {
        let Set([newer, older]) = &self.pieces[key.slot() % SETS];
        let piece = if newer.key == key.0 { newer } else { older };
        if piece.key != key.0 {
            return false;
        }
        piece.append(out);
        true
    }

    /// Remembers the ids of a piece, if they are few.
    #[inline(always)]
    pub fn remember(&mut self, key: Key, ids: &[u32]) {
        if let Some(piece) = Piece::new(key, ids) {
            let Set([newer, older]) = &mut self.pieces[key.slot() % SETS];
            (*older, *newer) = (*newer, piece);
        }
    }

    /// Whether a pair may stand side by side: remembered, or found out and remembered.
    #[inline(always)]
    pub fn may_follow(&mut self, left: u32, right: u32, find_out: impl FnOnce() -> bool) -> bool {
        let key = u64::from(left) << 32 | u64::from(right) << 1;
        let slot = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - PAIRS.trailing_zeros())) as usize % PAIRS;
        if self.pairs[slot] & !1 == key {
            return self.pairs[slot] & 1 == 1;
        }
        let may = find_out();
        self.pairs[slot] = key | u64::from(may);
        may
    }

    /// Forgets the dead ends of the piece before; there is room for a piece of `bytes`.
    pub fn clear_dead_ends(&mut self, bytes: usize) {
        self.dead_ends.clear();
        self.dead_ends.resize(bytes / 64 + 1, 0);
    }

    /// Whether no token may end at a place.
    pub fn is_dead_end(&self, at: usize) -> bool {
        self.dead_ends.get(at / 64).is_some_and(|bits| bits >> (at % 64) & 1 == 1)
    }

    /// Notes that no token may end at a place.
    pub fn mark_dead_end(&mut self, at: usize) {
        if let Some(bits) = self.dead_ends.get_mut(at / 64) {
            *bits |= 1 << (at % 64);
        }
    }
}

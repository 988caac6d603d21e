//! What a thread remembers of the text before: fixed tables that forget, so that memory is bounded and no text is
//! slower than its own work.

use super::merges::ID_LIMIT;

/// What one thread needs to encode: the ids of short pieces, and which tokens may follow which.
pub struct Memo {
    /// The tokenizer that the tables are of.
    owner: u64,
    pieces: Box<[Set; SETS]>,
    /// Longer pieces, and those of more ids.
    long: Box<[LongEntry; LONG]>,
    /// Ids of single characters, by code point.
    chars: Box<[Ids; CHARS]>,
    pairs: Box<[u64; PAIRS]>,
    /// Places of the piece at hand where no token may end; a bit a byte.
    pub dead_ends: Vec<u64>,
    /// Text as the vocabulary spells it.
    pub spelled: Vec<u8>,
}

/// 32 bytes a piece: 8 MiB, so that the words of much English stay. Half of this was 15 to 30 % slower on a second pass
/// over 12 MB of it.
const SETS: usize = 1 << 17;
/// Two pieces of one cache line. A new piece takes the place of the second, and a second piece that is met again
/// changes places with the first: what occurs once does not drive out what occurs often.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Set([Entry; 2]);

const PAIRS: usize = 1 << 16;
/// A mebibyte of longer pieces: one in a hundred English words is one, and takes long to encode.
const LONG: usize = 1 << 14;
/// Code points below U+10000.
const CHARS: usize = 1 << 16;
/// Longest piece that is remembered, in bytes.
const PIECE_BYTES_MAX: usize = 15;

/// Longest piece that is remembered as a long one, in bytes.
const LONG_BYTES_MAX: usize = 31;

/// As [`Entry`], of twice the size.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct LongEntry {
    key: LongKey,
    ids: [Ids; 4],
}

/// Up to 31 bytes, and their number in the last.
type LongKey = [u8; LONG_BYTES_MAX + 1];

/// Most ids of a remembered long piece.
const LONG_IDS_MAX: usize = 12;

#[derive(Clone, Copy)]
struct Entry {
    /// Bytes and, in the highest byte, the length; 0 where nothing is remembered.
    key: u128,
    ids: [Ids; 2],
}

/// Up to three ids of 20 bits, and in the highest bits a number: of all ids of what they belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ids(u64);

/// Most ids of a remembered piece.
const IDS_MAX: usize = 6;
/// Most ids of a remembered character.
const CHAR_IDS_MAX: usize = 3;
const ID_BITS: u32 = ID_LIMIT.trailing_zeros();

impl Ids {
    const NONE: Ids = Ids(0);

    fn new(ids: &[u32], number: usize) -> Ids {
        let packed = ids.iter().rev().fold(0, |packed, id| packed << ID_BITS | u64::from(*id));
        Ids((number as u64) << 60 | packed)
    }

    #[inline(always)]
    fn number(self) -> usize {
        (self.0 >> 60) as usize
    }

    #[inline(always)]
    fn all(self) -> [u32; 3] {
        [0, ID_BITS, 2 * ID_BITS].map(|shift| (self.0 >> shift) as u32 & (ID_LIMIT - 1))
    }
}

/// Appends ids: always three, of which the number is kept, for that is hard to predict; seldom more.
#[inline(always)]
fn append(first: Ids, more: Ids, out: &mut Vec<u32>) {
    let start = out.len();
    out.extend_from_slice(&first.all());
    if first.number() > 3 {
        out.extend_from_slice(&more.all());
    }
    out.truncate(start + first.number());
}

impl Entry {
    const NOTHING: Entry = Entry { key: 0, ids: [Ids::NONE; 2] };

    #[inline(always)]
    fn new(key: Key, ids: &[u32]) -> Entry {
        let (first, more) = ids.split_at(ids.len().min(3));
        Entry { key: key.0, ids: [Ids::new(first, ids.len()), Ids::new(more, 0)] }
    }
}

/// Pieces that are found before the first of them is encoded.
pub const AHEAD: usize = 16;

/// A piece of a text: what is encoded on its own.
#[derive(Clone, Copy, Default)]
pub struct Piece {
    pub start: usize,
    pub end: usize,
    /// [`Key::NONE`] if it is empty or too long.
    pub key: Key,
    /// Where it is remembered: a hash of the key.
    slot: u32,
}

impl Piece {
    /// `text[start..end]`.
    #[inline(always)]
    pub fn new(text: &[u8], start: usize, end: usize) -> Piece {
        Piece::without_key(start, end).with_key(Key::of(text, start, end))
    }

    /// One that is not remembered.
    #[inline(always)]
    pub fn without_key(start: usize, end: usize) -> Piece {
        Piece { start, end, key: Key::NONE, slot: 0 }
    }

    /// The same with another key.
    #[inline(always)]
    pub fn with_key(self, key: Key) -> Piece {
        Piece { key, slot: key.slot() as u32, ..self }
    }
}

/// By length: the bits of so many bytes.
const MASKS: [u128; 16] = {
    let mut masks = [0; 16];
    let mut length = 1;
    while length < 16 {
        masks[length] = u128::MAX >> (128 - 8 * length);
        length += 1;
    }
    masks
};

/// What a piece that is short enough is remembered by: its bytes and, in the highest byte, their number.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Key(u128);

impl Key {
    /// The key of what is not remembered. A piece never has it, for it has a length.
    pub const NONE: Key = Key(0);

    /// The key of a piece of `text`.
    #[inline(always)]
    pub fn of(text: &[u8], start: usize, end: usize) -> Key {
        let length = end.wrapping_sub(start);
        if length.wrapping_sub(1) >= PIECE_BYTES_MAX {
            return Key::NONE;
        }
        let bits = match text.get(start..).and_then(|rest| rest.first_chunk::<16>()) {
            Some(chunk) => u128::from_le_bytes(*chunk) & MASKS[length % MASKS.len()],
            None => {
                let mut chunk = [0; 16];
                let piece = text.get(start..end).unwrap_or_default();
                chunk.iter_mut().zip(piece).for_each(|(to, from)| *to = *from);
                u128::from_le_bytes(chunk)
            }
        };
        Key(bits | (length as u128) << 120)
    }

    /// Bytes, zeros behind them, and the length.
    #[inline(always)]
    pub fn bits(self) -> u128 {
        self.0
    }

    /// Another key for the same bytes.
    #[inline(always)]
    pub fn marked(self) -> Key {
        if self == Key::NONE { self } else { Key(self.0 | 1 << 127) }
    }

    /// The key of a piece again.
    #[inline(always)]
    pub fn unmarked(self) -> Key {
        Key(self.0 & !(1 << 127))
    }

    #[inline(always)]
    fn slot(self) -> usize {
        let [low, high] = [self.0 as u64, (self.0 >> 64) as u64];
        let product = u128::from(low ^ 0x9e37_79b9_7f4a_7c15) * u128::from(high ^ 0xd6e8_feb8_6659_fd93);
        (product as u64 ^ (product >> 64) as u64) as usize
    }
}

fn long_key(piece: &[u8]) -> Option<LongKey> {
    let mut key = [0; LONG_BYTES_MAX + 1];
    key.get_mut(..piece.len()).filter(|_| piece.len() <= LONG_BYTES_MAX)?.copy_from_slice(piece);
    key[LONG_BYTES_MAX] = piece.len() as u8;
    Some(key)
}

fn long_slot(key: &LongKey) -> usize {
    let words = key.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
    let hash = words.fold(0_u64, |hash, word| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31));
    (hash.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 40) as usize % LONG
}

impl Default for Memo {
    fn default() -> Memo {
        Memo {
            owner: 0,
            pieces: boxed(Set([Entry::NOTHING; 2])),
            long: boxed(LongEntry { key: [0; 32], ids: [Ids::NONE; 4] }),
            chars: boxed(Ids::NONE),
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
            self.pieces.fill(Set([Entry::NOTHING; 2]));
            self.long.fill(LongEntry { key: [0; 32], ids: [Ids::NONE; 4] });
            self.chars.fill(Ids::NONE);
            self.pairs.fill(u64::MAX);
            self.owner = owner;
        }
        changed
    }

    /// Appends the ids of a piece, if they are remembered; of [`Key::NONE`], nothing is.
    #[inline(always)]
    pub fn recall(&mut self, piece: Piece, out: &mut Vec<u32>) -> bool {
        let Set([first, second]) = &mut self.pieces[piece.slot as usize % SETS];
        if first.key != piece.key.0 {
            if second.key != piece.key.0 {
                return false;
            }
            std::mem::swap(first, second);
        }
        let [ids, more] = first.ids;
        append(ids, more, out);
        piece.key != Key::NONE
    }

    /// Has the processor fetch what is remembered of a piece, and does not wait for it.
    #[inline(always)]
    pub fn prefetch(&self, piece: Piece) {
        let set = &self.pieces[piece.slot as usize % SETS];
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint, for an address that is valid; every x86-64 processor takes it.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(set).cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = set;
    }

    /// Remembers the ids of a piece, if it is short and they are few; whether it is.
    #[inline(always)]
    pub fn remember(&mut self, piece: Piece, ids: &[u32]) -> bool {
        if piece.key == Key::NONE || ids.len() > IDS_MAX {
            return false;
        }
        let near = self.pieces[piece.slot as usize % SETS].0;
        let far = self.pieces[(piece.slot as usize ^ 1) % SETS].0;
        let is_free = |set: &[Entry; 2]| set.iter().any(|entry| entry.key == 0);
        let slot = if !is_free(&near) && is_free(&far) { piece.slot ^ 1 } else { piece.slot };
        let Set([first, second]) = &mut self.pieces[slot as usize % SETS];
        let place = if first.key == 0 { first } else { second };
        *place = Entry::new(piece.key, ids);
        true
    }

    /// [`recall`](Self::recall) where the piece had no room at its own place.
    pub fn recall_far(&self, piece: Piece, out: &mut Vec<u32>) -> bool {
        let Set(entries) = &self.pieces[(piece.slot as usize ^ 1) % SETS];
        let Some(entry) = entries.iter().find(|entry| entry.key == piece.key.0) else { return false };
        let [ids, more] = entry.ids;
        append(ids, more, out);
        piece.key != Key::NONE
    }

    /// Appends the ids of a piece, if they are remembered as a long one's.
    pub fn recall_long(&self, piece: &[u8], out: &mut Vec<u32>) -> bool {
        let Some(key) = long_key(piece) else { return false };
        let entry = &self.long[long_slot(&key)];
        if entry.key != key {
            return false;
        }
        let [first, ..] = entry.ids;
        let start = out.len();
        out.extend(entry.ids.iter().flat_map(|ids| ids.all()));
        out.truncate(start + first.number());
        true
    }

    /// Remembers the ids of a piece that is not too long, if they are not too many.
    pub fn remember_long(&mut self, piece: &[u8], ids: &[u32]) {
        let Some(key) = long_key(piece).filter(|_| ids.len() <= LONG_IDS_MAX) else { return };
        let mut entry = LongEntry { key, ids: [Ids::NONE; 4] };
        entry.ids.iter_mut().zip(ids.chunks(3)).for_each(|(to, part)| *to = Ids::new(part, ids.len()));
        self.long[long_slot(&key)] = entry;
    }

    /// Appends the ids of a character, if they are remembered.
    #[inline(always)]
    pub fn recall_char(&self, code_point: u32, out: &mut Vec<u32>) -> bool {
        let ids = self.chars[code_point as usize % CHARS];
        append(ids, Ids::NONE, out);
        ids != Ids::NONE
    }

    /// Remembers the ids of a character below U+10000, if they are few.
    pub fn remember_char(&mut self, code_point: u32, ids: &[u32]) {
        if ids.len() <= CHAR_IDS_MAX {
            self.chars[code_point as usize % CHARS] = Ids::new(ids, ids.len());
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

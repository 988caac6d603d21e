//! Arrays and objects inside a line: checked, not taken apart. Their lexeme is kept.

use schemas::columns::Kind;
use schemas::rule::InvalidRule;

use super::super::fault::Fault;
use super::cursor::{Cursor, Discard};
use super::repeated;
use crate::record::{Records, Span};

/// Up to this many keys an object is searched for duplicates pair by pair; above, its keys are sorted.
const PAIRWISE_KEYS_MAX: usize = 16;

/// An open array or object.
#[derive(Clone, Copy)]
struct Level {
    close: u8,
    /// First of its keys in [`Nest::keys`].
    first_key: usize,
    /// First byte of its keys in [`Nest::key_bytes`].
    first_byte: usize,
}

#[derive(Clone, Copy)]
struct Key {
    start: usize,
    end: usize,
    at: usize,
}

/// Memory for nested values, reused from one to the next.
#[derive(Default)]
pub struct Nest {
    levels: Vec<Level>,
    keys: Vec<Key>,
    key_bytes: Vec<u8>,
    /// Places of NaN and Infinity, which become null.
    holes: Vec<(usize, usize)>,
}

impl Nest {
    /// Takes an array or an object that begins here.
    pub fn value(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        self.levels.clear();
        self.keys.clear();
        self.key_bytes.clear();
        self.holes.clear();
        loop {
            self.one(cursor)?;
            if !self.after(cursor)? {
                return Ok(());
            }
        }
    }

    /// Takes a scalar, an empty container, or the opening of containers up to where a value must follow.
    #[inline]
    fn one(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        loop {
            let start = cursor.at();
            match cursor.peek() {
                Some(b'{') => self.open(cursor, b'}')?,
                Some(b'[') => self.open(cursor, b']')?,
                Some(b'"') => {
                    cursor.step();
                    return cursor.string(&mut Discard);
                }
                _ => {
                    let kind = cursor.scalar()?;
                    if kind == Kind::Null && cursor.since(start) != b"null" {
                        self.holes.push((start, cursor.at()));
                    }
                    return Ok(());
                }
            }
            if self.close_here(cursor)? {
                return Ok(());
            }
            if self.levels.last().is_some_and(|level| level.close == b'}') {
                self.key(cursor)?;
            }
        }
    }

    /// Takes what follows a value; false once the outermost container is closed.
    #[inline]
    fn after(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, Fault> {
        while let Some(level) = self.levels.last() {
            let object = level.close == b'}';
            let what = if object { "',' or '}'" } else { "',' or ']'" };
            if cursor.another(level.close, what)? {
                if object {
                    self.key(cursor)?;
                }
                return Ok(true);
            }
            self.close()?;
        }
        Ok(false)
    }

    fn open(&mut self, cursor: &mut Cursor<'_>, close: u8) -> Result<(), Fault> {
        // The object of the line is level 1.
        if self.levels.len() as u32 + 2 > cursor.rules.depth_max {
            let detail =
                format!("expected at most {} levels, found more at byte {}", cursor.rules.depth_max, cursor.at());
            return Err(Fault::new(InvalidRule::Depth, detail));
        }
        self.levels.push(Level { close, first_key: self.keys.len(), first_byte: self.key_bytes.len() });
        cursor.step();
        cursor.skip_space();
        Ok(())
    }

    /// Closes a container that is empty.
    fn close_here(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, Fault> {
        let empty = self.levels.last().is_some_and(|level| cursor.eat(level.close));
        if empty {
            self.close()?;
        }
        Ok(empty)
    }

    #[inline]
    fn key(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        let (start, at) = (self.key_bytes.len(), cursor.at());
        cursor.expect(b'"', "a key in double quotes")?;
        cursor.string(&mut self.key_bytes)?;
        self.keys.push(Key { start, end: self.key_bytes.len(), at });
        cursor.colon()
    }

    fn close(&mut self) -> Result<(), Fault> {
        let Some(level) = self.levels.pop() else { return Ok(()) };
        let bytes = &self.key_bytes;
        let content = |key: &Key| bytes.get(key.start..key.end).unwrap_or_default();
        let keys = self.keys.get_mut(level.first_key..).unwrap_or_default();
        let twice = if keys.len() <= PAIRWISE_KEYS_MAX { pairwise(keys, content) } else { sorted(keys, content) };
        if let Some(key) = twice {
            return Err(repeated(content(&key), key.at));
        }
        self.keys.truncate(level.first_key);
        self.key_bytes.truncate(level.first_byte);
        Ok(())
    }

    /// Copies the lexeme of the value just taken, which began at `start` of the line, to the arena.
    pub fn push_lexeme(&self, lexeme: &[u8], start: usize, records: &mut Records) -> Span {
        if self.holes.is_empty() {
            return records.push_bytes(lexeme);
        }
        let arena_start = records.arena.len() as u32;
        let mut done = 0;
        for (hole_start, hole_end) in &self.holes {
            records.push_bytes(lexeme.get(done..hole_start - start).unwrap_or_default());
            records.push_bytes(b"null");
            done = hole_end - start;
        }
        records.push_bytes(lexeme.get(done..).unwrap_or_default());
        Span { start: arena_start, end: records.arena.len() as u32 }
    }
}

fn pairwise<'b>(keys: &[Key], content: impl Fn(&Key) -> &'b [u8]) -> Option<Key> {
    let repeats =
        |(place, key): &(usize, &Key)| keys.iter().take(*place).any(|earlier| content(earlier) == content(key));
    keys.iter().enumerate().find(repeats).map(|(_, key)| *key)
}

fn sorted<'b>(keys: &mut [Key], content: impl Fn(&Key) -> &'b [u8]) -> Option<Key> {
    keys.sort_unstable_by(|left, right| content(left).cmp(content(right)).then(left.at.cmp(&right.at)));
    let twins = keys.windows(2).filter_map(|pair| match pair {
        [left, right] if content(left) == content(right) => Some(*right),
        _ => None,
    });
    twins.min_by_key(|key| key.at)
}

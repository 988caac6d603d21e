//! The parts of `sentencepiece_model.proto` that segmentation needs, read from their wire format.

use std::collections::HashMap;

use super::normalizer::Normalizer;
use super::{Algorithm, Kind, Piece, SentencePiece};

/// What is wrong with a file, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub offset: u64,
    pub expected: String,
    pub found: String,
}

/// A field's value.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Fixed(u32),
    Bytes(&'a [u8], u64),
}

/// The fields of a message.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    base: u64,
}

impl<'a> Fields<'a> {
    fn wrong(&self, expected: &str, found: impl Into<String>) -> Wrong {
        Wrong { offset: self.base + self.at as u64, expected: expected.to_owned(), found: found.into() }
    }

    fn varint(&mut self) -> Result<u64, Wrong> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.bytes.get(self.at).copied();
            let byte = byte.ok_or_else(|| self.wrong("a number of a SentencePiece model", "its end"))?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.wrong("a number of a SentencePiece model", "more than 10 bytes"))
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], Wrong> {
        let end = usize::try_from(count).ok().and_then(|count| self.at.checked_add(count));
        let bytes = end.and_then(|end| self.bytes.get(self.at..end));
        let left = self.bytes.len() - self.at;
        let bytes = bytes.ok_or_else(|| self.wrong(&format!("a field of {count} bytes"), format!("{left} bytes")))?;
        self.at += bytes.len();
        Ok(bytes)
    }

    fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, Wrong> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Bytes(self.take(8)?, 0),
            2 => {
                let count = self.varint()?;
                let base = self.base + self.at as u64;
                Value::Bytes(self.take(count)?, base)
            }
            5 => Value::Fixed(self.take(4)?.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))),
            wire => return Err(self.wrong("a SentencePiece model", format!("wire type {wire}"))),
        };
        Ok(Some((key >> 3, value)))
    }
}

pub(super) fn parse(bytes: &[u8]) -> Result<SentencePiece, Wrong> {
    let mut model = SentencePiece {
        normalizer: Normalizer::default(),
        algorithm: Algorithm::Unigram,
        byte_fallback: false,
        pieces: HashMap::new(),
        longest: 0,
        has_user_defined: false,
        min_score: f32::MAX,
        max_score: f32::MIN,
    };
    let mut fields = Fields { bytes, at: 0, base: 0 };
    let mut has_unknown = false;
    while let Some((field, value)) = fields.next()? {
        match (field, value) {
            (1, Value::Bytes(bytes, base)) => has_unknown |= add_piece(&mut model, bytes, base)?,
            (2, Value::Bytes(bytes, base)) => read_trainer(&mut model, bytes, base)?,
            (3, Value::Bytes(bytes, base)) => read_normalizer(&mut model.normalizer, bytes, base)?,
            _ => {}
        }
    }
    if !has_unknown {
        return Err(fields.wrong("a SentencePiece model", "none: there is no piece for the unknown"));
    }
    Ok(model)
}

/// Adds a piece; whether it is that for the unknown.
fn add_piece(model: &mut SentencePiece, bytes: &[u8], base: u64) -> Result<bool, Wrong> {
    let mut fields = Fields { bytes, at: 0, base };
    let (mut text, mut score, mut kind): (&[u8], f32, u64) = (&[], 0.0, 1);
    while let Some((field, value)) = fields.next()? {
        match (field, value) {
            (1, Value::Bytes(bytes, _)) => text = bytes,
            (2, Value::Fixed(bits)) => score = f32::from_bits(bits),
            (3, Value::Number(number)) => kind = number,
            _ => {}
        }
    }
    let kind = Kind::of(kind).ok_or_else(|| fields.wrong("a kind of piece from 1 to 6", kind.to_string()))?;
    if text.is_empty() || score.is_nan() {
        return Err(fields.wrong("a piece with a text and a score", "none"));
    }
    if kind == Kind::Normal {
        model.min_score = model.min_score.min(score);
        model.max_score = model.max_score.max(score);
    }
    if kind.is_text() {
        model.longest = model.longest.max(text.len());
        model.has_user_defined |= kind == Kind::UserDefined;
        model.normalizer.keep(kind == Kind::UserDefined, text);
        model.pieces.insert(text.into(), Piece { score, kind });
    }
    Ok(kind == Kind::Unknown)
}

fn read_trainer(model: &mut SentencePiece, bytes: &[u8], base: u64) -> Result<(), Wrong> {
    let mut fields = Fields { bytes, at: 0, base };
    while let Some((field, value)) = fields.next()? {
        match (field, value) {
            (3, Value::Number(1)) => model.algorithm = Algorithm::Unigram,
            (3, Value::Number(2)) => model.algorithm = Algorithm::Bpe,
            (3, Value::Number(other)) => {
                let found = match other {
                    3 => "a model of words".to_owned(),
                    4 => "a model of characters".to_owned(),
                    other => format!("kind {other}"),
                };
                return Err(fields.wrong("a unigram or BPE model", found));
            }
            (24, Value::Number(suffix)) => model.normalizer.space_is_suffix = suffix != 0,
            (35, Value::Number(fallback)) => model.byte_fallback = fallback != 0,
            _ => {}
        }
    }
    Ok(())
}

fn read_normalizer(normalizer: &mut Normalizer, bytes: &[u8], base: u64) -> Result<(), Wrong> {
    let mut fields = Fields { bytes, at: 0, base };
    while let Some((field, value)) = fields.next()? {
        match (field, value) {
            (2, Value::Bytes(rules, _)) => {
                let well_formed = normalizer.set_rules(rules);
                well_formed.ok_or_else(|| fields.wrong("normalisation rules", "rules cut short"))?;
            }
            (3, Value::Number(flag)) => normalizer.dummy_prefix = flag != 0,
            (4, Value::Number(flag)) => normalizer.remove_extra_spaces = flag != 0,
            (5, Value::Number(flag)) => normalizer.escape_spaces = flag != 0,
            _ => {}
        }
    }
    Ok(())
}

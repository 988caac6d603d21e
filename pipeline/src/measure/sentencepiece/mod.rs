//! SentencePiece models (`.model`): text to pieces, as the `sentencepiece` package makes them.
//!
//! Unigram and BPE models, their normalisation rules compiled in ([`normalizer`]), byte fallback, user-defined pieces;
//! models of words or characters are refused by name. The layout is that of `sentencepiece_model.proto`, the ways of
//! segmenting those of the package, its ties and its arithmetic in float32 too.

mod bpe;
mod normalizer;
mod proto;
mod unigram;

use std::collections::HashMap;
use std::path::Path;

use shards::commit::sha256_hex;

use self::normalizer::Normalizer;
use super::Error;

/// What a piece is for; the numbers are the format's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Byte,
    Unused,
}

impl Kind {
    fn of(number: u64) -> Option<Kind> {
        [Kind::Normal, Kind::Unknown, Kind::Control, Kind::UserDefined, Kind::Unused, Kind::Byte]
            .get(usize::try_from(number).ok()?.checked_sub(1)?)
            .copied()
    }

    /// Whether text is looked up among such pieces.
    fn is_text(self) -> bool {
        matches!(self, Kind::Normal | Kind::UserDefined | Kind::Unused)
    }
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    score: f32,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Unigram,
    Bpe,
}

/// A loaded model.
#[derive(Debug)]
pub(super) struct SentencePiece {
    normalizer: Normalizer,
    algorithm: Algorithm,
    byte_fallback: bool,
    /// Pieces that text is looked up among.
    pieces: HashMap<Box<[u8]>, Piece>,
    /// Bytes of the longest of them.
    longest: usize,
    has_user_defined: bool,
    min_score: f32,
    max_score: f32,
}

/// A part of normalised text; `known` is false for what no piece stands for.
#[derive(Debug, Clone, Copy)]
struct Part<'a> {
    text: &'a str,
    known: bool,
}

impl SentencePiece {
    /// Loads a model, and the hash of its file.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Model`].
    pub fn load(path: &Path) -> Result<(SentencePiece, String), Error> {
        let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let model = proto::parse(&bytes).map_err(|wrong| Error::Model {
            path: path.to_owned(),
            offset: wrong.offset,
            expected: wrong.expected,
            found: wrong.found,
        })?;
        Ok((model, format!("sha256:{}", sha256_hex(&bytes))))
    }

    /// Calls `each` with every piece of a text.
    pub fn each_piece(&self, text: &str, each: &mut dyn FnMut(&str)) {
        let normalized = self.normalizer.normalize(text);
        let parts = match self.algorithm {
            Algorithm::Unigram => unigram::segment(self, &normalized),
            Algorithm::Bpe => bpe::segment(self, &normalized),
        };
        let mut rest = parts.as_slice();
        while let Some((first, tail)) = rest.split_first() {
            rest = tail;
            match (first.known, self.byte_fallback) {
                (true, _) => each(first.text),
                (false, true) => first.text.bytes().for_each(|byte| each(&format!("<0x{byte:02X}>"))),
                (false, false) => {
                    // Neighbours that are unknown are one piece.
                    let more = rest.iter().take_while(|part| !part.known).count();
                    let (joined, tail) = rest.split_at(more);
                    let unknown: String = std::iter::once(first).chain(joined).map(|part| part.text).collect();
                    rest = tail;
                    each(&unknown);
                }
            }
        }
    }

    fn piece(&self, text: &str) -> Option<Piece> {
        self.pieces.get(text.as_bytes()).copied()
    }

    /// Bytes of the longest user-defined piece that a text starts with.
    fn user_defined(&self, text: &str) -> Option<usize> {
        if !self.has_user_defined {
            return None;
        }
        let is_one = |end: &usize| {
            text.get(..*end).and_then(|start| self.piece(start)).is_some_and(|piece| piece.kind == Kind::UserDefined)
        };
        (1..=text.len().min(self.longest)).rev().find(is_one)
    }
}

/// Bytes of the first character; 0 of nothing.
fn first_len(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

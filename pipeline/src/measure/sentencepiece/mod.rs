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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
    }

    fn piece(text: &str, score: f32, kind: u8) -> Vec<u8> {
        field(1, &[&field(1, text.as_bytes())[..], &[2 << 3 | 5], &score.to_le_bytes(), &[3 << 3, kind]].concat())
    }

    /// A unigram model (1) or a BPE one (2) of a few pieces.
    fn model(algorithm: u8) -> Vec<u8> {
        let pieces = [("<unk>", 0.0, 2), ("\u{2581}", -3.0, 1), ("a", -2.0, 1), ("b", -2.0, 1), ("ab", -1.0, 1)];
        let more = [("\u{2581}a", -1.5, 1), ("<m>", 0.0, 4)];
        let pieces = pieces.into_iter().chain(more).flat_map(|(text, score, kind)| piece(text, score, kind));
        pieces.chain(field(2, &[3 << 3, algorithm])).collect()
    }

    fn pieces(model: &[u8], text: &str) -> Vec<String> {
        let mut pieces = Vec::new();
        proto::parse(model).unwrap().each_piece(text, &mut |piece| pieces.push(piece.to_owned()));
        pieces
    }

    #[test]
    fn spaces_are_visible_and_neighbours_that_are_unknown_are_one_piece() {
        // -1.5 - 2 is more than -3 - 1; merging takes the best pair first.
        assert_eq!(pieces(&model(1), " ab  xyab<m>"), ["\u{2581}a", "b", "\u{2581}", "xy", "ab", "<m>"]);
        assert_eq!(pieces(&model(2), "ab a"), ["\u{2581}", "ab", "\u{2581}a"]);
    }

    #[test]
    fn models_of_words_and_bytes_that_are_no_model_are_refused() {
        assert_eq!(proto::parse(&model(3)).unwrap_err().found, "a model of words");
        assert!(proto::parse(b"").is_err());
        assert!(proto::parse(&model(1)[..50]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_and_no_text_panic(
            at in any::<prop::sample::Index>(), byte in any::<u8>(), rules in any::<Vec<u8>>(), text in "\\PC*",
        ) {
            let mut bytes = model(1 + byte % 2);
            let rules: Vec<u8> = [&(rules.len() as u32 / 8 * 4).to_le_bytes()[..], &rules, &[0]].concat();
            bytes.extend(field(3, &field(2, rules.get(..100).unwrap_or(&rules))));
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(model) = proto::parse(&bytes) {
                model.each_piece(&text, &mut |_| ());
            }
        }
    }
}

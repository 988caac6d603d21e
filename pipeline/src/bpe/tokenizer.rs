//! [`Tokenizer`]: from text to ids.

use std::sync::atomic::{AtomicU64, Ordering};

use super::added::{Matcher, Part};
use super::classes::{Classes, classes};
use super::memo::{AHEAD, Memo, Piece};
use super::model::Model;
use super::split::{Known, PIECES_MAX, Scanner, next_pieces};

/// A tokenizer that encodes on any number of threads, each with its own [`Memo`].
pub struct Tokenizer {
    /// No two tokenizers of a process have the same.
    pub(super) serial: u64,
    pub(super) model: Model,
    pub(super) form: Form,
    /// Added tokens found in text as it stands, and those found in text as the vocabulary spells it.
    pub(super) added: [Matcher; 2],
}

/// How text becomes what the vocabulary spells.
pub(super) enum Form {
    /// Byte-level: each byte is a symbol.
    Bytes {
        /// Normalizer `NFC`.
        nfc: bool,
        /// A space is put before a text that begins with none.
        prefix_space: bool,
        /// How text is split; None: not at all.
        words: Option<Known>,
    },
    /// SentencePiece's: a space is U+2581, each character a symbol, and one that has none is spelled in bytes.
    Chars {
        /// Normalizers `Replace` of a space, and `Prepend` before it.
        normalizer: Option<Replace>,
        /// Pre-tokenizer `Metaspace`.
        metaspace: Option<Metaspace>,
        /// The tokens of bytes.
        bytes: Box<[u32; 256]>,
    },
}

/// The normalizer of SentencePiece's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replace {
    /// U+2581 is put before each text, whatever it begins with.
    pub prepend: bool,
}

/// The pre-tokenizer of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Metaspace {
    pub prefix: Prefix,
    /// Whether a piece begins at each U+2581.
    pub split: bool,
}

/// When `Metaspace` puts U+2581 before a text that does not begin with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefix {
    Never,
    Always,
    /// At the beginning of the document.
    First,
}

/// What SentencePiece makes of a space, in UTF-8.
pub(super) const META_SPACE: &[u8] = "\u{2581}".as_bytes();

/// A number that no other tokenizer of this process has.
pub(super) fn next_serial() -> u64 {
    static SERIAL: AtomicU64 = AtomicU64::new(1);
    SERIAL.fetch_add(1, Ordering::Relaxed)
}

impl Tokenizer {
    /// Appends the ids of a text.
    pub fn encode(&self, text: &str, memo: &mut Memo, out: &mut Vec<u32>) {
        if memo.belong_to(self.serial) {
            self.model.remember_tokens(memo);
        }
        let text = text.as_bytes();
        let [raw, _] = &self.added;
        if raw.is_empty() {
            return self.encode_text(text, true, memo, out);
        }
        raw.split(text, |part| match part {
            Part::Text(start, end) => {
                self.encode_text(text.get(start..end).unwrap_or_default(), start == 0, memo, out);
            }
            Part::Token(id) => out.push(id),
        });
    }

    /// Whether Unicode's normalization may change a text. Hugging Face's is by an older Unicode than ours, so code points
    /// that are new since may then get other ids.
    pub fn may_normalize(&self, text: &str) -> bool {
        matches!(self.form, Form::Bytes { nfc: true, .. }) && !super::nfc::is_inert_text(text.as_bytes())
    }

    /// Text between added tokens that are found in raw text.
    fn encode_text(&self, text: &[u8], is_start: bool, memo: &mut Memo, out: &mut Vec<u32>) {
        if text.is_empty() {
            return;
        }
        let normalizer = match &self.form {
            Form::Chars { normalizer: Some(normalizer), .. } => normalizer,
            Form::Bytes { nfc: true, .. } => {
                return self.encode_normalized(&super::nfc::normalized(text), is_start, memo, out);
            }
            _ => return self.encode_normalized(text, is_start, memo, out),
        };
        let mut spelled = std::mem::take(&mut memo.spelled);
        spelled.clear();
        normalizer.spell(text, &mut spelled);
        self.encode_normalized(&spelled, is_start, memo, out);
        memo.spelled = spelled;
    }

    fn encode_normalized(&self, text: &[u8], is_start: bool, memo: &mut Memo, out: &mut Vec<u32>) {
        let [_, normalized] = &self.added;
        if normalized.is_empty() {
            return self.encode_segment(text, is_start, memo, out);
        }
        normalized.split(text, |part| match part {
            Part::Text(start, end) => {
                self.encode_segment(text.get(start..end).unwrap_or_default(), is_start && start == 0, memo, out);
            }
            Part::Token(id) => out.push(id),
        });
    }

    /// Text without added tokens, as the normalizer left it.
    fn encode_segment(&self, text: &[u8], is_start: bool, memo: &mut Memo, out: &mut Vec<u32>) {
        match &self.form {
            Form::Bytes { prefix_space, words, .. } => {
                if *prefix_space && text.first() != Some(&b' ') {
                    return self.encode_words(&[b" ", text].concat(), *words, memo, out);
                }
                self.encode_words(text, *words, memo, out);
            }
            Form::Chars { metaspace: None, bytes, .. } => self.encode_chars(text, false, bytes, memo, out),
            Form::Chars { metaspace: Some(metaspace), bytes, .. } => {
                let mut spelled = std::mem::take(&mut memo.spelled);
                spelled.clear();
                metaspace.spell(text, is_start, &mut spelled);
                self.encode_chars(&spelled, metaspace.split, bytes, memo, out);
                memo.spelled = spelled;
            }
        }
    }

    fn encode_words(&self, text: &[u8], words: Option<Known>, memo: &mut Memo, out: &mut Vec<u32>) {
        match words {
            None => self.encode_one(text, 0, text.len(), memo, out),
            Some(Known::Gpt2(scanner)) => self.encode_scanned(text, scanner, memo, out),
            Some(Known::Cl100k(scanner)) => self.encode_scanned(text, scanner, memo, out),
            Some(Known::O200k(scanner)) => self.encode_scanned(text, scanner, memo, out),
            Some(Known::DeepSeek(scanner)) => self.encode_scanned(text, scanner, memo, out),
            Some(Known::Digits(scanner)) => self.encode_scanned(text, scanner, memo, out),
        }
    }

    /// Finds some pieces, and what is remembered of them starts on its way from memory, before the first is encoded.
    #[inline(never)]
    fn encode_scanned(&self, text: &[u8], mut scanner: impl Scanner, memo: &mut Memo, out: &mut Vec<u32>) {
        let classes: &Classes = classes();
        let (mut start, mut ahead) = (0, [Piece::default(); AHEAD + PIECES_MAX]);
        while start < text.len() {
            let (mut found, mut begin) = (0, start);
            while found < AHEAD && start < text.len() {
                start = next_pieces(&mut scanner, classes, text, start, |end| {
                    if let Some(piece) = ahead.get_mut(found) {
                        *piece = Piece::new(text, begin, end);
                        memo.prefetch(*piece);
                    }
                    (begin, found) = (end, found + 1);
                });
            }
            for piece in ahead.iter().take(found) {
                self.model.encode_piece(text, *piece, memo, out);
            }
        }
    }

    fn encode_one(&self, text: &[u8], start: usize, end: usize, memo: &mut Memo, out: &mut Vec<u32>) {
        self.model.encode_piece(text, Piece::new(text, start, end), memo, out);
    }

    fn encode_chars(&self, text: &[u8], split: bool, bytes: &[u32; 256], memo: &mut Memo, out: &mut Vec<u32>) {
        let mut start = 0;
        while start < text.len() {
            let rest = text.get(start..).filter(|_| split).unwrap_or_default();
            let own = if rest.starts_with(META_SPACE) { META_SPACE.len() } else { 0 };
            let next = memchr::memmem::find(rest.get(own..).unwrap_or_default(), META_SPACE).map(|at| start + own + at);
            let end = next.unwrap_or(text.len());
            self.encode_known_chars(text.get(start..end).unwrap_or_default(), bytes, memo, out);
            start = end;
        }
    }

    /// Runs of characters that are symbols are merged; the others stand between them as bytes.
    fn encode_known_chars(&self, piece: &[u8], bytes: &[u32; 256], memo: &mut Memo, out: &mut Vec<u32>) {
        let mut start = 0;
        for unknown in self.model.unknown_chars(piece) {
            self.encode_one(piece, start, unknown.start, memo, out);
            start = unknown.end;
            let unknown = piece.get(unknown).unwrap_or_default();
            out.extend(unknown.iter().filter_map(|byte| bytes.get(usize::from(*byte))));
        }
        self.encode_one(piece, start, piece.len(), memo, out);
    }
}

impl Replace {
    /// A text as the normalizer leaves it.
    pub(super) fn spell(self, text: &[u8], out: &mut Vec<u8>) {
        if self.prepend && !text.is_empty() {
            out.extend_from_slice(META_SPACE);
        }
        replace_spaces(text, out);
    }
}

impl Metaspace {
    fn spell(self, text: &[u8], is_start: bool, out: &mut Vec<u8>) {
        let wanted = match self.prefix {
            Prefix::Never => false,
            Prefix::Always => true,
            Prefix::First => is_start,
        };
        if wanted && !text.starts_with(META_SPACE) && text.first() != Some(&b' ') {
            out.extend_from_slice(META_SPACE);
        }
        replace_spaces(text, out);
    }
}

fn replace_spaces(text: &[u8], out: &mut Vec<u8>) {
    let mut start = 0;
    for space in memchr::memchr_iter(b' ', text) {
        out.extend_from_slice(text.get(start..space).unwrap_or_default());
        out.extend_from_slice(META_SPACE);
        start = space + 1;
    }
    out.extend_from_slice(text.get(start..).unwrap_or_default());
}

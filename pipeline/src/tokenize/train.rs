//! Training of a byte-level BPE tokenizer, as GPT-2 has it and minimind's first release: ids 0, 1, 2 are `<unk>`,
//! `<s>`, `</s>`, then come the 256 bytes, then merges by falling count.
//!
//! How merges are learned, and with which words, is in [`bpe::train`](crate::bpe::train).

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::Error;
use crate::bpe::byte_alphabet;
use crate::bpe::train::{Alphabet, Full, Learned, WordCounts, learn};

/// Special tokens that every trained tokenizer has, with ids 0, 1, 2.
pub const SPECIAL: [&str; 3] = ["<unk>", "<s>", "</s>"];

/// What `transformers` calls the longest input; it only warns beyond it.
const MODEL_MAX_LENGTH: u32 = 32_768;

/// How a tokenizer is trained.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Tokens in all: special ones, 256 bytes, merges.
    pub vocab_size: usize,
    /// Least count of a pair that is merged.
    pub min_frequency: u64,
    /// Special tokens after [`SPECIAL`].
    pub special: Vec<String>,
}

/// The two files of a trained tokenizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trained {
    /// `tokenizer.json`.
    pub tokenizer: Vec<u8>,
    /// `tokenizer_config.json`.
    pub config: Vec<u8>,
    /// How many merges were learned.
    pub merges: usize,
}

/// Counts words of texts, on any number of threads, and then learns merges from them.
pub struct Trainer {
    settings: Settings,
    special: Vec<String>,
    alphabet: Alphabet,
    words: WordCounts,
}

impl Trainer {
    /// A trainer of `settings` that, with what the process has `held` before, takes at most `memory` bytes.
    ///
    /// # Errors
    /// [`Error::VocabSize`] if the settings allow no merge, [`Error::Train`] if a special token is given twice.
    pub fn new(settings: Settings, held: u64, memory: u64) -> Result<Trainer, Error> {
        let special = special_tokens(&settings)?;
        let alphabet = alphabet(&special);
        if settings.vocab_size <= alphabet.len {
            let possible = format!("more than {}", alphabet.len);
            return Err(Error::VocabSize { asked: settings.vocab_size, possible });
        }
        if settings.vocab_size > VOCAB_MAX {
            return Err(Error::VocabSize { asked: settings.vocab_size, possible: format!("at most {VOCAB_MAX}") });
        }
        Ok(Trainer { settings, special, alphabet, words: WordCounts::new(held, memory) })
    }

    /// Counts the words of texts: a megabyte or so at once.
    ///
    /// # Errors
    /// [`Error::WordsTooMany`]: distinct words take more than the memory allowed.
    pub fn add<'a>(&self, texts: impl Iterator<Item = &'a str>) -> Result<(), Error> {
        let refused = |Full { needed, memory }| Error::WordsTooMany { words: self.words.len() as u64, needed, memory };
        self.words.add(texts).map_err(refused)
    }

    /// Learns merges; `each` is called for each of them.
    ///
    /// # Errors
    /// [`Error::VocabSize`] if the texts do not hold enough pairs.
    pub fn finish(self, each: impl FnMut()) -> Result<Trained, Error> {
        let Settings { vocab_size: asked, min_frequency, .. } = self.settings;
        let learned = learn(self.words, &self.alphabet, asked, min_frequency, each);
        let learned = learned.ok_or_else(|| Error::Train { detail: "distinct words of more than 4 GiB".to_owned() })?;
        let names = names(&self.special, &self.alphabet, &learned);
        if names.len() < asked {
            return Err(Error::VocabSize { asked, possible: format!("at most {}", names.len()) });
        }
        let tokenizer = tokenizer_json(&self.special, &names, &learned.merges);
        Ok(Trained { tokenizer, config: config_json(&self.special), merges: learned.merges.len() })
    }
}

/// Most tokens: ids have 20 bits, less two values, in the tables of training and of our own encoder.
const VOCAB_MAX: usize = (1 << 20) - 3;

/// Trains on texts, one after another.
///
/// # Errors
/// As [`Trainer`]'s.
pub fn train<'a>(settings: Settings, texts: impl Iterator<Item = &'a str>) -> Result<Trained, Error> {
    let trainer = Trainer::new(settings, 0, u64::MAX)?;
    trainer.add(texts)?;
    trainer.finish(|| ())
}

/// Special tokens, then the bytes in the order of the characters that stand for them, as `tokenizers` has it. A special
/// token that is spelled like a byte, or like what merges make, is that token.
fn alphabet(special: &[String]) -> Alphabet {
    let chars = byte_alphabet();
    let bytes_of = |name: &str| {
        let byte = |c: char| chars.iter().position(|known| *known == c).map(|byte| byte as u8);
        name.chars().map(byte).collect::<Option<Vec<u8>>>()
    };
    let mut fixed: HashMap<Vec<u8>, u32> =
        special.iter().zip(0..).filter_map(|(token, id)| Some((bytes_of(token)?, id))).collect();
    let mut order: Vec<(char, u8)> = chars.into_iter().zip(0..=255).collect();
    order.sort_unstable();
    let (mut bytes, mut len) = ([0; 256], special.len());
    for (_, byte) in order {
        let id = fixed.remove([byte].as_slice()).unwrap_or_else(|| {
            len += 1;
            len as u32 - 1
        });
        if let Some(slot) = bytes.get_mut(usize::from(byte)) {
            *slot = id;
        }
    }
    Alphabet { bytes, len, fixed }
}

/// The vocabulary, by id.
fn names(special: &[String], alphabet: &Alphabet, learned: &Learned) -> Vec<String> {
    let chars = byte_alphabet();
    let spell = |bytes: &[u8]| -> String { bytes.iter().filter_map(|byte| chars.get(usize::from(*byte))).collect() };
    let mut names = special.to_vec();
    names.resize(alphabet.len, String::new());
    for (byte, id) in (0..=255).zip(alphabet.bytes) {
        if let Some(name) = names.get_mut(id as usize) {
            *name = spell(&[byte]);
        }
    }
    names.extend(learned.tokens.iter().map(|bytes| spell(bytes)));
    names
}

fn special_tokens(settings: &Settings) -> Result<Vec<String>, Error> {
    let mut tokens: Vec<String> = SPECIAL.iter().map(|token| (*token).to_owned()).collect();
    for token in &settings.special {
        if token.is_empty() || tokens.contains(token) {
            return Err(Error::Train { detail: format!("special token {token:?} is empty or given twice") });
        }
        tokens.push(token.clone());
    }
    Ok(tokens)
}

fn added_token(content: &str) -> Map<String, Value> {
    let mut token = Map::new();
    token.insert("content".to_owned(), json!(content));
    for flag in ["lstrip", "normalized", "rstrip", "single_word"] {
        token.insert(flag.to_owned(), json!(false));
    }
    token.insert("special".to_owned(), json!(true));
    token
}

fn tokenizer_json(special: &[String], names: &[String], merges: &[(u32, u32, u32)]) -> Vec<u8> {
    let vocab: Map<String, Value> = names.iter().zip(0..).map(|(token, id)| (token.clone(), json!(id))).collect();
    let name = |id: u32| names.get(id as usize).map_or("", String::as_str);
    let merges = merges.iter().map(|(left, right, _)| json!(format!("{} {}", name(*left), name(*right))));
    let merges: Vec<Value> = merges.collect();
    let added = special.iter().enumerate().map(|(id, token)| {
        let mut entry = Map::new();
        entry.insert("id".to_owned(), json!(id));
        entry.extend(added_token(token));
        Value::Object(entry)
    });
    let byte_level = |add_prefix_space: bool| json!({"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": true, "use_regex": true});
    pretty(&json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": null,
        "pre_tokenizer": byte_level(false),
        "post_processor": null,
        "decoder": byte_level(true),
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": false,
            "vocab": vocab,
            "merges": merges,
        },
    }))
}

fn config_json(special: &[String]) -> Vec<u8> {
    let decoder = special.iter().enumerate().map(|(id, token)| (id.to_string(), Value::Object(added_token(token))));
    let [unk, bos, eos] = SPECIAL;
    pretty(&json!({
        "add_bos_token": false,
        "add_eos_token": false,
        "add_prefix_space": false,
        "added_tokens_decoder": decoder.collect::<Map<_, _>>(),
        "additional_special_tokens": special.get(SPECIAL.len()..).unwrap_or_default(),
        "bos_token": bos,
        "clean_up_tokenization_spaces": false,
        "eos_token": eos,
        "model_max_length": MODEL_MAX_LENGTH,
        "pad_token": null,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": unk,
    }))
}

fn pretty(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use schemas::config::Tokenize;

    use super::*;
    use crate::tokenize::{Encoder, Scratch};

    fn corpus() -> Vec<String> {
        let sentence = |index: usize| {
            format!(
                "Document {index}: it's the {}th of many. \u{7b2c}{index}\u{7bc7}\u{6587}\u{7ae0}\u{ff0c}\u{5185}\u{5bb9}\u{4e0d}\u{540c}\u{3002}\n",
                index * 7
            )
        };
        (0..300).map(sentence).collect()
    }

    fn settings(vocab_size: usize) -> Settings {
        Settings { vocab_size, min_frequency: 2, special: vec!["<|im_start|>".to_owned()] }
    }

    fn encoder(trained: &Trained) -> Encoder {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tokenizer.json"), &trained.tokenizer).unwrap();
        std::fs::write(folder.path().join("tokenizer_config.json"), &trained.config).unwrap();
        Encoder::load(folder.path(), &Tokenize::default()).unwrap()
    }

    #[test]
    fn a_trained_tokenizer_round_trips_any_text_between_its_special_tokens() {
        let trained = train(settings(400), corpus().iter().map(String::as_str)).unwrap();
        let encoder = encoder(&trained);
        assert_eq!((encoder.vocab_size(), encoder.bos_id(), encoder.eos_id()), (400, Some(1), Some(2)));
        assert!(encoder.notes().is_empty(), "{:?}", encoder.notes());
        for text in ["it's the 7th", " \u{7b2c}\u{7bc7}\u{1f600}\0\r\n<s>", "\u{10ffff}"] {
            let mut ids = Vec::new();
            encoder.encode(text, &mut Scratch::default(), &mut ids).unwrap();
            assert_eq!(encoder.decode(&ids, true).unwrap(), text);
        }
    }

    #[test]
    fn the_bytes_do_not_depend_on_the_order_of_documents() {
        let mut reversed = corpus();
        reversed.reverse();
        assert_eq!(
            train(settings(400), corpus().iter().map(String::as_str)).unwrap(),
            train(settings(400), reversed.iter().map(String::as_str)).unwrap()
        );
    }

    #[test]
    fn merges_are_learned_from_the_corpus() {
        let trained = train(settings(400), corpus().iter().map(String::as_str)).unwrap();
        let value: Value = serde_json::from_slice(&trained.tokenizer).unwrap();
        assert_eq!(value["model"]["vocab"]["<|im_start|>"], json!(3));
        assert!(value["model"]["vocab"].get("\u{120}the").is_some());
        assert_eq!(trained.merges, 400 - 260);
    }

    #[test]
    fn a_vocabulary_the_corpus_cannot_fill_is_refused() {
        let error = train(settings(100_000), corpus().iter().map(String::as_str)).unwrap_err().to_string();
        assert!(error.contains("100000") && error.contains("at most"), "{error}");
    }

    #[test]
    fn a_vocabulary_without_room_for_the_bytes_is_refused() {
        assert!(
            train(settings(260), corpus().iter().map(String::as_str))
                .unwrap_err()
                .to_string()
                .contains("more than 260")
        );
    }

    #[test]
    fn a_special_token_given_twice_is_refused() {
        let settings = Settings { special: vec!["<s>".to_owned()], ..settings(400) };
        assert!(train(settings, corpus().iter().map(String::as_str)).unwrap_err().to_string().contains("given twice"));
    }
}

//! Training of a byte-level BPE tokenizer, as GPT-2 has it and minimind's first release: ids 0, 1, 2 are `<unk>`,
//! `<s>`, `</s>`, then come the 256 bytes, then merges by falling count.
//!
//! Method: Sennrich, Haddow, Birch, "Neural Machine Translation of Rare Words with Subword Units", 2016, on bytes. The
//! trainer is that of crate `tokenizers`; equal counts are decided by the pair's ids, so the result is a function of
//! the documents, not of their order or of threads.

use serde_json::{Map, Value, json};
use tokenizers::SplitDelimiterBehavior;
use tokenizers::Trainer as _;
use tokenizers::models::bpe::{Merges, Vocab};
use tokenizers::pipeline::{PreTokenizer as _, PreTokenizerScratch};
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::trainers::BpeTrainer;
use tokenizers::vocab::bucket_added_vocabulary::AddedToken;

use super::Error;

/// Special tokens that every trained tokenizer has, with ids 0, 1, 2.
pub const SPECIAL: [&str; 3] = ["<unk>", "<s>", "</s>"];

/// GPT-2's split into words: contractions, runs of letters, of numbers, of others, of space.
const GPT2_WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

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

/// Trains on texts.
///
/// # Errors
/// [`Error::VocabSize`] if the settings allow no merge or the texts do not hold enough pairs,
/// [`Error::CorpusTooLarge`] if a count would not fit the trainer.
pub fn train(settings: &Settings, texts: impl Iterator<Item = String> + Send) -> Result<Trained, Error> {
    let special = special_tokens(settings)?;
    let least = special.len() + 256;
    if settings.vocab_size <= least {
        return Err(Error::VocabSize { asked: settings.vocab_size, possible: format!("more than {least}") });
    }
    let alphabet = byte_alphabet();
    let mut trainer = BpeTrainer::builder()
        .vocab_size(settings.vocab_size)
        .min_frequency(settings.min_frequency)
        .show_progress(false)
        .special_tokens(special.iter().map(|token| special_token(token)).collect())
        .initial_alphabet(alphabet.into_iter().collect())
        .build();
    let mut counts = ByteCounts::default();
    feed(&mut trainer, &alphabet, texts.inspect(|text| counts.add(text)))?;
    counts.check()?;
    let (vocab, merges, _) = trainer.train_vocab().map_err(failed)?;
    if vocab.len() < settings.vocab_size {
        return Err(Error::VocabSize { asked: settings.vocab_size, possible: format!("at most {}", vocab.len()) });
    }
    let count = merges.len();
    Ok(Trained { tokenizer: tokenizer_json(&special, vocab, merges), config: config_json(&special), merges: count })
}

fn failed(error: tokenizers::Error) -> Error {
    Error::Train { detail: error.to_string() }
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

fn feed(
    trainer: &mut BpeTrainer,
    alphabet: &[char; 256],
    texts: impl Iterator<Item = String> + Send,
) -> Result<(), Error> {
    let pattern = SplitPattern::Regex(GPT2_WORDS.to_owned());
    let split = Split::native(pattern, SplitDelimiterBehavior::Isolated, false).map_err(failed)?;
    let words = |text: &str| {
        let mut spans = Vec::new();
        split.pre_tokenize(text, &mut PreTokenizerScratch::default(), &mut spans)?;
        let word = |range: std::ops::Range<usize>| {
            let bytes = text.as_bytes().get(range).unwrap_or_default();
            bytes.iter().filter_map(|byte| alphabet.get(usize::from(*byte))).collect()
        };
        Ok(spans.iter().map(|span| word(span.range())).collect())
    };
    trainer.feed(texts, words).map_err(failed)
}

/// How often each byte occurs: no pair is more frequent than its bytes, and the trainer counts pairs in 32 bits.
struct ByteCounts([u64; 256]);

impl Default for ByteCounts {
    fn default() -> Self {
        ByteCounts([0; 256])
    }
}

impl ByteCounts {
    fn add(&mut self, text: &str) {
        for byte in text.bytes() {
            if let Some(count) = self.0.get_mut(usize::from(byte)) {
                *count += 1;
            }
        }
    }

    fn check(&self) -> Result<(), Error> {
        match self.0.iter().max() {
            Some(count) if *count > i32::MAX as u64 => Err(Error::CorpusTooLarge { count: *count }),
            _ => Ok(()),
        }
    }
}

/// The printable character that stands for each byte in a byte-level vocabulary.
pub fn byte_alphabet() -> [char; 256] {
    tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet()
}

/// A special token as trainers take it.
pub(super) fn special_token(content: &str) -> AddedToken {
    AddedToken::from(content, true).normalized(false)
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

fn tokenizer_json(special: &[String], vocab: Vocab, merges: Merges) -> Vec<u8> {
    let mut entries: Vec<(String, u32)> = vocab.into_iter().map(|(token, id)| (token.to_string(), id)).collect();
    entries.sort_by_key(|(_, id)| *id);
    let vocab: Map<String, Value> = entries.into_iter().map(|(token, id)| (token, json!(id))).collect();
    let merges: Vec<Value> = merges.into_iter().map(|(left, right)| json!(format!("{left} {right}"))).collect();
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
        let trained = train(&settings(400), corpus().into_iter()).unwrap();
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
            train(&settings(400), corpus().into_iter()).unwrap(),
            train(&settings(400), reversed.into_iter()).unwrap()
        );
    }

    #[test]
    fn merges_are_learned_from_the_corpus() {
        let trained = train(&settings(400), corpus().into_iter()).unwrap();
        let value: Value = serde_json::from_slice(&trained.tokenizer).unwrap();
        assert_eq!(value["model"]["vocab"]["<|im_start|>"], json!(3));
        assert!(value["model"]["vocab"].get("\u{120}the").is_some());
        assert_eq!(trained.merges, 400 - 260);
    }

    #[test]
    fn a_vocabulary_the_corpus_cannot_fill_is_refused() {
        let error = train(&settings(100_000), corpus().into_iter()).unwrap_err().to_string();
        assert!(error.contains("100000") && error.contains("at most"), "{error}");
    }

    #[test]
    fn a_vocabulary_without_room_for_the_bytes_is_refused() {
        assert!(train(&settings(260), corpus().into_iter()).unwrap_err().to_string().contains("more than 260"));
    }

    #[test]
    fn a_special_token_given_twice_is_refused() {
        let settings = Settings { special: vec!["<s>".to_owned()], ..settings(400) };
        assert!(train(&settings, corpus().into_iter()).unwrap_err().to_string().contains("given twice"));
    }

    #[test]
    fn counts_beyond_the_trainer_are_refused() {
        let mut counts = ByteCounts::default();
        counts.0[b'a' as usize] = 1 << 31;
        assert!(matches!(counts.check(), Err(Error::CorpusTooLarge { .. })));
    }
}

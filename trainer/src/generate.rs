//! Generating text: token by token through the key and value cache.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokenizers_reference::Tokenizer;

use crate::error::{Error, Result};
use crate::model::{KvCache, LanguageModel};
use crate::rng;

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the most likely token.
    pub temperature: f64,
    /// Only the `top_k` most likely tokens; 0 takes all.
    pub top_k: usize,
    /// Only the most likely tokens that together have this probability; 1 takes all.
    pub top_p: f64,
    /// Of the choices; the same seed gives the same text.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling { temperature: 0.8, top_k: 50, top_p: 1.0, seed: 0 }
    }
}

impl Sampling {
    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::Config`], naming the field.
    pub fn validate(&self) -> Result<()> {
        let refuse = |field, problem: &str| Err(Error::Config { field, problem: problem.to_owned() });
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return refuse("temperature", "must be a number of at least 0");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return refuse("top_p", "must be above 0 and at most 1");
        }
        Ok(())
    }

    /// Chooses the token after position `position` from its logits.
    pub fn choose(&self, logits: &[f32], position: u64) -> u32 {
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        // Most likely first; of equals, the lower id.
        order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
        let best = order.first().copied().unwrap_or(0);
        if self.temperature == 0.0 {
            return best;
        }
        order.truncate(if self.top_k == 0 { order.len() } else { self.top_k });
        let highest = f64::from(logits.get(best as usize).copied().unwrap_or(0.0));
        let weight = |id: &u32| ((f64::from(logits[*id as usize]) - highest) / self.temperature).exp();
        let weights: Vec<f64> = order.iter().map(weight).collect();
        let nucleus = nucleus(&weights, self.top_p);
        let target = rng::uniform(self.seed, rng::stream("sample"), position) * nucleus.iter().sum::<f64>();
        let mut sum = 0.0;
        let chosen = nucleus.iter().position(|weight| {
            sum += weight;
            sum > target
        });
        order.get(chosen.unwrap_or(nucleus.len().saturating_sub(1))).copied().unwrap_or(best)
    }
}

/// The shortest prefix of falling weights that holds the share `top_p` of their sum.
fn nucleus(weights: &[f64], top_p: f64) -> &[f64] {
    let target = weights.iter().sum::<f64>() * top_p;
    let mut sum = 0.0;
    let whole = weights.iter().position(|weight| {
        sum += weight;
        sum >= target
    });
    &weights[..whole.map_or(weights.len(), |index| index + 1)]
}

/// Why generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The model ended the document.
    EndOfText,
    /// As many tokens as asked for.
    Length,
    /// The model has no more positions.
    Positions,
}

/// Continues `prompt` by at most `new_tokens` tokens, telling each to `token`, the end-of-text token not included.
///
/// # Errors
/// Where the prompt is empty, leaves no room, or has an id beyond the vocabulary, or `token` fails.
pub fn generate(
    model: &dyn LanguageModel,
    prompt: &[u32],
    new_tokens: usize,
    sampling: &Sampling,
    mut token: impl FnMut(u32) -> Result<()>,
) -> Result<Stop> {
    sampling.validate()?;
    let positions = model.config().max_position_embeddings;
    if prompt.is_empty() {
        return Err(Error::Config { field: "prompt", problem: "has no token".to_owned() });
    }
    if prompt.len() > positions {
        return Err(Error::PromptTooLong { tokens: prompt.len(), positions });
    }
    let mut cache = KvCache::new(model.config().num_hidden_layers);
    let mut ids: Arc<[u32]> = prompt.into();
    for _ in 0..new_tokens {
        if cache.positions() + ids.len() > positions {
            return Ok(Stop::Positions);
        }
        let logits_BTV = model.logits(&ids, 1, Some(&mut cache))?;
        let last = logits_BTV.narrow(1, ids.len() - 1, 1)?.flatten_all()?.to_vec1::<f32>()?;
        let next = sampling.choose(&last, cache.positions() as u64);
        if Some(next) == model.config().eos_token_id {
            return Ok(Stop::EndOfText);
        }
        token(next)?;
        ids = Arc::new([next]);
    }
    Ok(Stop::Length)
}

/// A `tokenizer.json`, for one prompt at a time.
///
/// The older tokenizers crate is used, which candle brings along anyway: it reads every tokenizer, and a prompt needs
/// no speed.
pub struct TextCodec {
    path: PathBuf,
    tokenizer: Tokenizer,
}

impl TextCodec {
    /// Opens the `tokenizer.json` of a folder, or the file itself.
    ///
    /// # Errors
    /// Where it does not load.
    pub fn open(path: &Path) -> Result<TextCodec> {
        let path = if path.is_dir() { path.join("tokenizer.json") } else { path.to_path_buf() };
        let tokenizer = Tokenizer::from_file(&path)
            .map_err(|error| Error::Tokenizer { path: path.clone(), problem: error.to_string() })?;
        Ok(TextCodec { path, tokenizer })
    }

    fn problem(&self, error: impl std::fmt::Display) -> Error {
        Error::Tokenizer { path: self.path.clone(), problem: error.to_string() }
    }

    /// The ids of a text, without BOS and EOS.
    ///
    /// # Errors
    /// Where the tokenizer fails.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode(text, false).map_err(|error| self.problem(error))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// A decoder that gives text as soon as it is whole characters.
    pub fn stream(&self) -> TextStream<'_> {
        TextStream { codec: self, ids: Vec::new(), given: 0 }
    }
}

/// Text of tokens as they come; a character spread over tokens is held back until it is whole.
pub struct TextStream<'a> {
    codec: &'a TextCodec,
    /// Tokens whose text may still change or is needed to decode what follows.
    ids: Vec<u32>,
    /// Bytes of their text already given.
    given: usize,
}

/// Tokens kept for context; decoding starts anew behind them, so the cost of a token does not grow.
const CONTEXT_TOKENS: usize = 64;

impl TextStream<'_> {
    fn decode(&self, ids: &[u32]) -> Result<String> {
        self.codec.tokenizer.decode(ids, true).map_err(|error| self.codec.problem(error))
    }

    /// Adds a token and returns the text that is now whole.
    ///
    /// # Errors
    /// Where the tokenizer fails.
    pub fn push(&mut self, id: u32) -> Result<String> {
        self.ids.push(id);
        let text = self.decode(&self.ids)?;
        // A replacement character at the end is the start of a character whose rest has not come.
        if text.ends_with('\u{fffd}') {
            return Ok(String::new());
        }
        let new = text.get(self.given..).unwrap_or_default().to_owned();
        self.given = text.len();
        if self.ids.len() > 2 * CONTEXT_TOKENS {
            self.ids.drain(..CONTEXT_TOKENS);
            self.given = self.decode(&self.ids)?.len();
        }
        Ok(new)
    }

    /// The text held back at the end, where the last character never became whole.
    ///
    /// # Errors
    /// Where the tokenizer fails.
    pub fn finish(self) -> Result<String> {
        Ok(self.decode(&self.ids)?.get(self.given..).unwrap_or_default().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::config::ModelShape;
    use crate::model::Llama;

    const LOGITS: [f32; 5] = [0.0, 3.0, 1.0, 3.0, -9.0];

    fn chosen(sampling: Sampling) -> std::collections::BTreeSet<u32> {
        (0..500).map(|position| sampling.choose(&LOGITS, position)).collect()
    }

    #[test]
    fn temperature_zero_takes_the_most_likely_token() {
        assert_eq!(Sampling { temperature: 0.0, ..Default::default() }.choose(&LOGITS, 9), 1);
    }

    #[test]
    fn top_k_and_top_p_bound_the_choice() {
        let hot = Sampling { temperature: 5.0, top_k: 0, top_p: 1.0, seed: 1 };
        assert_eq!(chosen(hot).into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(chosen(Sampling { top_k: 3, ..hot }).into_iter().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(chosen(Sampling { top_p: 0.5, ..hot }).into_iter().collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn choices_follow_the_probabilities() {
        let sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, seed: 7 };
        let logits = [0.0f32, 3f32.ln()];
        let ones = (0..20_000).filter(|&position| sampling.choose(&logits, position) == 1).count();
        assert!((ones as f64 / 20_000.0 - 0.75).abs() < 0.02);
    }

    #[test]
    fn logits_that_are_no_numbers_do_not_panic() {
        assert!(Sampling::default().choose(&[f32::NAN; 3], 0) < 3);
        assert_eq!(Sampling::default().choose(&[], 0), 0);
    }

    fn model(eos_token_id: Option<u32>) -> Llama {
        let shape = ModelShape {
            dim: 16,
            n_layers: 2,
            n_heads: 2,
            n_kv_heads: None,
            vocab_size: 20,
            max_seq_len: 12,
            ..Default::default()
        };
        Llama::init(&shape.config(None, eos_token_id).unwrap(), 2, &Device::Cpu).unwrap()
    }

    fn greedy(model: &Llama, prompt: &[u32], new_tokens: usize) -> (Vec<u32>, Stop) {
        let mut out = Vec::new();
        let sampling = Sampling { temperature: 0.0, ..Default::default() };
        let stop = generate(model, prompt, new_tokens, &sampling, |id| {
            out.push(id);
            Ok(())
        });
        (out, stop.unwrap())
    }

    #[test]
    fn greedy_text_equals_that_without_a_cache() {
        let model = model(None);
        let (cached, stop) = greedy(&model, &[3, 7], 6);
        assert_eq!((cached.len(), stop), (6, Stop::Length));
        let mut ids = vec![3u32, 7];
        for _ in 0..6 {
            let all: Arc<[u32]> = ids.as_slice().into();
            let logits = model.logits(&all, 1, None).unwrap().narrow(1, ids.len() - 1, 1).unwrap();
            let last: Vec<f32> = logits.flatten_all().unwrap().to_vec1().unwrap();
            ids.push(Sampling { temperature: 0.0, ..Default::default() }.choose(&last, 0));
        }
        assert_eq!(cached, ids[2..]);
    }

    #[test]
    fn the_end_of_text_token_ends_it_and_is_not_told() {
        let first = greedy(&model(None), &[3, 7], 1).0[0];
        assert_eq!(greedy(&model(Some(first)), &[3, 7], 5), (vec![], Stop::EndOfText));
    }

    #[test]
    fn generation_ends_where_the_positions_end() {
        let (tokens, stop) = greedy(&model(None), &[1; 10], 50);
        assert_eq!((tokens.len(), stop), (3, Stop::Positions));
    }

    #[test]
    fn a_prompt_that_is_too_long_or_empty_is_refused() {
        let run = |prompt: &[u32]| generate(&model(None), prompt, 1, &Sampling::default(), |_| Ok(()));
        assert!(matches!(run(&[1; 13]), Err(Error::PromptTooLong { tokens: 13, positions: 12 })));
        assert!(matches!(run(&[]), Err(Error::Config { field: "prompt", .. })));
    }

    /// A byte-level tokenizer of the 256 bytes, each its own token.
    fn bytes_codec(folder: &Path) -> TextCodec {
        let printable = |b: u8| (b'!'..=b'~').contains(&b) || (0xa1..=0xac).contains(&b) || b >= 0xae;
        let mut next = 0u32;
        let mut vocab = serde_json::Map::new();
        for byte in 0..=255u8 {
            let symbol = match printable(byte) {
                true => char::from(byte),
                false => {
                    next += 1;
                    char::from_u32(255 + next).unwrap()
                }
            };
            vocab.insert(symbol.to_string(), u32::from(byte).into());
        }
        let level = serde_json::json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
        let json = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": level, "post_processor": null, "decoder": level,
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                      "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": []},
        });
        std::fs::write(folder.join("tokenizer.json"), json.to_string()).unwrap();
        TextCodec::open(folder).unwrap()
    }

    #[test]
    fn characters_of_several_tokens_are_streamed_whole() {
        let folder = tempfile::tempdir().unwrap();
        let codec = bytes_codec(folder.path());
        let text = "a\u{4f60}\u{597d}\u{1f468} ".repeat(40);
        let mut stream = codec.stream();
        let pieces: Vec<String> = codec.encode(&text).unwrap().into_iter().map(|id| stream.push(id).unwrap()).collect();
        assert_eq!(pieces.concat(), text);
        assert!(pieces.iter().all(|piece| !piece.contains('\u{fffd}')));
        assert!(pieces.iter().filter(|piece| piece.is_empty()).count() >= 40 * 7);
    }

    #[test]
    fn a_character_that_never_ends_is_given_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let codec = bytes_codec(folder.path());
        let mut stream = codec.stream();
        assert_eq!(stream.push(0xe4).unwrap(), "");
        assert_eq!(stream.finish().unwrap(), "\u{fffd}");
    }

    #[test]
    fn a_file_that_is_no_tokenizer_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
        assert!(matches!(TextCodec::open(folder.path()), Err(Error::Tokenizer { .. })));
    }
}

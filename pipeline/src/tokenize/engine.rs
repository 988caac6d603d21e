//! The engines that turn text into ids: our own, `tokenizers` 1.0, and `tokenizers` 0.23 for everything else.
//!
//! [`bpe`](crate::bpe) encodes what it recognises exactly, and fastest: byte-level and SentencePiece-style BPE behind the
//! published splits. `tokenizers` 1.0.0-rc.3 encodes twenty times faster than 0.23, but its ids are proven to be Hugging
//! Face's only for the components of [`unproven`], only on code points that are not [doubtful](super::doubtful), and it
//! does not read every `tokenizer.json` (a `ByteLevel` with `add_prefix_space`, nested sequences). All else is encoded
//! by 0.23.2, which candle brings into the tree anyway: slowly, and exactly.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value;
use tokenizers::pipeline::{EncodeOptions, Override, PipelineToken, PipelineTokenizer};

use super::doubtful::is_doubtful;
use super::scratch::Scratch;
use crate::bpe;

/// An encoder of plain text, without BOS and EOS.
pub(super) enum Engine {
    /// Our own.
    Own(Box<Own>),
    /// `tokenizers` 1.0.
    Fast(Box<Fast>),
    /// `tokenizers` 0.23.
    Reference(Box<Reference>),
}

/// Our own engine, and another for decoding: loaded when it is first needed.
pub(super) struct Own {
    tokenizer: bpe::Tokenizer,
    added: BTreeMap<String, u32>,
    definition: String,
    allow_special: bool,
    decoder: OnceLock<Result<Engine, String>>,
    /// For doubtful documents that are to be normalized.
    reference: OnceLock<Result<Reference, String>>,
}

/// The fast engine, and the reference engine for doubtful documents: loaded when the first one comes.
pub(super) struct Fast {
    tokenizer: PipelineTokenizer,
    options: EncodeOptions,
    definition: String,
    reference: OnceLock<Result<Reference, String>>,
}

/// The engine whose ids are right by definition.
pub(super) struct Reference(tokenizers_reference::Tokenizer);

/// Texts that reach every component of a tokenizer: 1.0 reports some of what it cannot do only when it encodes.
const PROBES: [&str; 3] =
    ["a", "Probe 12'll\n\u{e9}  \u{4f60}\u{597d}\u{ff0c}\t<s>", " \u{1f468}\u{200d}\u{1f469}\r\n\r\n..."];

/// Why the fast engine's ids are not known to be right, if they are not: the first component beyond those for which
/// tests compare the engines.
fn unproven(definition: &Value) -> Option<String> {
    let kind = |node: &Value| node.get("type").and_then(Value::as_str).map(str::to_owned);
    let model = definition.get("model").and_then(kind);
    if model.as_deref().is_some_and(|model| model != "BPE") {
        return model;
    }
    let normalizers = ["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "Replace", "Prepend"];
    let pre_tokenizers = ["ByteLevel", "Split"];
    let mut parts = members(definition.get("normalizer"), "normalizers")
        .map(|node| (node, &normalizers[..]))
        .chain(members(definition.get("pre_tokenizer"), "pretokenizers").map(|node| (node, &pre_tokenizers[..])));
    parts.find_map(|(node, proven)| {
        let kind = kind(node).unwrap_or_default();
        let regex_replace = kind == "Replace" && node.pointer("/pattern/Regex").is_some();
        (regex_replace || !proven.contains(&kind.as_str())).then_some(kind)
    })
}

/// The components of a slot: those of its `Sequence`, or itself.
fn members<'a>(slot: Option<&'a Value>, key: &str) -> impl Iterator<Item = &'a Value> {
    let slot = slot.filter(|slot| !slot.is_null());
    let sequence = slot.and_then(|slot| slot.get(key)).and_then(Value::as_array);
    let alone = slot.filter(|_| sequence.is_none());
    sequence.into_iter().flatten().chain(alone)
}

impl Engine {
    /// The fastest engine whose ids are right, and for people, if it is not our own, why.
    ///
    /// # Errors
    /// What the reference engine says if none can read the tokenizer.
    pub fn load(definition: &Value, allow_special: bool) -> Result<(Engine, Option<String>), String> {
        let unrecognised = match Own::load(definition, allow_special) {
            Ok(own) => return Ok((Engine::Own(Box::new(own)), None)),
            Err(reason) => reason,
        };
        let (engine, slow) = Engine::foreign(definition, allow_special)?;
        let note = match slow {
            Some(reason) => format!("the slow exact engine is used, the fast ones cannot: {reason}"),
            None => format!("crate tokenizers 1.0 encodes, the built-in encoder cannot: {unrecognised}"),
        };
        Ok((engine, Some(note)))
    }

    /// The fast engine of crate `tokenizers`, or the reference one and the reason why.
    pub(super) fn foreign(definition: &Value, allow_special: bool) -> Result<(Engine, Option<String>), String> {
        match Engine::fast(definition, allow_special) {
            Ok(fast) => Ok((fast, None)),
            Err(reason) => {
                let reference = Reference::load(&definition.to_string(), allow_special)?;
                Ok((Engine::Reference(Box::new(reference)), Some(reason)))
            }
        }
    }

    /// The engine of `tokenizers` 1.0, or why it cannot be trusted with this tokenizer.
    fn fast(definition: &Value, allow_special: bool) -> Result<Engine, String> {
        if let Some(kind) = unproven(definition) {
            return Err(format!("{kind} is not proven to give the same ids"));
        }
        Ok(Engine::Fast(Box::new(Fast::load(definition, allow_special)?)))
    }

    /// Added tokens with the ids they really have.
    pub fn added_tokens(&self) -> BTreeMap<String, u32> {
        match self {
            Engine::Own(own) => own.added.clone(),
            Engine::Fast(fast) => {
                let decoder = fast.tokenizer.get_added_vocabulary().get_added_tokens_decoder();
                decoder.into_iter().map(|(id, token)| (token.content, id)).collect()
            }
            Engine::Reference(reference) => {
                let decoder = reference.0.get_added_tokens_decoder();
                decoder.into_iter().map(|(id, token)| (token.content, id)).collect()
            }
        }
    }

    /// Appends the ids of a text to `out`.
    pub fn encode(&self, text: &str, scratch: &mut Scratch, out: &mut Vec<u32>) -> Result<(), String> {
        match self {
            Engine::Own(own) => own.encode(text, scratch, out),
            Engine::Fast(fast) => fast.encode(text, scratch.tokens(), out),
            Engine::Reference(reference) => reference.encode(text, out),
        }
    }

    /// The text of a sequence of ids.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, String> {
        match self {
            Engine::Own(own) => own.decoder()?.decode(ids, skip_special),
            Engine::Fast(fast) => fast.tokenizer.decode(ids, skip_special).map_err(|error| error.to_string()),
            Engine::Reference(reference) => reference.0.decode(ids, skip_special).map_err(|error| error.to_string()),
        }
    }
}

impl Own {
    /// Reads a tokenizer.
    ///
    /// # Errors
    /// The first part that is not recognised.
    pub fn load(definition: &Value, allow_special: bool) -> Result<Own, bpe::Unrecognised> {
        let tokenizer = bpe::Tokenizer::from_definition(definition, !allow_special)?;
        let added = bpe::added_ids(definition)?;
        Ok(Own {
            tokenizer,
            added,
            definition: definition.to_string(),
            allow_special,
            decoder: OnceLock::new(),
            reference: OnceLock::new(),
        })
    }

    fn encode(&self, text: &str, scratch: &mut Scratch, out: &mut Vec<u32>) -> Result<(), String> {
        if self.tokenizer.may_normalize(text) && is_doubtful(text) {
            let load = || Reference::load(&self.definition, self.allow_special);
            return self.reference.get_or_init(load).as_ref().map_err(String::clone)?.encode(text, out);
        }
        self.tokenizer.encode(text, scratch.memo(), out);
        Ok(())
    }

    fn decoder(&self) -> Result<&Engine, String> {
        let load = || {
            let definition = serde_json::from_str(&self.definition).map_err(|error| error.to_string())?;
            Engine::foreign(&definition, self.allow_special).map(|(engine, _)| engine)
        };
        self.decoder.get_or_init(load).as_ref().map_err(String::clone)
    }
}

impl Fast {
    fn load(definition: &Value, allow_special: bool) -> Result<Fast, String> {
        let mut canonical = definition.clone();
        tokenizers::canonicalize_value(&mut canonical).map_err(|error| error.to_string())?;
        let tokenizer = tokenizers::from_json(&canonical.to_string()).map_err(|error| error.to_string())?;
        let options = EncodeOptions {
            add_special_tokens: false,
            encode_special_tokens: !allow_special,
            padding: Override::Off,
            truncation: Override::Off,
        };
        let mut tokens = Vec::new();
        for probe in PROBES {
            tokenizer.encode_into(probe, &options, &mut tokens).map_err(|error| error.to_string())?;
        }
        Ok(Fast { tokenizer, options, definition: definition.to_string(), reference: OnceLock::new() })
    }

    fn encode(&self, text: &str, tokens: &mut Vec<PipelineToken>, out: &mut Vec<u32>) -> Result<(), String> {
        if is_doubtful(text) {
            let load = || Reference::load(&self.definition, !self.options.encode_special_tokens);
            return self.reference.get_or_init(load).as_ref().map_err(String::clone)?.encode(text, out);
        }
        tokens.clear();
        self.tokenizer.encode_into(text, &self.options, tokens).map_err(|error| error.to_string())?;
        out.extend_from_slice(PipelineToken::cast_slice(tokens));
        Ok(())
    }
}

impl Reference {
    /// Reads a tokenizer definition.
    pub fn load(definition: &str, allow_special: bool) -> Result<Reference, String> {
        let mut tokenizer =
            tokenizers_reference::Tokenizer::from_bytes(definition).map_err(|error| error.to_string())?;
        tokenizer.set_encode_special_tokens(!allow_special);
        Ok(Reference(tokenizer))
    }

    /// Appends the ids of a text to `out`.
    pub fn encode(&self, text: &str, out: &mut Vec<u32>) -> Result<(), String> {
        let encoding = self.0.encode_fast(text, false).map_err(|error| error.to_string())?;
        out.extend_from_slice(encoding.get_ids());
        Ok(())
    }
}

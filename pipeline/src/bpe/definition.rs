//! From a `tokenizer.json` to a [`Tokenizer`], if every part of it is one that this module encodes exactly.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::added::{AddedToken, Matcher};
use super::model::{Entry, Model, Unit};
use super::nfc::normalized;
use super::split::{GPT2, Known, known};
use super::tokenizer::{Form, Metaspace, Prefix, Replace, Tokenizer, next_serial};

/// Which part of a `tokenizer.json` is not encoded here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unrecognised(String);

/// A part that is not encoded here.
fn other(what: impl Into<String>) -> Unrecognised {
    Unrecognised(what.into())
}

type Result<T> = std::result::Result<T, Unrecognised>;

impl Tokenizer {
    /// A tokenizer of a parsed `tokenizer.json`. With `special_as_text`, text that looks like a special token is text.
    /// Truncation, padding, post-processor and decoder are not looked at.
    ///
    /// # Errors
    /// [`Unrecognised`] names the first part for which ids are not known to be Hugging Face's.
    pub fn from_definition(definition: &Value, special_as_text: bool) -> Result<Tokenizer> {
        let model = Bpe::read(part(definition, "model"))?;
        let form = model.form(part(definition, "normalizer"), part(definition, "pre_tokenizer"))?;
        let added = added_tokens(definition, &model)?;
        let added = matchers(added, &form, special_as_text)?;
        let model = model.build(&form)?;
        Ok(Tokenizer { serial: next_serial(), model, form, added })
    }
}

/// The added tokens of a definition by the ids that Hugging Face gives them, which need not be those in the file.
///
/// # Errors
/// [`Unrecognised`] as above.
pub fn added_ids(definition: &Value) -> Result<BTreeMap<String, u32>> {
    let vocab =
        part(definition, "model").get("vocab").and_then(Value::as_object).ok_or_else(|| other("no vocabulary"))?;
    let numbered = number(definition, vocab.len(), |token| vocab.get(token).and_then(id_of))?;
    Ok(numbered.into_iter().map(|(id, token)| (token.content, id)).collect())
}

fn part<'a>(definition: &'a Value, name: &str) -> &'a Value {
    definition.get(name).unwrap_or(&Value::Null)
}

fn kind(part: &Value) -> &str {
    part.get("type").and_then(Value::as_str).unwrap_or("an unnamed part")
}

fn flag(part: &Value, name: &str, default: bool) -> bool {
    part.get(name).and_then(Value::as_bool).unwrap_or(default)
}

fn id_of(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

/// A model of type BPE.
struct Bpe<'a> {
    vocab: HashMap<&'a str, u32>,
    /// Left, right and made token.
    merges: Vec<(u32, u32, u32)>,
    byte_fallback: bool,
    ignore_merges: bool,
}

impl<'a> Bpe<'a> {
    fn read(model: &'a Value) -> Result<Bpe<'a>> {
        if kind(model) != "BPE" {
            return Err(other(format!("model {}", kind(model))));
        }
        for option in ["continuing_subword_prefix", "end_of_word_suffix"] {
            if model.get(option).and_then(Value::as_str).is_some_and(|text| !text.is_empty()) {
                return Err(other(option));
            }
        }
        if model.get("dropout").and_then(Value::as_f64).is_some_and(|rate| rate > 0.0) {
            return Err(other("dropout"));
        }
        let entries = model.get("vocab").and_then(Value::as_object).ok_or_else(|| other("no vocabulary"))?;
        let vocab: HashMap<&str, u32> =
            entries.iter().filter_map(|(token, id)| Some((token.as_str(), id_of(id)?))).collect();
        let mut ids: Vec<u32> = vocab.values().copied().collect();
        ids.sort_unstable();
        if vocab.len() != entries.len() || ids.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(other("a vocabulary with ids that are odd or given twice"));
        }
        let mut bpe = Bpe {
            vocab,
            merges: Vec::new(),
            byte_fallback: flag(model, "byte_fallback", false),
            ignore_merges: flag(model, "ignore_merges", false),
        };
        bpe.merges = bpe.read_merges(model.get("merges").and_then(Value::as_array).map_or(&[], Vec::as_slice))?;
        Ok(bpe)
    }

    fn read_merges(&self, merges: &[Value]) -> Result<Vec<(u32, u32, u32)>> {
        let mut made = String::new();
        let mut merge = |value: &Value| {
            let (left, right) = match value {
                Value::String(line) => line.split_once(' ').filter(|(_, right)| !right.contains(' '))?,
                Value::Array(pair) => match pair.as_slice() {
                    [Value::String(left), Value::String(right)] => (left.as_str(), right.as_str()),
                    _ => return None,
                },
                _ => return None,
            };
            made.clear();
            made.extend([left, right]);
            let id = |token: &str| self.vocab.get(token).copied();
            Some((id(left)?, id(right)?, id(&made)?))
        };
        let is_version = |value: &Value| value.as_str().is_some_and(|line| line.starts_with("#version"));
        let lines = merges.iter().filter(|value| !is_version(value));
        lines.map(|value| merge(value).ok_or_else(|| other(format!("merge {value}")))).collect()
    }

    fn form(&self, normalizer: &Value, pre_tokenizer: &Value) -> Result<Form> {
        if self.byte_fallback {
            let bytes = self.byte_tokens()?;
            let bytes_merge = self.merges.iter().any(|(left, right, _)| bytes.contains(left) || bytes.contains(right));
            if bytes_merge {
                return Err(other("merges of fallback bytes"));
            }
            let normalizer = sentence_normalizer(normalizer)?;
            let metaspace = sentence_pre_tokenizer(pre_tokenizer, normalizer)?;
            return Ok(Form::Chars { normalizer, metaspace, bytes });
        }
        let nfc = nfc_or_none(normalizer)?;
        let alphabet = byte_alphabet();
        let mut buffer = [0; 4];
        if let Some(missing) = alphabet.iter().find(|c| !self.vocab.contains_key(&*c.encode_utf8(&mut buffer))) {
            return Err(other(format!("a vocabulary without the byte {missing:?}")));
        }
        byte_level(pre_tokenizer, nfc)
    }

    /// The tokens `<0x00>` to `<0xFF>`.
    fn byte_tokens(&self) -> Result<Box<[u32; 256]>> {
        let id = |byte: usize| self.vocab.get(format!("<0x{byte:02X}>").as_str()).copied();
        let ids: Option<Vec<u32>> = (0..256).map(id).collect();
        let ids = ids.and_then(|ids| ids.into_boxed_slice().try_into().ok());
        ids.ok_or_else(|| other("byte_fallback without a token for each byte"))
    }

    fn build(self, form: &Form) -> Result<Model> {
        let bytes = byte_alphabet_inverted();
        let (unit, entries): (Unit, Vec<Entry>) = match form {
            Form::Bytes { .. } => {
                let spelled = |token: &str| token.chars().map(|c| bytes.get(&c).copied()).collect::<Option<Vec<u8>>>();
                let entry = |(token, id): (&str, u32)| spelled(token).map(|bytes| Entry { id, bytes });
                (Unit::Byte, self.vocab.into_iter().filter_map(entry).collect())
            }
            Form::Chars { .. } => {
                let entry = |(token, id): (&str, u32)| Entry { id, bytes: token.as_bytes().to_vec() };
                (Unit::Char, self.vocab.into_iter().map(entry).collect())
            }
        };
        Model::new(unit, entries, &self.merges, self.ignore_merges)
            .ok_or_else(|| other("a vocabulary of more than a million tokens, or a token of 4096 bytes"))
    }
}

/// The printable character that stands for each byte: itself where it is printable, else one from U+0100 on.
pub fn byte_alphabet() -> [char; 256] {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut substitutes = '\u{100}'..;
    std::array::from_fn(|byte| match byte as u8 {
        byte if printable(byte) => char::from(byte),
        _ => substitutes.next().unwrap_or_default(),
    })
}

fn byte_alphabet_inverted() -> HashMap<char, u8> {
    byte_alphabet().into_iter().zip(0..=255).collect()
}

/// Whether a normalizer is `NFC`, alone or in a sequence of its own, and not none.
fn nfc_or_none(normalizer: &Value) -> Result<bool> {
    match normalizer.get("normalizers").and_then(Value::as_array).map(Vec::as_slice) {
        Some([]) => Ok(false),
        Some([only]) => nfc_or_none(only),
        None if normalizer.is_null() => Ok(false),
        None if kind(normalizer) == "NFC" => Ok(true),
        _ => Err(other(format!("normalizer {}", kind(normalizer)))),
    }
}

/// The pre-tokenizer of a byte-level vocabulary: `ByteLevel` alone, or behind `Digits` or one or more `Split`s.
fn byte_level(pre_tokenizer: &Value, nfc: bool) -> Result<Form> {
    let parts: Vec<&Value> = match pre_tokenizer.get("pretokenizers").and_then(Value::as_array) {
        Some(parts) => parts.iter().collect(),
        None => vec![pre_tokenizer],
    };
    let Some((last, splits)) = parts.split_last() else { return Err(other("an empty sequence")) };
    if kind(last) != "ByteLevel" {
        return Err(other(format!("pre-tokenizer {}", kind(last))));
    }
    let prefix_space = flag(last, "add_prefix_space", true);
    let mut expressions = splits.iter().map(|split| isolating(split)).collect::<Result<Vec<&str>>>()?;
    if flag(last, "use_regex", true) {
        expressions.push(GPT2);
    }
    if expressions.is_empty() {
        return Ok(Form::Bytes { nfc, prefix_space, words: None });
    }
    if prefix_space && !splits.is_empty() {
        return Err(other("add_prefix_space behind another split"));
    }
    let words: Option<Known> = known(&expressions);
    let words = words.ok_or_else(|| other(format!("split by {}", expressions.join(" then "))))?;
    Ok(Form::Bytes { nfc, prefix_space, words: Some(words) })
}

/// The expression of a `Split` that makes each match a piece, or one that splits as `Digits` does.
fn isolating(split: &Value) -> Result<&str> {
    if kind(split) == "Digits" {
        return Ok(if flag(split, "individual_digits", false) { r"\p{N}" } else { r"\p{N}+" });
    }
    if kind(split) != "Split" {
        return Err(other(format!("pre-tokenizer {}", kind(split))));
    }
    // `Removed` with `invert` removes what is no match; the expressions known here match everything.
    let isolated = split.get("behavior").and_then(Value::as_str) == Some("Isolated") && !flag(split, "invert", false);
    let expression = split.pointer("/pattern/Regex").and_then(Value::as_str).filter(|_| isolated);
    expression.ok_or_else(|| other("a Split that does not isolate the matches of an expression"))
}

/// `Replace` of spaces by U+2581, `Prepend` of U+2581 before it, or nothing.
fn sentence_normalizer(normalizer: &Value) -> Result<Option<Replace>> {
    let parts: Vec<&Value> = match normalizer.get("normalizers").and_then(Value::as_array) {
        Some(parts) => parts.iter().collect(),
        None if normalizer.is_null() => Vec::new(),
        None => vec![normalizer],
    };
    let prepends =
        |part: &Value| kind(part) == "Prepend" && part.get("prepend").and_then(Value::as_str) == Some("\u{2581}");
    let replaces = |part: &Value| {
        let from = part.pointer("/pattern/String").and_then(Value::as_str);
        kind(part) == "Replace" && from == Some(" ") && part.get("content").and_then(Value::as_str) == Some("\u{2581}")
    };
    match parts.as_slice() {
        [] => Ok(None),
        [only] if replaces(only) => Ok(Some(Replace { prepend: false })),
        [first, second] if prepends(first) && replaces(second) => Ok(Some(Replace { prepend: true })),
        _ => Err(other(format!("normalizer {}", kind(normalizer)))),
    }
}

/// `Metaspace`, or what never splits text without spaces.
fn sentence_pre_tokenizer(pre_tokenizer: &Value, normalizer: Option<Replace>) -> Result<Option<Metaspace>> {
    let no_spaces = normalizer.is_some();
    match kind(pre_tokenizer) {
        _ if pre_tokenizer.is_null() => Ok(None),
        "Split" if no_spaces && pre_tokenizer.pointer("/pattern/String").and_then(Value::as_str) == Some(" ") => {
            let inverted = flag(pre_tokenizer, "invert", false);
            if inverted { Err(other("an inverted Split")) } else { Ok(None) }
        }
        "Metaspace" if pre_tokenizer.get("replacement").and_then(Value::as_str) == Some("\u{2581}") => {
            let scheme = pre_tokenizer.get("prepend_scheme").and_then(Value::as_str).unwrap_or("always");
            let prefix = match scheme {
                "never" => Prefix::Never,
                "always" => Prefix::Always,
                "first" => Prefix::First,
                scheme => return Err(other(format!("prepend_scheme {scheme}"))),
            };
            if !flag(pre_tokenizer, "add_prefix_space", true) && prefix != Prefix::Never {
                return Err(other("a Metaspace that contradicts itself"));
            }
            Ok(Some(Metaspace { prefix, split: flag(pre_tokenizer, "split", true) }))
        }
        kind => Err(other(format!("pre-tokenizer {kind}"))),
    }
}

/// Added tokens by id.
fn added_tokens(definition: &Value, model: &Bpe) -> Result<BTreeMap<u32, AddedToken>> {
    number(definition, model.vocab.len(), |token| model.vocab.get(token).copied())
}

/// Numbers added tokens as Hugging Face does: one that is in the vocabulary has its id there, others follow it.
fn number(
    definition: &Value,
    vocab_size: usize,
    model_id: impl Fn(&str) -> Option<u32>,
) -> Result<BTreeMap<u32, AddedToken>> {
    let mut by_content: HashMap<String, u32> = HashMap::new();
    let mut by_id: BTreeMap<u32, AddedToken> = BTreeMap::new();
    let mut next = u32::try_from(vocab_size).map_err(|_| other("a vocabulary beyond 32 bits"))?;
    for token in part(definition, "added_tokens").as_array().map_or(&[][..], Vec::as_slice) {
        let token = added_token(token)?;
        if token.content.is_empty() {
            continue;
        }
        let id = by_content.get(&token.content).copied().or_else(|| model_id(&token.content));
        let id = id.unwrap_or_else(|| {
            next += 1;
            next - 1
        });
        by_content.insert(token.content.clone(), id);
        if by_id.insert(id, token).is_some() {
            return Err(other("an added token given twice"));
        }
    }
    Ok(by_id)
}

fn added_token(token: &Value) -> Result<AddedToken> {
    let content =
        token.get("content").and_then(Value::as_str).ok_or_else(|| other("an added token without content"))?;
    if flag(token, "single_word", false) {
        return Err(other(format!("added token {content:?} matches single words only")));
    }
    Ok(AddedToken {
        content: content.to_owned(),
        lstrip: flag(token, "lstrip", false),
        rstrip: flag(token, "rstrip", false),
        normalized: flag(token, "normalized", false),
        special: flag(token, "special", false),
    })
}

fn matchers(tokens: BTreeMap<u32, AddedToken>, form: &Form, special_as_text: bool) -> Result<[Matcher; 2]> {
    let (spelled_anew, raw): (Vec<_>, Vec<_>) = tokens.into_iter().partition(|(_, token)| token.normalized);
    let spelled = |token: &AddedToken| match form {
        Form::Chars { normalizer: Some(normalizer), .. } if token.normalized => {
            let mut spelled = Vec::new();
            normalizer.spell(token.content.as_bytes(), &mut spelled);
            spelled
        }
        Form::Bytes { nfc: true, .. } if token.normalized => normalized(token.content.as_bytes()).into_owned(),
        _ => token.content.clone().into_bytes(),
    };
    let matcher = |tokens: Vec<(u32, AddedToken)>| {
        let tokens = tokens.into_iter().map(|(id, token)| (spelled(&token), id, token)).collect();
        Matcher::new(tokens, special_as_text).ok_or_else(|| other("two added tokens that are spelled alike"))
    };
    Ok([matcher(raw)?, matcher(spelled_anew)?])
}

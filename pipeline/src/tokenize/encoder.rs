//! [`Encoder`]: a loaded tokenizer with its BOS and EOS, checked against the dtype before any work starts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use schemas::config::Tokenize;
use sha2::{Digest, Sha256};

use super::Error;
use super::definition::Definition;
use super::engine::Engine;
use super::scratch::{Pool, Scratch};
use super::special::TokenizerConfig;

/// A tokenizer, ready to encode on any number of threads.
pub struct Encoder {
    engine: Engine,
    path: PathBuf,
    hash: String,
    config_copy: Vec<u8>,
    vocab_size: u32,
    bos_id: Option<u32>,
    eos_id: Option<u32>,
    notes: Vec<String>,
    scratches: Pool,
}

/// A file that a dataset carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCopy {
    /// Its name in the dataset.
    pub name: &'static str,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl Encoder {
    /// Loads `path`, a `tokenizer.json` or a folder that holds one, and checks it against the settings.
    ///
    /// `settings.tokenizer` is not looked at: in a dataset's copy it is a hash.
    ///
    /// # Errors
    /// Files that cannot be read or parsed, a BOS or EOS that is neither given nor configured nor in the vocabulary,
    /// ids that do not fit `settings.dtype`.
    pub fn load(path: &Path, settings: &Tokenize) -> Result<Encoder, Error> {
        let path = if path.is_dir() { path.join("tokenizer.json") } else { path.to_owned() };
        let bytes = read(&path)?;
        let Definition { value, mut notes } = Definition::parse(&path, &bytes)?;
        let definition = Definition { value, notes: Vec::new() };
        let (engine, note) = Engine::load(&definition.value, settings.allow_special)
            .map_err(|found| Error::NotATokenizer { path: path.clone(), found })?;
        notes.extend(note);

        let vocabulary = Vocabulary { path: &path, definition: &definition, engine: &engine };
        notes.extend(vocabulary.renumbered());
        let (id_max, token) = vocabulary.largest()?;
        if id_max > settings.dtype.max_id() {
            let (dtype, limit) = (settings.dtype.name(), settings.dtype.max_id());
            return Err(Error::IdTooLarge { path, id: id_max, token, dtype, id_max: limit });
        }
        let config = TokenizerConfig::beside(&path)?;
        let bos = config.token("bos", settings.bos.as_deref())?;
        let eos = config.token("eos", settings.eos.as_deref())?;
        let mut bos_id = bos.as_deref().map(|token| vocabulary.id("bos", token)).transpose()?;
        let eos_id = eos.as_deref().map(|token| vocabulary.id("eos", token)).transpose()?;
        if bos_id.is_some() && bos_id == eos_id {
            notes.push("BOS and EOS are one token: it is written once, after each document".to_owned());
            bos_id = None;
        }
        let config_copy = config.copy(bos.as_deref(), eos.as_deref());
        let hash = sha256_hex(&bytes);
        Ok(Encoder {
            engine,
            path,
            hash,
            config_copy,
            vocab_size: id_max + 1,
            bos_id,
            eos_id,
            notes,
            scratches: Pool::default(),
        })
    }

    /// The largest id plus one: how many rows an embedding needs.
    pub fn vocab_size(&self) -> u32 {
        self.vocab_size
    }

    /// Token before each document; None also where it is the same as EOS.
    pub fn bos_id(&self) -> Option<u32> {
        self.bos_id
    }

    /// Token after each document.
    pub fn eos_id(&self) -> Option<u32> {
        self.eos_id
    }

    /// What the vocabulary's entries are called, added tokens too.
    ///
    /// # Errors
    /// Where the file is no longer there or no longer a tokenizer: its text is not kept in memory.
    pub fn entries(&self) -> Result<BTreeSet<String>, Error> {
        let definition = Definition::parse(&self.path, &read(&self.path)?)?;
        let added = self.engine.added_tokens().into_keys();
        Ok(definition.model_tokens().map(str::to_owned).chain(added).collect())
    }

    /// sha256 of `tokenizer.json`, 64 lower-case hex digits.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// What of the tokenizer is ignored or odd, for the plan.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Lends a scratch in which others of this tokenizer's texts were encoded before.
    pub fn with_scratch<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        self.scratches.with(work)
    }

    /// Appends BOS, the ids of `text` and EOS to `out`.
    ///
    /// # Errors
    /// [`Error::Encode`]; `out` is as it was.
    pub fn encode(&self, text: &str, scratch: &mut Scratch, out: &mut Vec<u32>) -> Result<(), Error> {
        let start = out.len();
        out.extend(self.bos_id);
        if let Err(detail) = self.engine.encode(text, scratch, out) {
            out.truncate(start);
            return Err(Error::Encode { bytes: text.len(), detail });
        }
        out.extend(self.eos_id);
        Ok(())
    }

    /// The text of a sequence of ids; bytes that are no UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// [`Error::UnknownId`] for an id beyond the vocabulary, [`Error::Decode`] from the engine.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, Error> {
        if let Some(position) = ids.iter().position(|id| *id >= self.vocab_size) {
            let id = ids.get(position).copied().unwrap_or_default();
            return Err(Error::UnknownId { id, position, vocab_size: self.vocab_size });
        }
        self.engine.decode(ids, skip_special).map_err(|detail| Error::Decode { tokens: ids.len(), detail })
    }

    /// The files a dataset carries: `tokenizer.json` as it was loaded, and `tokenizer_config.json`, a minimal one if
    /// there is none.
    ///
    /// # Errors
    /// [`Error::Changed`] if `tokenizer.json` is no longer what was loaded (it is not kept in memory).
    pub fn files(&self) -> Result<Vec<FileCopy>, Error> {
        let bytes = read(&self.path)?;
        let found = sha256_hex(&bytes);
        if found != self.hash {
            return Err(Error::Changed { path: self.path.clone(), expected: self.hash.clone(), found });
        }
        let config = FileCopy { name: "tokenizer_config.json", bytes: self.config_copy.clone() };
        Ok(vec![FileCopy { name: "tokenizer.json", bytes }, config])
    }
}

/// The tokens of a tokenizer: its model's, and added ones as the engine numbers them.
struct Vocabulary<'a> {
    path: &'a Path,
    definition: &'a Definition,
    engine: &'a Engine,
}

impl Vocabulary<'_> {
    fn id(&self, role: &'static str, token: &str) -> Result<u32, Error> {
        let added = self.engine.added_tokens().get(token).copied();
        let unknown = || Error::UnknownToken { path: self.path.to_owned(), role, token: token.to_owned() };
        added.or_else(|| self.definition.model_id(token)).ok_or_else(unknown)
    }

    fn largest(&self) -> Result<(u32, String), Error> {
        let added = self.engine.added_tokens().into_iter().map(|(token, id)| (id, token)).max();
        let empty = || Error::NotATokenizer { path: self.path.to_owned(), found: "an empty vocabulary".to_owned() };
        added.max(self.definition.largest_model_id()).ok_or_else(empty)
    }

    /// Hugging Face numbers added tokens itself and does not look at the ids in the file.
    fn renumbered(&self) -> Vec<String> {
        let added = self.engine.added_tokens();
        let real = |token: &str| added.get(token).copied();
        let odd = self.definition.declared_added().filter_map(|(id, token)| {
            let real = real(token).filter(|real| *real != id)?;
            Some(format!("added token {token:?} is declared with id {id} but gets {real}, as in Hugging Face"))
        });
        odd.collect()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

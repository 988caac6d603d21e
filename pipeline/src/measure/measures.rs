//! [`Measures`]: planned once, applied to blocks on any number of threads.

use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use schemas::columns::Kind;
use schemas::config::{Config, Measure, SpecialCharacters};
use schemas::measure::QualityColumn;
use shards::commit::sha256_hex;

use super::Error;
use super::language::Detector;
use super::perplexity::LanguageModel;
use super::splitter::Splitter;
use super::text::{Families, Scratch, Value, measure};
use super::word_statistics::FlaggedWords;
use crate::record::{Document, FieldValue, Records, Span};

/// What the measures look up.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub words: Splitter,
    pub gopher_words: Splitter,
    pub special: SpecialCharacters,
    pub flagged: FlaggedWords,
    pub detector: Detector,
    pub language_model: Option<LanguageModel>,
    pub perplexity_words: Splitter,
}

/// Columns to be computed, with the lists and models they need.
#[derive(Debug, Default)]
pub struct Measures {
    columns: Vec<QualityColumn>,
    families: Families,
    recompute: bool,
    options: Options,
    /// The configuration with every file by its hash.
    canonical: Measure,
    /// Work space of threads that are not at work.
    idle: Mutex<Vec<Scratch>>,
}

impl Measures {
    /// Loads what the columns need.
    ///
    /// # Errors
    /// [`Error::Needs`] where a file is not given; whatever is wrong with one that is.
    pub fn load(config: &Measure) -> Result<Measures, Error> {
        let mut canonical = config.clone();
        let uses = [
            (config.words, "num_words"),
            (config.gopher_words, "gopher_n_words"),
            (config.perplexity_words, "perplexity"),
        ];
        let ([words, gopher_words, perplexity_words], pieces) =
            Splitter::load(uses, config.sentencepiece_model.as_deref())?;
        canonical.sentencepiece_model = pieces;
        let mut options = Options {
            words,
            gopher_words,
            special: config.special_characters,
            flagged: FlaggedWords::default(),
            detector: Detector::default(),
            language_model: None,
            perplexity_words,
        };
        if config.columns.contains(&QualityColumn::FlaggedWordsRatio) {
            let path = config.flagged_words.as_deref();
            let path = path.ok_or(Error::Needs { column: "flagged_words_ratio", key: "flagged_words" })?;
            let (words, hash) = load_words(Path::new(path))?;
            options.flagged = FlaggedWords { words, pairs: config.flagged_pairs };
            canonical.flagged_words = Some(hash);
        }
        if config.columns.iter().any(|column| column.group() == "language") {
            let (detector, name) = Detector::load(config.lang_model.as_deref())?;
            options.detector = detector;
            canonical.lang_model = Some(name);
        }
        if config.columns.contains(&QualityColumn::Perplexity) {
            let path = config.perplexity_model.as_deref();
            let path = path.ok_or(Error::Needs { column: "perplexity", key: "perplexity_model" })?;
            let (model, hash) = LanguageModel::load(Path::new(path))?;
            options.language_model = Some(model);
            canonical.perplexity_model = Some(hash);
        }
        Ok(Measures {
            columns: config.columns.clone(),
            families: Families::of(&config.columns),
            recompute: config.recompute,
            options,
            canonical,
            idle: Mutex::default(),
        })
    }

    /// The configuration with every file by its sha256, as it stands in a dataset.
    pub fn canonical(&self) -> &Measure {
        &self.canonical
    }

    /// Refuses lists and models that are not those of the plan.
    ///
    /// # Errors
    /// [`Error::Changed`].
    pub fn refuse_changed(&self, config_toml: &str) -> Result<(), Error> {
        let Ok(planned) = toml::from_str::<Config>(config_toml) else { return Ok(()) };
        let changed = |(_, planned, found): &(&'static str, Option<String>, &Option<String>)| *planned != **found;
        let files = [
            ("flagged_words", planned.measure.flagged_words, &self.canonical.flagged_words),
            ("perplexity_model", planned.measure.perplexity_model, &self.canonical.perplexity_model),
            ("sentencepiece_model", planned.measure.sentencepiece_model, &self.canonical.sentencepiece_model),
            ("lang_model", planned.measure.lang_model, &self.canonical.lang_model),
        ];
        match files.into_iter().find(changed).filter(|_| !self.columns.is_empty()) {
            None => Ok(()),
            Some((key, expected, found)) => Err(Error::Changed {
                key,
                expected: expected.unwrap_or_default(),
                found: found.clone().unwrap_or_default(),
            }),
        }
    }

    /// The columns that are computed.
    pub fn columns(&self) -> &[QualityColumn] {
        &self.columns
    }

    /// Gives every document a field for every column that it does not have, or has as null.
    pub fn apply(&self, records: &mut Records) {
        if self.columns.is_empty() || records.documents.is_empty() {
            return;
        }
        let names: Vec<u32> = self.columns.iter().map(|column| name_index(records, column.name())).collect();
        let mut scratch = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let mut fields = Vec::with_capacity(records.fields.len() + records.documents.len() * names.len());
        let mut documents = std::mem::take(&mut records.documents);
        for document in &mut documents {
            let first_field = fields.len() as u32;
            self.measure(records, document, &names, &mut scratch, &mut fields);
            document.first_field = first_field;
            document.last_field = fields.len() as u32;
        }
        records.documents = documents;
        records.fields = fields;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
    }

    fn measure(
        &self,
        records: &mut Records,
        document: &Document,
        names: &[u32],
        scratch: &mut Scratch,
        out: &mut Vec<FieldValue>,
    ) {
        let first = out.len();
        let is_replaced =
            |field: &FieldValue| names.contains(&field.name) && (self.recompute || field.kind == Kind::Null);
        out.extend(records.fields_of(document).iter().filter(|field| !is_replaced(field)));
        let kept = out.get(first..).unwrap_or_default();
        let absent: Vec<(QualityColumn, u32)> = self
            .columns
            .iter()
            .copied()
            .zip(names.iter().copied())
            .filter(|(_, name)| !kept.iter().any(|field| field.name == *name))
            .collect();
        if absent.is_empty() {
            return;
        }
        let mut families = self.families;
        if absent.len() < self.columns.len() {
            families = Families::of(&absent.iter().map(|(column, _)| *column).collect::<Vec<_>>());
        }
        let found = measure(records.str(document.text), families, &self.options, scratch);
        for (column, name) in absent {
            let (kind, value) = put(records, found.value(column));
            out.push(FieldValue { name, kind, value });
        }
    }
}

fn name_index(records: &mut Records, name: &str) -> u32 {
    let index = records.names.iter().position(|known| known == name).unwrap_or_else(|| {
        records.names.push(name.to_owned());
        records.names.len() - 1
    });
    index as u32
}

/// A value as the JSON lexeme that a source would have: the shortest text that reads back as the same number.
fn put(records: &mut Records, value: Value) -> (Kind, Span) {
    let start = records.arena.len() as u32;
    // A Vec takes whatever is written to it.
    let (kind, _) = match value {
        Value::Int(count) => (Kind::Int, write!(records.arena, "{count}")),
        Value::Float(share) => (Kind::Float, write!(records.arena, "{share:?}")),
        Value::Text(label) => (Kind::String, write!(records.arena, "{label}")),
    };
    (kind, Span { start, end: records.arena.len() as u32 })
}

/// A word a line, in lower case; white space around it is none of it.
fn load_words(path: &Path) -> Result<(std::collections::HashSet<Box<str>>, String), Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| Error::NotUtf8 { path: path.to_owned(), offset: error.valid_up_to() })?;
    let words =
        text.lines().map(str::trim).filter(|word| !word.is_empty()).map(|word| word.to_lowercase().into()).collect();
    Ok((words, format!("sha256:{}", sha256_hex(&bytes))))
}

#[cfg(test)]
#[path = "measures_tests.rs"]
mod tests;

//! [`Filter`]: planned once, applied to blocks on any number of threads.

use std::collections::BTreeSet;

use polars::prelude::{Column, DataFrame, DataType, Expr, IntoLazy, PolarsResult};
use schemas::columns::Kind;
use schemas::config::{self, Nulls};
use schemas::rule::RULE_MAX_CHARS;

use super::columns::{BlockColumns, N_CHARS, TEXT, shorten};
use super::types::Types;
use super::{Error, WantedType, compile, conjunct, presets};
use crate::record::{Document, Records};

/// What becomes of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep,
    /// It is dropped.
    Drop {
        /// Index into [`Filter::rules`].
        rule: u16,
        /// The columns that decided, as `perplexity=1833.2, lang=en`; for `max_chars` the number of characters.
        value: String,
    },
    /// A column of the filter has a value of another type: the line is invalid (`column_type`).
    Invalid {
        /// `column perplexity: expected a number, found string "abc"`.
        detail: String,
    },
}

/// A planned filter.
#[derive(Debug)]
pub struct Filter {
    max_chars: Option<(u64, u16)>,
    conjuncts: Vec<Conjunct>,
    nulls: Nulls,
    text_column: String,
    columns: Vec<(String, WantedType)>,
    rules: Vec<String>,
}

/// One top-level condition.
#[derive(Debug)]
struct Conjunct {
    text: String,
    expr: Expr,
    rule: u16,
    /// Its columns, each with the index of its rule `null:COLUMN`.
    columns: Vec<(String, u16)>,
}

/// Names of rules, each once.
#[derive(Default)]
struct Rules(Vec<String>);

impl Rules {
    fn index_of(&mut self, name: String) -> u16 {
        let index = self.0.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.0.push(name);
            self.0.len() - 1
        });
        u16::try_from(index).unwrap_or(u16::MAX)
    }
}

impl Filter {
    /// Plans a filter over documents whose text stands in column `text`.
    ///
    /// # Errors
    /// Everything that can be refused: text that is no condition over one document, types that contradict each other.
    pub fn plan(config: &config::Filter) -> Result<Filter, Error> {
        Filter::plan_for(config, TEXT)
    }

    /// Plans a filter over documents whose text stands in `text_column`; it can be named `text` too.
    ///
    /// # Errors
    /// As [`Filter::plan`].
    pub fn plan_for(config: &config::Filter, text_column: &str) -> Result<Filter, Error> {
        let mut rules = Rules::default();
        let max_chars = config.max_chars.map(|most| (most, rules.index_of(RULE_MAX_CHARS.to_owned())));
        let mut types = Types::default();
        types.declare(TEXT, WantedType::Text);
        types.declare(text_column, WantedType::Text);
        types.declare(N_CHARS, WantedType::Number);
        let mut parts = Vec::new();
        for name in config.preset.iter().flat_map(|names| presets::names_of(names)) {
            parts.extend(compile_preset(name)?);
        }
        parts.extend(compile_all(config.where_sql.as_deref().unwrap_or_default())?);
        learn_types(&mut types, &parts)?;
        let conjuncts: Vec<Conjunct> =
            parts.into_iter().map(|(text, expr)| Conjunct::new(text, expr, &mut rules)).collect();
        let names: BTreeSet<&String> =
            conjuncts.iter().flat_map(|part| part.columns.iter().map(|(name, _)| name)).collect();
        let columns: Vec<_> = names.into_iter().map(|name| (name.clone(), types.of(name))).collect();
        let rules = rules.0;
        if rules.len() > usize::from(u16::MAX) {
            return Err(Error::TooManyRules { max: usize::from(u16::MAX), found: rules.len() });
        }
        conjuncts.iter().try_for_each(|part| part.rehearse(&columns))?;
        Ok(Filter { max_chars, conjuncts, nulls: config.nulls, text_column: text_column.to_owned(), columns, rules })
    }

    /// Names of the rules under which documents are dropped, as the ledger has them.
    pub fn rules(&self) -> &[String] {
        &self.rules
    }

    /// The columns the filter looks at, with the types their use gives them. One that no input has is null everywhere.
    pub fn columns(&self) -> &[(String, WantedType)] {
        &self.columns
    }

    /// One verdict for each document of a block, in order.
    ///
    /// # Errors
    /// [`Error::Null`] under `--nulls error`; [`Error::Evaluate`] if Polars fails.
    pub fn apply(&self, records: &Records) -> Result<Vec<Verdict>, Error> {
        if self.conjuncts.is_empty() && self.max_chars.is_none() {
            return Ok(vec![Verdict::Keep; records.documents.len()]);
        }
        let n_chars: Vec<u64> = match self.max_chars.is_some() || self.columns.iter().any(|(name, _)| name == N_CHARS) {
            true => {
                records.documents.iter().map(|document| records.str(document.text).chars().count() as u64).collect()
            }
            false => vec![0; records.documents.len()],
        };
        let chars_of = |index: usize| n_chars.get(index).copied().unwrap_or_default();
        let mut block = BlockColumns::read(records, &self.columns, &self.text_column, chars_of);
        let wrong = std::mem::take(&mut block.wrong);
        let truths = self.evaluate(block, wrong.len())?;
        let judge = |(index, detail): (usize, Option<String>)| {
            let document = Judged { records, index, n_chars: chars_of(index), truths: &truths };
            detail.map_or_else(|| self.judge(&document), |detail| Ok(Verdict::Invalid { detail }))
        };
        wrong.into_iter().enumerate().map(judge).collect()
    }

    /// For each conjunct, whether it holds for each document.
    fn evaluate(&self, block: BlockColumns<'_>, documents: usize) -> Result<Vec<Vec<Option<bool>>>, Error> {
        let Some(first) = self.conjuncts.first() else { return Ok(Vec::new()) };
        let frame = block.frame(documents).map_err(|error| first.failed(error.to_string()))?;
        self.conjuncts.iter().map(|part| part.evaluate(&frame, documents)).collect()
    }

    fn judge(&self, document: &Judged<'_>) -> Result<Verdict, Error> {
        if let Some((most, rule)) = self.max_chars
            && document.n_chars > most
        {
            return Ok(Verdict::Drop { rule, value: document.n_chars.to_string() });
        }
        let mut null = None;
        for (index, part) in self.conjuncts.iter().enumerate() {
            match document.truth(index) {
                Some(true) => {}
                Some(false) => {
                    return Ok(Verdict::Drop { rule: part.rule, value: document.values(part, &self.text_column) });
                }
                None if self.nulls == Nulls::Drop => return Ok(self.dropped_null(part, document)),
                None => null = null.or(Some(part)),
            }
        }
        match null.filter(|_| self.nulls == Nulls::Error) {
            None => Ok(Verdict::Keep),
            Some(part) => Err(Error::Null {
                conjunct: part.text.clone(),
                column: part.null_column(document, &self.text_column).map(|(name, _)| name.clone()).unwrap_or_default(),
                line: document.position_line(),
            }),
        }
    }

    fn dropped_null(&self, part: &Conjunct, document: &Judged<'_>) -> Verdict {
        let rule = part.null_column(document, &self.text_column).map_or(part.rule, |(_, rule)| *rule);
        Verdict::Drop { rule, value: document.values(part, &self.text_column) }
    }
}

/// Compiles the conditions of a preset, which stand before the user's own.
fn compile_preset(name: &str) -> Result<Vec<(String, Expr)>, Error> {
    let preset = presets::find(name).map_err(|known| Error::UnknownPreset { name: name.to_owned(), known })?;
    let one = |condition: &presets::Condition| Ok((condition.sql.to_owned(), compile::compile(condition.sql)?));
    preset.conditions.iter().map(one).collect()
}

/// Splits and compiles the expression of a filter.
fn compile_all(sql: &str) -> Result<Vec<(String, Expr)>, Error> {
    if sql.trim().is_empty() {
        return Ok(Vec::new());
    }
    let whole = compile::compile(sql)?;
    let parts: Result<Vec<_>, Error> =
        conjunct::split(sql).into_iter().map(|text| Ok((text.to_owned(), compile::compile(text)?))).collect();
    // A split that does not compile would be ours, not the user's: the whole is one condition then.
    Ok(parts.unwrap_or_else(|_| vec![(sql.trim().to_owned(), whole)]))
}

/// Walks all conjuncts until nothing new is learned, then once more to decide what is left.
fn learn_types(types: &mut Types, parts: &[(String, Expr)]) -> Result<(), Error> {
    loop {
        let known = types.known();
        parts.iter().try_for_each(|(text, expr)| types.learn(text, expr, false))?;
        if types.known() == known {
            break;
        }
    }
    parts.iter().try_for_each(|(text, expr)| types.learn(text, expr, true))
}

impl Conjunct {
    fn new(text: String, expr: Expr, rules: &mut Rules) -> Conjunct {
        let rule = rules.index_of(text.clone());
        let names = compile::columns_of(&expr);
        let columns = names.into_iter().map(|name| {
            let rule = rules.index_of(format!("null:{name}"));
            (name, rule)
        });
        Conjunct { columns: columns.collect(), text, expr, rule }
    }

    fn failed(&self, detail: String) -> Error {
        Error::Evaluate { conjunct: self.text.clone(), detail }
    }

    /// Evaluates on a frame of two rows, all null and all filled, so that whatever Polars refuses is refused now.
    fn rehearse(&self, columns: &[(String, WantedType)]) -> Result<(), Error> {
        let frame = sample(columns).map_err(|error| self.failed(error.to_string()))?;
        let column = self.column(&frame)?;
        match column.dtype() {
            DataType::Boolean => Ok(()),
            found => Err(Error::NotBoolean { conjunct: self.text.clone(), found: found.to_string() }),
        }
    }

    /// The result of the expression: one row a document, or one for all if it has no column.
    fn column(&self, frame: &DataFrame) -> Result<Column, Error> {
        let selected = frame.clone().lazy().without_optimizations().select([self.expr.clone().alias("kept")]).collect();
        let selected = selected.map_err(|error| self.failed(error.to_string()))?;
        selected.columns().first().cloned().ok_or_else(|| self.failed("no result".to_owned()))
    }

    fn evaluate(&self, frame: &DataFrame, documents: usize) -> Result<Vec<Option<bool>>, Error> {
        let column = self.column(frame)?;
        let truths = column.bool().map_err(|error| self.failed(error.to_string()))?;
        match truths.len() {
            found if found == documents => Ok(truths.iter().collect()),
            1 => Ok(vec![truths.get(0); documents]),
            found => Err(self.failed(format!("expected {documents} results, found {found}"))),
        }
    }

    /// The first column of the conjunct that is null; where none is (a CAST failed), its first column.
    fn null_column(&self, document: &Judged<'_>, text_column: &str) -> Option<&(String, u16)> {
        let null = self.columns.iter().find(|(name, _)| document.value(name, text_column).is_none());
        null.or(self.columns.first())
    }
}

fn sample(columns: &[(String, WantedType)]) -> PolarsResult<DataFrame> {
    use polars::prelude::{NamedFrom, Series};
    let column = |(name, wanted): &(String, WantedType)| {
        let name = name.as_str().into();
        let series = match wanted {
            WantedType::Number => Series::new(name, [None, Some(1.5)]),
            WantedType::Integer => Series::new(name, [None, Some(1_i64)]),
            WantedType::Text | WantedType::Any => Series::new(name, [None, Some("x")]),
            WantedType::Bool | WantedType::Presence => Series::new(name, [None, Some(true)]),
        };
        Column::from(series)
    };
    DataFrame::new(2, columns.iter().map(column).collect())
}

/// One document with what was found of it.
struct Judged<'a> {
    records: &'a Records,
    index: usize,
    n_chars: u64,
    truths: &'a [Vec<Option<bool>>],
}

impl Judged<'_> {
    fn truth(&self, conjunct: usize) -> Option<bool> {
        self.truths.get(conjunct)?.get(self.index).copied().flatten()
    }

    fn document(&self) -> Option<&Document> {
        self.records.documents.get(self.index)
    }

    fn position_line(&self) -> u64 {
        self.document().map_or(0, |document| document.position.line)
    }

    /// The value of a column as it stands in the input; None if it is null or absent.
    fn value(&self, column: &str, text_column: &str) -> Option<String> {
        let document = self.document()?;
        if column == TEXT || column == text_column {
            return Some(shorten(self.records.str(document.text)));
        }
        if column == N_CHARS {
            return Some(self.n_chars.to_string());
        }
        let fields = self.records.fields_of(document);
        let named = |name: &str| {
            let found = |field: &&crate::record::FieldValue| {
                self.records.names.get(field.name as usize).is_some_and(|known| known == name)
            };
            fields.iter().find(found).filter(|field| field.kind != Kind::Null)
        };
        if let Some(field) = named(column) {
            return Some(shorten(self.records.str(field.value)));
        }
        let nested = column.match_indices('.').find_map(|(dot, _)| {
            let parent = named(column.get(..dot)?).filter(|field| field.kind == Kind::Json)?;
            let object: serde_json::Value = serde_json::from_str(self.records.str(parent.value)).ok()?;
            let value = column.get(dot + 1..)?.split('.').try_fold(&object, |value, key| value.get(key))?;
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (!value.is_null()).then_some(text)
        });
        nested.map(|value| shorten(&value))
    }

    /// `perplexity=1833.2, lang=null`.
    fn values(&self, conjunct: &Conjunct, text_column: &str) -> String {
        let shown = conjunct
            .columns
            .iter()
            .map(|(name, _)| format!("{name}={}", self.value(name, text_column).unwrap_or_else(|| "null".to_owned())));
        shown.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

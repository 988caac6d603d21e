//! From the fields of a block to the typed columns a filter wants, in one pass over the fields.

use std::borrow::Cow;

use polars::prelude::{Column, DataFrame, NamedFrom, PolarsResult, Series};
use schemas::columns::Kind;
use serde_json::Value;

use super::WantedType;
use crate::record::{Document, FieldValue, Records};

/// Column of the document's text.
pub(super) const TEXT: &str = "text";
/// Column of the number of code points of the text.
pub(super) const N_CHARS: &str = "n_chars";

/// The columns of one block.
pub(super) struct BlockColumns<'a> {
    wanted: &'a [(String, WantedType)],
    cells: Vec<Cells<'a>>,
    /// For each document, why a value of it has a wrong type.
    pub wrong: Vec<Option<String>>,
}

/// The cells of one column, one a document.
enum Cells<'a> {
    Number(Vec<Option<f64>>),
    Integer(Vec<Option<i64>>),
    Text(Vec<Option<Cow<'a, str>>>),
    Any(Vec<Option<Cow<'a, str>>>),
    Bool(Vec<Option<bool>>),
    Presence(Vec<Option<bool>>),
}

impl<'a> Cells<'a> {
    fn new(wanted: WantedType, documents: usize) -> Cells<'a> {
        match wanted {
            WantedType::Number => Cells::Number(vec![None; documents]),
            WantedType::Integer => Cells::Integer(vec![None; documents]),
            WantedType::Text => Cells::Text(vec![None; documents]),
            WantedType::Any => Cells::Any(vec![None; documents]),
            WantedType::Bool => Cells::Bool(vec![None; documents]),
            WantedType::Presence => Cells::Presence(vec![None; documents]),
        }
    }

    /// Stores a value; gives it back if its kind is not the column's.
    fn set(&mut self, document: usize, kind: Kind, value: Cow<'a, str>) -> Result<(), Cow<'a, str>> {
        let is_number = matches!(kind, Kind::Int | Kind::WideInt | Kind::BigInt | Kind::Float);
        let fits = match self {
            _ if kind == Kind::Null => true,
            Cells::Number(cells) if is_number => put(cells, document, value.parse().ok()),
            Cells::Integer(cells) if is_number => put(cells, document, value.parse().ok()),
            Cells::Any(cells) => {
                put(cells, document, Some(value));
                return Ok(());
            }
            Cells::Text(cells) if kind == Kind::String => {
                put(cells, document, Some(value));
                return Ok(());
            }
            Cells::Bool(cells) if kind == Kind::Bool => put(cells, document, Some(&*value == "true")),
            Cells::Presence(cells) => put(cells, document, Some(true)),
            _ => false,
        };
        if fits { Ok(()) } else { Err(value) }
    }

    fn is_set(&self, document: usize) -> bool {
        match self {
            Cells::Number(cells) => cells.get(document).is_some_and(Option::is_some),
            Cells::Integer(cells) => cells.get(document).is_some_and(Option::is_some),
            Cells::Text(cells) | Cells::Any(cells) => cells.get(document).is_some_and(Option::is_some),
            Cells::Bool(cells) | Cells::Presence(cells) => cells.get(document).is_some_and(Option::is_some),
        }
    }

    fn series(self, name: &str) -> Series {
        match self {
            Cells::Number(cells) => Series::new(name.into(), cells),
            Cells::Integer(cells) => Series::new(name.into(), cells),
            Cells::Text(cells) | Cells::Any(cells) => Series::new(name.into(), cells),
            Cells::Bool(cells) | Cells::Presence(cells) => Series::new(name.into(), cells),
        }
    }
}

fn put<T>(cells: &mut [Option<T>], document: usize, value: Option<T>) -> bool {
    let fits = value.is_some();
    if let Some(cell) = cells.get_mut(document) {
        *cell = value;
    }
    fits
}

impl<'a> BlockColumns<'a> {
    /// Reads the wanted columns of a block. `n_chars` is called only if that column is wanted.
    pub fn read(
        records: &'a Records,
        wanted: &'a [(String, WantedType)],
        text_column: &str,
        n_chars: impl Fn(usize) -> u64,
    ) -> BlockColumns<'a> {
        let documents = records.documents.len();
        let cells = wanted.iter().map(|(_, wanted)| Cells::new(*wanted, documents)).collect();
        let mut block = BlockColumns { wanted, cells, wrong: vec![None; documents] };
        let sources = Sources::resolve(records, wanted, text_column);
        for (index, document) in records.documents.iter().enumerate() {
            for field in records.fields_of(document) {
                block.field(index, *field, records, &sources);
            }
            block.special(index, document, records, &sources, &n_chars);
        }
        block
    }

    fn field(&mut self, index: usize, field: FieldValue, records: &'a Records, sources: &Sources) {
        if let Some(Some(column)) = sources.column_of.get(field.name as usize) {
            self.set(*column, index, field.kind, Cow::Borrowed(records.str(field.value)));
        }
        if field.kind == Kind::Json && !sources.nested.is_empty() {
            self.nested(index, field, records.str(field.value), sources);
        }
    }

    /// `meta.lang` is also the key `lang` of an object in column `meta`, where there is no column of the full name.
    fn nested(&mut self, index: usize, field: FieldValue, text: &str, sources: &Sources) {
        let mut paths = sources.nested.iter().filter(|nested| nested.name == field.name).peekable();
        if paths.peek().is_none() {
            return;
        }
        let Ok(object) = serde_json::from_str::<Value>(text) else { return };
        for nested in paths
            .filter(|nested| !self.cells.get(nested.column).is_some_and(|cells| cells.is_set(index)))
            .collect::<Vec<_>>()
        {
            if let Some(value) = nested.path.split('.').try_fold(&object, |value, key| value.get(key)) {
                let (kind, lexeme) = kind_and_lexeme(value);
                self.set(nested.column, index, kind, Cow::Owned(lexeme));
            }
        }
    }

    fn special(
        &mut self,
        index: usize,
        document: &Document,
        records: &'a Records,
        sources: &Sources,
        n_chars: &impl Fn(usize) -> u64,
    ) {
        if let Some(column) = sources.text {
            self.set(column, index, Kind::String, Cow::Borrowed(records.str(document.text)));
        }
        if let Some(column) = sources.n_chars {
            self.set(column, index, Kind::Int, Cow::Owned(n_chars(index).to_string()));
        }
    }

    fn set(&mut self, column: usize, index: usize, kind: Kind, value: Cow<'a, str>) {
        let refused = self.cells.get_mut(column).and_then(|cells| cells.set(index, kind, value).err());
        if let (Some(value), Some((name, wanted)), Some(wrong)) =
            (refused, self.wanted.get(column), self.wrong.get_mut(index))
        {
            let found = describe(kind, &value);
            wrong.get_or_insert_with(|| format!("column {name}: expected a {wanted}, found {found}"));
        }
    }

    /// The columns as a frame.
    ///
    /// # Errors
    /// None that a block can cause: the lengths are equal by construction.
    pub fn frame(self, documents: usize) -> PolarsResult<DataFrame> {
        let series = self.wanted.iter().zip(self.cells).map(|((name, _), cells)| Column::from(cells.series(name)));
        DataFrame::new(documents, series.collect())
    }
}

/// Where the wanted columns of one block come from.
struct Sources {
    /// For each name of the block, the wanted column it is.
    column_of: Vec<Option<usize>>,
    /// Wanted columns that may stand in an object of another.
    nested: Vec<Nested>,
    text: Option<usize>,
    n_chars: Option<usize>,
}

/// A wanted column `NAME.PATH` of a block that has a column NAME.
struct Nested {
    column: usize,
    name: u32,
    path: String,
}

impl Sources {
    fn resolve(records: &Records, wanted: &[(String, WantedType)], text_column: &str) -> Sources {
        let position = |name: &str| wanted.iter().position(|(column, _)| column == name);
        let column_of =
            |name: &String| position(name).filter(|_| name != text_column && name != N_CHARS && name != TEXT);
        let mut nested = Vec::new();
        for (column, (full, _)) in wanted.iter().enumerate() {
            for (dot, _) in full.match_indices('.') {
                let (parent, path) = (full.get(..dot), full.get(dot + 1..).unwrap_or_default());
                let name = records.names.iter().position(|name| Some(name.as_str()) == parent);
                nested.extend(name.map(|name| Nested { column, name: name as u32, path: path.to_owned() }));
            }
        }
        let text = position(TEXT).or_else(|| position(text_column));
        Sources { column_of: records.names.iter().map(column_of).collect(), nested, text, n_chars: position(N_CHARS) }
    }
}

fn kind_and_lexeme(value: &Value) -> (Kind, String) {
    match value {
        Value::Null => (Kind::Null, String::new()),
        Value::Bool(value) => (Kind::Bool, value.to_string()),
        Value::Number(value) if value.is_f64() => (Kind::Float, value.to_string()),
        Value::Number(value) => (Kind::WideInt, value.to_string()),
        Value::String(value) => (Kind::String, value.clone()),
        other => (Kind::Json, other.to_string()),
    }
}

/// Most characters of a value that a message or a reject shows.
const SHOWN_CHARS_MAX: usize = 80;

/// A value, cut to what a reader needs.
pub(super) fn shorten(value: &str) -> String {
    match value.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}\u{2026}", value.get(..end).unwrap_or_default()),
        None => value.to_owned(),
    }
}

fn describe(kind: Kind, value: &str) -> String {
    let value = shorten(value);
    match kind {
        Kind::Null => "null".to_owned(),
        Kind::Bool => format!("boolean {value}"),
        Kind::Int | Kind::WideInt | Kind::BigInt | Kind::Float => format!("number {value}"),
        Kind::String => format!("string {value:?}"),
        Kind::Json if value.starts_with('[') => format!("array {value}"),
        Kind::Json => format!("object {value}"),
    }
}

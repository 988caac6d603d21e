//! What another condition would keep: of the documents of a dataset, and of those that its filter rejected.
//!
//! Documents rejected for other reasons stay so. What the old filter rejected was not looked at for duplicates and not
//! tokenized: it may hold duplicates, and its tokens are estimated from its characters.

use polars::prelude::{DataFrame, IntoLazy, PolarsResult, col, lit};
use schemas::measure::QualityColumn;
use serde::Serialize;
use shards::dataset::Dataset;

use super::Error;
use super::frame::Table;
use crate::filter::{condition, names_in};
use crate::report::figures::Figures;

const N_TOKENS: &str = "n_tokens";
const N_CHARS: &str = "n_chars";
const STAGE: &str = "stage";

/// Points of a sweep.
const POINTS: usize = 20;

/// Documents and tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Documents.
    pub documents: u64,
    /// Their tokens.
    pub tokens: u64,
}

/// What a condition would keep.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WhatIf {
    /// Documents of the dataset.
    pub now: Amount,
    /// Those of them that would be kept.
    pub kept: Amount,
    /// Those that the filter rejected and that would be kept; tokens estimated.
    pub back: Amount,
    /// How many the filter rejected.
    pub rejected: u64,
    /// Tokens a character by which tokens are estimated; None where nothing is known.
    pub tokens_per_char: Option<f64>,
    /// The sweep, where one was asked for.
    pub sweep: Vec<Point>,
}

/// A value of the column that is swept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// The value.
    pub value: f64,
    /// What would be kept of values up to it.
    pub up_to: Amount,
    /// What would be kept of values above it.
    pub above: Amount,
}

/// Asks what `where_sql` would keep, and how that divides over the values of column `sweep`.
///
/// # Errors
/// A condition that is none, columns that the dataset lacks.
pub fn ask(dataset: &Dataset, where_sql: Option<&str>, sweep: Option<&str>) -> Result<WhatIf, Error> {
    let documents = Table::open(dataset, "data")?;
    if documents.is_empty() {
        let hint = "make the dataset again without --no-parquet";
        let purpose = "what-if";
        return Err(crate::look::Error::NoData { folder: dataset.dir().to_owned(), purpose, hint }.into());
    }
    let rejects = Table::open(dataset, "rejects")?;
    let mut wanted = where_sql.map(names_in).unwrap_or_default();
    wanted.extend(sweep.map(str::to_owned));
    if let Some(column) =
        sweep.filter(|column| !documents.columns.iter().any(|known| known == column) && *column != N_CHARS)
    {
        return Err(Error::NoColumn { column: column.to_owned(), known: documents.columns.join(", ") });
    }
    let is_known = |name: &String| documents.columns.contains(name) || name == N_CHARS;
    if let Some(absent) = wanted.iter().find(|name| QualityColumn::named(name).is_ok() && !is_known(name)) {
        return Err(Error::NoColumn { column: absent.clone(), known: documents.columns.join(", ") });
    }
    let tokens_per_char = tokens_per_char(dataset);
    let with =
        |names: &[&str]| wanted.iter().cloned().chain(names.iter().map(|name| (*name).to_owned())).collect::<Vec<_>>();
    let all = documents.read(&with(&[N_TOKENS]))?;
    let kept = chosen(all.clone(), where_sql)?;
    let rejected = match rejects.is_empty() {
        true => None,
        false => Some(of_filter(rejects.read(&with(&[N_CHARS, STAGE]))?)?),
    };
    let back = rejected.clone().map(|frame| chosen(frame, where_sql)).transpose()?;
    let mut rows = Rows::default();
    rows.push(&kept, sweep, N_TOKENS, 1.0)?;
    let kept = rows.amount();
    if let Some(back) = &back {
        rows.push(back, sweep, N_CHARS, tokens_per_char.unwrap_or_default())?;
    }
    let mut now = Rows::default();
    now.push(&all, None, N_TOKENS, 1.0)?;
    let whole = rows.amount();
    Ok(WhatIf {
        now: now.amount(),
        kept,
        back: Amount { documents: whole.documents - kept.documents, tokens: whole.tokens - kept.tokens },
        rejected: rejected.map_or(0, |frame| frame.height() as u64),
        tokens_per_char,
        sweep: if sweep.is_some() { rows.points() } else { Vec::new() },
    })
}

/// Rows for which the condition is true.
fn chosen(frame: DataFrame, where_sql: Option<&str>) -> Result<DataFrame, Error> {
    let Some(sql) = where_sql else { return Ok(frame) };
    let names: Vec<String> = frame.get_column_names().iter().map(|name| name.to_string()).collect();
    let expression = condition(sql)?;
    frame.lazy().filter(expression).collect().map_err(|error| Error::Query {
        query: sql.to_owned(),
        detail: error.to_string().lines().next().unwrap_or_default().to_owned(),
        hint: format!("\nhint: of the columns it names there are {}", names.join(", ")),
    })
}

fn of_filter(frame: DataFrame) -> Result<DataFrame, Error> {
    let filtered: PolarsResult<DataFrame> = frame.lazy().filter(col(STAGE).eq(lit("filter"))).collect();
    filtered.map_err(|error| Error::Query {
        query: "rejects".to_owned(),
        detail: error.to_string(),
        hint: String::new(),
    })
}

/// From the report: tokens of all documents by their characters.
fn tokens_per_char(dataset: &Dataset) -> Option<f64> {
    let text = std::fs::read_to_string(dataset.dir().join("report.json")).ok()?;
    let figures: Figures = serde_json::from_str(&text).ok()?;
    let chars = figures.numbers.iter().find(|column| column.name == N_CHARS)?;
    let chars = chars.kept.mean? * chars.kept.count as f64;
    let tokens = figures.splits.train.tokens + figures.splits.val.tokens;
    (chars > 0.0).then(|| tokens as f64 / chars)
}

/// Values of the swept column with tokens.
#[derive(Default)]
struct Rows(Vec<(Option<f64>, f64)>);

impl Rows {
    fn push(&mut self, frame: &DataFrame, sweep: Option<&str>, size: &str, tokens_per: f64) -> Result<(), Error> {
        let sizes = floats(frame, size)?;
        let values = sweep.map(|column| floats(frame, column)).transpose()?;
        for (index, size) in sizes.into_iter().enumerate() {
            let value = values.as_ref().and_then(|values| values.get(index).copied().flatten());
            self.0.push((value, size.unwrap_or_default() * tokens_per));
        }
        Ok(())
    }

    fn amount(&self) -> Amount {
        amount(self.0.iter())
    }

    /// Points at equal shares of the documents.
    fn points(mut self) -> Vec<Point> {
        self.0.retain(|(value, _)| value.is_some());
        self.0.sort_by(|(left, _), (right, _)| left.unwrap_or_default().total_cmp(&right.unwrap_or_default()));
        let rows = self.0;
        let mut points: Vec<Point> = Vec::new();
        for number in 1..=POINTS {
            let Some((Some(value), _)) = rows.get((rows.len() * number / POINTS).saturating_sub(1)) else { continue };
            if points.last().is_some_and(|last| last.value == *value) {
                continue;
            }
            let cut = rows.partition_point(|(other, _)| other.is_some_and(|other| other <= *value));
            let (up_to, above) = rows.split_at(cut);
            points.push(Point { value: *value, up_to: amount(up_to.iter()), above: amount(above.iter()) });
        }
        points
    }
}

fn amount<'a>(rows: impl Iterator<Item = &'a (Option<f64>, f64)>) -> Amount {
    let (mut documents, mut tokens) = (0, 0.0);
    for (_, size) in rows {
        documents += 1;
        tokens += size;
    }
    Amount { documents, tokens: tokens.round() as u64 }
}

fn floats(frame: &DataFrame, column: &str) -> Result<Vec<Option<f64>>, Error> {
    let missing = || Error::NoColumn {
        column: column.to_owned(),
        known: frame.get_column_names().iter().map(|name| name.to_string()).collect::<Vec<_>>().join(", "),
    };
    let found = frame.column(column).map_err(|_| missing())?;
    let floats = found.cast(&polars::prelude::DataType::Float64).map_err(|_| missing())?;
    Ok(floats.f64().map_err(|_| missing())?.iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::testing::{Doc, dataset};

    #[test]
    fn documents_and_what_the_filter_rejected_are_asked() {
        let made = dataset(&[
            Doc::new("a", "one"),
            Doc::new("b", "three"),
            Doc::new("c", "xx").dropped("filter", "n > 1", "n=0"),
            Doc::new("d", "yy").dropped("dedup", "exact", ""),
        ]);
        let found = ask(&made.open(), Some("line >= 2"), None).unwrap();
        assert_eq!((found.now.documents, found.kept.documents), (2, 1));
        assert_eq!(found.kept.tokens, 7);
        assert_eq!((found.back.documents, found.rejected), (1, 1));
    }

    #[test]
    fn a_sweep_divides_what_is_kept() {
        let made = dataset(&[Doc::new("a", "one"), Doc::new("b", "three"), Doc::new("c", "fourteen")]);
        let found = ask(&made.open(), None, Some("n_tokens")).unwrap();
        let points: Vec<_> =
            found.sweep.iter().map(|point| (point.value, point.up_to.documents, point.above.documents)).collect();
        assert_eq!(points, [(5.0, 1, 2), (7.0, 2, 1), (10.0, 3, 0)]);
    }

    #[test]
    fn a_column_that_is_not_there_is_told() {
        let made = dataset(&[Doc::new("a", "one")]);
        assert!(matches!(ask(&made.open(), None, Some("colour")), Err(Error::NoColumn { .. })));
        assert!(ask(&made.open(), Some("colour > 1"), None).is_err());
    }
}

//! SQL over the tables of a dataset, by Polars: `documents` (data/), `rejects`, `duplicates`.

use polars::prelude::{AnyValue, DataFrame, IntoLazy};
use polars::sql::SQLContext;
use serde::Serialize;
use serde_json::{Number, Value};
use shards::dataset::Dataset;

use super::Error;
use super::frame::Table;
use crate::filter::{names_in, selects_all};

/// Tables by the names they have in SQL and as folders.
const TABLES: [(&str, &str); 3] = [("documents", "data"), ("rejects", "rejects"), ("duplicates", "duplicates")];

/// Rows of an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Values, by row.
    pub rows: Vec<Vec<Value>>,
}

/// Answers a query. Tables that it does not name are not read; of those it does, the columns whose names occur in it,
/// or with `SELECT *` all but token ids.
///
/// # Errors
/// What Polars refuses, with the columns there are; what cannot be read.
pub fn ask(dataset: &Dataset, query: &str) -> Result<Answer, Error> {
    let names = names_in(query);
    let mut context = SQLContext::new();
    let mut known = Vec::new();
    for (name, folder) in TABLES {
        if !names.iter().any(|named| named == name) {
            continue;
        }
        let table = Table::open(dataset, folder)?;
        if table.is_empty() {
            known.push(format!("{name} is empty"));
            continue;
        }
        let wanted = if selects_all(query) { &table.columns } else { &names };
        context.register(name, table.read(wanted)?.lazy());
        known.push(format!("{name} has {}", table.columns.join(", ")));
    }
    if known.is_empty() {
        known.push(format!("the tables are {}", TABLES.map(|(name, _)| name).join(", ")));
    }
    let frame = context.execute(query).and_then(|lazy| lazy.collect());
    let failed = |error: polars::prelude::PolarsError| Error::Query {
        query: query.to_owned(),
        detail: first_line(&error.to_string()),
        hint: format!("\nhint: {}", known.join("; ")),
    };
    answer(&frame.map_err(failed)?)
}

/// Polars adds the plan of the query to its messages.
fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

fn answer(frame: &DataFrame) -> Result<Answer, Error> {
    let columns = frame.get_column_names().iter().map(|name| name.to_string()).collect();
    let row = |index: usize| frame.columns().iter().map(|column| column.get(index).map_or(Value::Null, json)).collect();
    Ok(Answer { columns, rows: (0..frame.height()).map(row).collect() })
}

/// A value as JSON; one without a JSON form as text.
fn json(value: AnyValue<'_>) -> Value {
    match value {
        AnyValue::Null => Value::Null,
        AnyValue::Boolean(value) => Value::Bool(value),
        AnyValue::String(value) => Value::from(value),
        AnyValue::StringOwned(value) => Value::from(value.as_str()),
        AnyValue::Float64(value) => Number::from_f64(value).map_or(Value::Null, Value::Number),
        AnyValue::Float32(value) => Number::from_f64(f64::from(value)).map_or(Value::Null, Value::Number),
        other => match other.extract::<i64>() {
            Some(value) if other.is_integer() => Value::from(value),
            _ => Value::from(other.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::testing::{Doc, dataset};

    #[test]
    fn documents_and_rejects_answer() {
        let made = dataset(&[
            Doc::new("a", "one"),
            Doc::new("b", "three"),
            Doc::new("c", "x").dropped("filter", "n > 1", "n=0"),
        ]);
        let dataset = made.open();
        let found = ask(&dataset, "SELECT count(*) AS n, sum(n_tokens) AS tokens FROM documents").unwrap();
        assert_eq!(found.columns, ["n", "tokens"]);
        assert_eq!(found.rows, [[Value::from(2), Value::from(12)]]);
        let found = ask(&dataset, "SELECT rule, count(*) AS n FROM rejects GROUP BY rule").unwrap();
        assert_eq!(found.rows, [[Value::from("n > 1"), Value::from(1)]]);
    }

    #[test]
    fn an_unknown_column_is_told_with_those_there_are() {
        let made = dataset(&[Doc::new("a", "one")]);
        let message = ask(&made.open(), "SELECT colour FROM documents").unwrap_err().to_string();
        assert!(message.contains("colour") && message.contains("n_tokens"), "{message}");
    }
}

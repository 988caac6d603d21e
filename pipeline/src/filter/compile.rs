//! From the text of a conjunct to a Polars expression that looks at one document and nothing else.

use std::sync::Arc;

use polars::chunked_array::cast::CastOptions;
use polars::prelude::{AggExpr, DataType, Expr};

use super::Error;
use super::conjunct::{Token, quote_dotted, tokens};
use super::types::children;

const OTHER_DOCUMENTS: &str = "a filter sees one document at a time, so that blocks and threads leave no trace";
const RANDOM: &str = "the same input must give the same dataset";
const MACHINE: &str = "its last digit is not the same on every machine";
const UNKNOWN: &str = "only functions of one document are known to be safe";

/// Functions of one document, by the names Polars prints.
const ALLOWED: [&str; 41] = [
    "abs",
    "all_horizontal",
    "any_horizontal",
    "ceil",
    "coalesce",
    "fill_null",
    "floor",
    "is_between",
    "is_finite",
    "is_in",
    "is_infinite",
    "is_nan",
    "is_not_nan",
    "is_not_null",
    "is_null",
    "max_horizontal",
    "min_horizontal",
    "negate",
    "not",
    "round",
    "sign",
    "sqrt",
    "truncate",
    "str.concat_horizontal",
    "str.contains",
    "str.count_matches",
    "str.ends_with",
    "str.find",
    "str.head",
    "str.len_bytes",
    "str.len_chars",
    "str.replace",
    "str.slice",
    "str.starts_with",
    "str.strip_chars",
    "str.strip_chars_end",
    "str.strip_chars_start",
    "str.strip_prefix",
    "str.strip_suffix",
    "str.to_lowercase",
    "str.to_uppercase",
];

/// Functions of the C library, which differs between machines.
const UNPORTABLE: [&str; 9] = ["cbrt", "cos", "exp", "log", "log1p", "pow", "sin", "tan", "arctan2"];

/// SQL functions whose value is not a function of the document.
const NOT_PURE: [&str; 14] = [
    "RANDOM",
    "RAND",
    "UUID",
    "GEN_RANDOM_UUID",
    "NOW",
    "CURRENT_TIMESTAMP",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "TODAY",
    "SHUFFLE",
    "SAMPLE",
    "NEWID",
];

/// Compiles one conjunct.
pub fn compile(conjunct: &str) -> Result<Expr, Error> {
    let refuse = |what: &str, reason| Error::Refused { conjunct: conjunct.to_owned(), what: what.to_owned(), reason };
    for (_, token) in tokens(conjunct) {
        match token {
            Token::Word(word)
                if NOT_PURE.contains(&word.to_ascii_uppercase().as_str()) && is_called(conjunct, word) =>
            {
                return Err(refuse(word, RANDOM));
            }
            Token::Word(word) if word.eq_ignore_ascii_case("SELECT") => {
                return Err(refuse("a subquery", OTHER_DOCUMENTS));
            }
            Token::Word(word) if word.eq_ignore_ascii_case("OVER") => return Err(refuse("a window", OTHER_DOCUMENTS)),
            _ => {}
        }
    }
    let syntax = |detail: String| Error::Syntax { sql: conjunct.to_owned(), detail };
    let expr = polars::sql::sql_expr(quote_dotted(conjunct)).map_err(|error| syntax(error.to_string()))?;
    if has_aggregate(&expr) {
        return Err(refuse("an aggregate", OTHER_DOCUMENTS));
    }
    check(&expr).map_err(|(what, reason)| refuse(&what, reason))?;
    Ok(expr.map_expr(lenient))
}

/// A word that stands for a function: before a parenthesis, or one that SQL calls without.
fn is_called(conjunct: &str, word: &str) -> bool {
    let after = conjunct.split(word).skip(1);
    let upper = word.to_ascii_uppercase();
    let bare = upper.starts_with("CURRENT_") || upper.starts_with("LOCALTIME");
    after.map(str::trim_start).any(|rest| bare || rest.starts_with('('))
}

/// A value that cannot be cast is NULL; a strict cast would fail the block, and so other documents. A cast to an
/// integer goes through float64, for a column that is CAST holds text and `12.7` is no integer's text.
fn lenient(expr: Expr) -> Expr {
    let options = CastOptions::NonStrict;
    match expr {
        Expr::Cast { expr, dtype, .. } => {
            let integer = dtype.as_literal().is_some_and(DataType::is_integer);
            let float = || Expr::Cast { expr: expr.clone(), dtype: DataType::Float64.into(), options };
            let expr = if integer { Arc::new(float()) } else { expr };
            Expr::Cast { expr, dtype, options }
        }
        other => other,
    }
}

/// Whether an expression looks at a whole column. The list of an IN is an aggregate of a literal.
fn has_aggregate(expr: &Expr) -> bool {
    match expr {
        Expr::Agg(AggExpr::Implode { input, .. }) => !matches!(**input, Expr::Literal(_)),
        Expr::Agg(_) | Expr::Len => true,
        other => children(other).into_iter().any(has_aggregate),
    }
}

fn check(expr: &Expr) -> Result<(), (String, &'static str)> {
    match expr {
        Expr::Column(_) | Expr::Literal(_) | Expr::BinaryExpr { .. } | Expr::Cast { .. } | Expr::Ternary { .. } => {}
        Expr::Agg(_) => {}
        Expr::Function { function, .. } => {
            let name = function.to_string();
            if UNPORTABLE.contains(&name.as_str()) {
                return Err((name, MACHINE));
            }
            if !ALLOWED.contains(&name.as_str()) {
                return Err((name, UNKNOWN));
            }
        }
        Expr::Over { .. } => return Err(("a window".to_owned(), OTHER_DOCUMENTS)),
        Expr::SubPlan(..) => return Err(("a subquery".to_owned(), OTHER_DOCUMENTS)),
        Expr::Alias(_, name) => return Err((format!("the alias {name}"), "a condition has no name")),
        other => return Err((format!("{other:?}"), UNKNOWN)),
    }
    children(expr).into_iter().try_for_each(check)
}

/// The columns of an expression, in order of first appearance.
pub(super) fn columns_of(expr: &Expr) -> Vec<String> {
    let mut names = Vec::new();
    collect_columns(expr, &mut names);
    names
}

fn collect_columns(expr: &Expr, names: &mut Vec<String>) {
    if let Expr::Column(name) = expr
        && !names.iter().any(|known| known == name.as_str())
    {
        names.push(name.to_string());
    }
    children(expr).into_iter().for_each(|child| collect_columns(child, names));
}

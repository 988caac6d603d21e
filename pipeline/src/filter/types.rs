//! The type of each column, from how the expression uses it.
//!
//! JSON has no schema, and what a block happens to hold must not decide: a comparison with a number makes the column a
//! number in every block, and a value of another kind costs its line (`column_type`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use polars::prelude::{AggExpr, DataType, Expr, LiteralValue, Operator, UnknownKind};
use schemas::columns::EXACT_INTEGER_MAX;

use super::Error;

/// The type that a filter wants a column to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantedType {
    /// A number, as float64.
    Number,
    /// A number, as int64: it is compared with an integer beyond 2^53 and otherwise only with integers.
    Integer,
    /// A string.
    Text,
    /// A boolean.
    Bool,
    /// Any value, as text: it is CAST.
    Any,
    /// Any value: only whether it is null is asked.
    Presence,
}

impl fmt::Display for WantedType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WantedType::Number => "number",
            WantedType::Integer => "64-bit integer",
            WantedType::Text => "string",
            WantedType::Bool => "boolean",
            WantedType::Any | WantedType::Presence => "value",
        })
    }
}

/// What is known so far of the columns of a filter.
#[derive(Debug, Default)]
pub(super) struct Types {
    columns: BTreeMap<String, WantedType>,
    /// Columns compared with an integer that float64 does not hold.
    wide: BTreeSet<String>,
    /// Columns used as numbers in another way than in a comparison with an integer.
    calculated: BTreeSet<String>,
}

impl Types {
    /// Learns from one conjunct. `last`: columns about which nothing is known become numbers where two are compared.
    pub fn learn(&mut self, conjunct: &str, expr: &Expr, last: bool) -> Result<(), Error> {
        Learner { types: self, conjunct, last }.condition(expr)
    }

    /// Whether the types of more columns are known than before.
    pub fn known(&self) -> usize {
        self.columns.len()
    }

    /// Sets the type of a column that is always there.
    pub fn declare(&mut self, column: &str, wanted: WantedType) {
        self.columns.insert(column.to_owned(), wanted);
    }

    /// The type of a column.
    pub fn of(&self, column: &str) -> WantedType {
        match self.columns.get(column) {
            Some(WantedType::Number) if self.wide.contains(column) && !self.calculated.contains(column) => {
                WantedType::Integer
            }
            Some(wanted) => *wanted,
            None => WantedType::Presence,
        }
    }
}

/// One walk over one conjunct.
struct Learner<'a> {
    types: &'a mut Types,
    conjunct: &'a str,
    last: bool,
}

/// What a function takes and gives.
enum Signature {
    /// Arguments of given types (the last one repeats), and a result.
    Fixed(&'static [WantedType], WantedType),
    /// Arguments of one type, and a result: None for the same type.
    Alike(Option<WantedType>),
    /// Any argument.
    Any(WantedType),
}

fn signature(function: &str) -> Signature {
    use WantedType::{Bool, Number, Text};
    match function {
        "is_null" | "is_not_null" => Signature::Any(Bool),
        "not" | "all_horizontal" | "any_horizontal" => Signature::Fixed(&[Bool], Bool),
        "is_in" | "is_between" => Signature::Alike(Some(Bool)),
        "is_finite" | "is_infinite" | "is_nan" | "is_not_nan" => Signature::Fixed(&[Number], Bool),
        "str.contains" | "str.starts_with" | "str.ends_with" => Signature::Fixed(&[Text], Bool),
        "str.len_chars" | "str.len_bytes" | "str.find" | "str.count_matches" => Signature::Fixed(&[Text], Number),
        "str.slice" | "str.head" | "str.tail" => Signature::Fixed(&[Text, Number], Text),
        name if name.starts_with("str.") => Signature::Fixed(&[Text], Text),
        "abs" | "negate" | "round" | "floor" | "ceil" | "sign" | "sqrt" | "truncate" => {
            Signature::Fixed(&[Number], Number)
        }
        _ => Signature::Alike(None),
    }
}

impl Learner<'_> {
    /// A conjunct is a condition.
    fn condition(mut self, expr: &Expr) -> Result<(), Error> {
        self.visit(expr)?;
        if matches!(expr, Expr::Column(_)) { self.demand(expr, WantedType::Bool) } else { Ok(()) }
    }

    fn visit(&mut self, expr: &Expr) -> Result<(), Error> {
        match expr {
            Expr::BinaryExpr { left, op, right } => self.binary(left, *op, right)?,
            Expr::Ternary { predicate, truthy, falsy } => {
                self.demand(predicate, WantedType::Bool)?;
                self.unify(&[truthy, falsy], false)?;
            }
            Expr::Cast { expr: operand, .. } => self.cast(operand, cast_type(expr))?,
            Expr::Function { input, function } => self.function(input, &function.to_string())?,
            _ => {}
        }
        children(expr).into_iter().try_for_each(|child| self.visit(child))
    }

    /// CAST takes any value, but for the cast to boolean that NOT brings.
    fn cast(&mut self, operand: &Expr, target: Option<DataType>) -> Result<(), Error> {
        match operand {
            Expr::Column(_) if target == Some(DataType::Boolean) => self.demand(operand, WantedType::Bool),
            Expr::Column(name) if self.last && self.kind(operand).is_none() => self.assign(name, WantedType::Any),
            _ => Ok(()),
        }
    }

    fn binary(&mut self, left: &Expr, op: Operator, right: &Expr) -> Result<(), Error> {
        match op {
            Operator::And | Operator::Or | Operator::Xor | Operator::LogicalAnd | Operator::LogicalOr => {
                self.demand(left, WantedType::Bool)?;
                self.demand(right, WantedType::Bool)
            }
            Operator::Plus if [left, right].iter().any(|side| self.kind(side) == Some(WantedType::Text)) => {
                self.demand(left, WantedType::Text)?;
                self.demand(right, WantedType::Text)
            }
            op if is_comparison(op) => match (left, right) {
                (Expr::Column(name), Expr::Literal(value)) | (Expr::Literal(value), Expr::Column(name))
                    if integer_of(value).is_some() =>
                {
                    self.integer_comparison(name, integer_of(value).unwrap_or_default())
                }
                _ => self.unify(&[left, right], true),
            },
            _ => {
                self.demand(left, WantedType::Number)?;
                self.demand(right, WantedType::Number)
            }
        }
    }

    fn integer_comparison(&mut self, column: &str, integer: i128) -> Result<(), Error> {
        if integer.unsigned_abs() > u128::from(EXACT_INTEGER_MAX) {
            self.types.wide.insert(column.to_owned());
        }
        self.assign(column, WantedType::Number)
    }

    fn function(&mut self, input: &[Expr], name: &str) -> Result<(), Error> {
        match signature(name) {
            Signature::Any(_) => Ok(()),
            Signature::Alike(_) => {
                if let ("is_in", [Expr::Column(column), list]) = (name, input)
                    && let Some(integers) = integers_of(list)
                {
                    return integers
                        .into_iter()
                        .try_for_each(|integer| self.integer_comparison(column, integer.into()));
                }
                self.unify(&input.iter().collect::<Vec<_>>(), name == "is_in")
            }
            Signature::Fixed(takes, _) => input.iter().enumerate().try_for_each(|(index, argument)| {
                let wanted = takes.get(index.min(takes.len() - 1)).copied().unwrap_or(WantedType::Presence);
                self.demand(argument, wanted)
            }),
        }
    }

    /// Makes expressions have one type: that of the first whose type is known, columns last, so that a contradiction
    /// is told of the column.
    fn unify(&mut self, exprs: &[&Expr], comparison: bool) -> Result<(), Error> {
        let (columns, others): (Vec<&Expr>, Vec<&Expr>) =
            exprs.iter().partition(|expr| matches!(expr, Expr::Column(_)));
        let known = others.iter().chain(&columns).find_map(|expr| self.kind(expr));
        let guess = (self.last && comparison).then_some(WantedType::Number);
        match known.or(guess) {
            Some(wanted) => exprs.iter().try_for_each(|expr| self.demand(expr, wanted)),
            None => Ok(()),
        }
    }

    fn demand(&mut self, expr: &Expr, wanted: WantedType) -> Result<(), Error> {
        match expr {
            Expr::Column(name) => {
                if wanted == WantedType::Number {
                    self.types.calculated.insert(name.to_string());
                }
                self.assign(name, wanted)
            }
            Expr::Ternary { truthy, falsy, .. } => {
                self.demand(truthy, wanted)?;
                self.demand(falsy, wanted)
            }
            Expr::Function { input, function }
                if matches!(signature(&function.to_string()), Signature::Alike(None)) =>
            {
                input.iter().try_for_each(|argument| self.demand(argument, wanted))
            }
            other => match self.kind(other) {
                Some(found) if found != wanted => Err(Error::TypeMismatch {
                    conjunct: self.conjunct.to_owned(),
                    expected: wanted,
                    found: format!("a {found}"),
                }),
                _ => Ok(()),
            },
        }
    }

    fn assign(&mut self, column: &str, wanted: WantedType) -> Result<(), Error> {
        match self.types.columns.insert(column.to_owned(), wanted) {
            Some(first) if first != wanted => {
                Err(Error::TypeConflict { column: column.to_owned(), first, second: wanted })
            }
            _ => Ok(()),
        }
    }

    /// The type of an expression, where it is known without its columns or they are known.
    fn kind(&self, expr: &Expr) -> Option<WantedType> {
        match expr {
            Expr::Column(name) => self.types.columns.get(name.as_str()).copied(),
            Expr::Literal(value) => kind_of(&value.get_datatype()),
            Expr::Agg(AggExpr::Implode { input, .. }) => self.kind(input),
            Expr::Ternary { truthy, falsy, .. } => self.kind(truthy).or_else(|| self.kind(falsy)),
            Expr::Cast { .. } => kind_of(&cast_type(expr)?),
            Expr::BinaryExpr { left, op, right } => match op {
                Operator::Plus => self.kind(left).or_else(|| self.kind(right)),
                op if is_comparison(*op) => Some(WantedType::Bool),
                Operator::And | Operator::Or | Operator::Xor | Operator::LogicalAnd | Operator::LogicalOr => {
                    Some(WantedType::Bool)
                }
                _ => Some(WantedType::Number),
            },
            Expr::Function { input, function } => match signature(&function.to_string()) {
                Signature::Any(kind) | Signature::Fixed(_, kind) | Signature::Alike(Some(kind)) => Some(kind),
                Signature::Alike(None) => input.iter().find_map(|argument| self.kind(argument)),
            },
            _ => None,
        }
    }
}

fn cast_type(expr: &Expr) -> Option<DataType> {
    match expr {
        Expr::Cast { dtype, .. } => dtype.as_literal().cloned(),
        _ => None,
    }
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, EqValidity, Gt, GtEq, Lt, LtEq, NotEq, NotEqValidity};
    matches!(op, Eq | EqValidity | Gt | GtEq | Lt | LtEq | NotEq | NotEqValidity)
}

fn kind_of(dtype: &DataType) -> Option<WantedType> {
    match dtype {
        DataType::Boolean => Some(WantedType::Bool),
        DataType::String | DataType::Unknown(UnknownKind::Str) => Some(WantedType::Text),
        DataType::Unknown(UnknownKind::Int(_) | UnknownKind::Float) => Some(WantedType::Number),
        DataType::List(inner) => kind_of(inner),
        dtype if dtype.is_primitive_numeric() => Some(WantedType::Number),
        _ => None,
    }
}

fn integer_of(value: &LiteralValue) -> Option<i128> {
    match value.get_datatype() {
        DataType::Unknown(UnknownKind::Int(integer)) => Some(integer),
        dtype if dtype.is_integer() => value.extract_i64().ok().map(i128::from),
        _ => None,
    }
}

/// The integers of an IN list that holds nothing else.
fn integers_of(list: &Expr) -> Option<Vec<i64>> {
    let Expr::Agg(AggExpr::Implode { input, .. }) = list else { return None };
    let Expr::Literal(LiteralValue::Series(series)) = &**input else { return None };
    series.dtype().is_integer().then_some(())?;
    Some(series.i64().ok()?.iter().flatten().collect())
}

/// The parts of an expression, in the order in which they are written.
pub(super) fn children(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::BinaryExpr { left, right, .. } => vec![left, right],
        Expr::Cast { expr, .. } => vec![expr],
        Expr::Ternary { predicate, truthy, falsy } => vec![predicate, truthy, falsy],
        Expr::Function { input, .. } => input.iter().collect(),
        Expr::Agg(AggExpr::Implode { input, .. }) => vec![input],
        _ => Vec::new(),
    }
}

//! The numbers a filter compares columns with, for drawing: `perplexity < 1500`, `0.8 <= lang_score`,
//! `n_chars BETWEEN 50 AND 5000`. Only whole top-level conditions; what is more than a comparison has none.

use schemas::config;
use serde::{Deserialize, Serialize};

use super::conjunct::{Token, split, tokens};
use super::presets;

/// A column compared with a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// The column.
    pub column: String,
    /// `<`, `<=`, `>`, `>=` or `=`, the column standing left.
    pub operator: String,
    /// The number.
    pub value: f64,
}

/// The thresholds of a filter, the preset's first.
pub fn thresholds_of(filter: &config::Filter) -> Vec<Threshold> {
    let of_preset = presets::of_config(filter).into_iter().flat_map(|preset| thresholds(&preset.sql()));
    of_preset.chain(filter.where_sql.iter().flat_map(|sql| thresholds(sql))).collect()
}

/// The thresholds of an expression, in order.
pub fn thresholds(sql: &str) -> Vec<Threshold> {
    split(sql).into_iter().flat_map(of_conjunct).collect()
}

fn of_conjunct(sql: &str) -> Vec<Threshold> {
    let tokens: Vec<Token<'_>> = tokens(sql).into_iter().map(|(_, token)| token).collect();
    let threshold = |column: &str, operator: &str, value: f64| Threshold {
        column: column.trim_matches(['"', '`']).to_owned(),
        operator: operator.to_owned(),
        value,
    };
    if let [Token::Word(column) | Token::Quoted(column), Token::Word(between), rest @ ..] = tokens.as_slice()
        && between.eq_ignore_ascii_case("between")
    {
        let and = rest.iter().position(|token| matches!(token, Token::Word(word) if word.eq_ignore_ascii_case("and")));
        let bounds = and.and_then(|and| Some((number(rest.get(..and)?)?, number(rest.get(and + 1..)?)?)));
        return bounds
            .map_or(Vec::new(), |(low, high)| vec![threshold(column, ">=", low), threshold(column, "<=", high)]);
    }
    let is_operator = |token: &Token<'_>| matches!(token, Token::Symbol('<' | '>' | '='));
    let Some(first) = tokens.iter().position(is_operator) else { return Vec::new() };
    let length = tokens.iter().skip(first).take_while(|token| is_operator(token)).count();
    let operator: String = tokens
        .iter()
        .skip(first)
        .take(length)
        .filter_map(|token| if let Token::Symbol(c) = token { Some(*c) } else { None })
        .collect();
    let (left, right) = (tokens.get(..first).unwrap_or_default(), tokens.get(first + length..).unwrap_or_default());
    match (left, right) {
        ([Token::Word(column) | Token::Quoted(column)], value) if number(value).is_some() => {
            number(value).map(|value| threshold(column, &operator, value)).into_iter().collect()
        }
        (value, [Token::Word(column) | Token::Quoted(column)]) => {
            let turned: String = operator.chars().map(turn).collect();
            number(value).map(|value| threshold(column, &turned, value)).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

fn turn(operator: char) -> char {
    match operator {
        '<' => '>',
        '>' => '<',
        other => other,
    }
}

fn number(tokens: &[Token<'_>]) -> Option<f64> {
    match tokens {
        [Token::Number(number)] => number.parse().ok(),
        [Token::Symbol('-'), Token::Number(number)] => number.parse::<f64>().ok().map(|number| -number),
        [Token::Symbol('.'), Token::Number(number)] => format!("0.{number}").parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_with_numbers_are_thresholds() {
        let found = thresholds(
            "perplexity < 1500 AND 0.8 <= lang_score AND \"n.x\" BETWEEN -1 AND 5 AND a + b > 1 AND lang = 'zh'",
        );
        let shown: Vec<String> = found
            .iter()
            .map(|threshold| format!("{} {} {}", threshold.column, threshold.operator, threshold.value))
            .collect();
        assert_eq!(shown, ["perplexity < 1500", "lang_score >= 0.8", "n.x >= -1", "n.x <= 5"]);
    }
}

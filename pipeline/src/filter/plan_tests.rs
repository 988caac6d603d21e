//! Filters against documents, one refusal a test, and a brute-force evaluator.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::record::{FieldValue, Position};

fn filter(sql: &str) -> Filter {
    Filter::plan(&config::Filter { where_sql: Some(sql.to_owned()), ..config::Filter::default() }).unwrap()
}

fn refusal(sql: &str) -> String {
    let config = config::Filter { where_sql: Some(sql.to_owned()), ..config::Filter::default() };
    Filter::plan(&config).err().map(|error| error.to_string()).unwrap_or_default()
}

/// A block of documents, each an object whose `text` is the text.
fn block(objects: &[Value]) -> Records {
    let mut records = Records::default();
    for (line, object) in objects.iter().enumerate() {
        let text = records.push_bytes(object["text"].as_str().unwrap_or("a text").as_bytes());
        let first_field = records.fields.len() as u32;
        for (name, value) in object.as_object().unwrap().iter().filter(|(name, _)| *name != "text") {
            let known = records.names.iter().position(|known| known == name).unwrap_or_else(|| {
                records.names.push(name.clone());
                records.names.len() - 1
            });
            let (kind, lexeme) = match value {
                Value::Null => (Kind::Null, "null".to_owned()),
                Value::Bool(value) => (Kind::Bool, value.to_string()),
                Value::Number(number) if number.is_f64() => (Kind::Float, number.to_string()),
                Value::Number(number) if number.as_i64().is_some_and(|value| value.abs() <= 1 << 53) => {
                    (Kind::Int, number.to_string())
                }
                Value::Number(number) => (Kind::WideInt, number.to_string()),
                Value::String(text) => (Kind::String, text.clone()),
                other => (Kind::Json, other.to_string()),
            };
            let value = records.push_bytes(lexeme.as_bytes());
            records.fields.push(FieldValue { name: known as u32, kind, value });
        }
        let last_field = records.fields.len() as u32;
        let position = Position { line: line as u64, byte_offset: None };
        records.documents.push(Document {
            position,
            text,
            first_field,
            last_field,
            raw: crate::record::Span::default(),
        });
    }
    records
}

/// `+` for kept, `RULE: VALUE` for dropped, `! DETAIL` for invalid.
fn fates(filter: &Filter, objects: &[Value]) -> Vec<String> {
    let verdicts = filter.apply(&block(objects)).unwrap();
    let fate = |verdict| match verdict {
        Verdict::Keep => "+".to_owned(),
        Verdict::Drop { rule, value } => format!("{}: {value}", filter.rules()[usize::from(rule)]),
        Verdict::Invalid { detail } => format!("! {detail}"),
    };
    verdicts.into_iter().map(fate).collect()
}

#[test]
fn the_rule_is_the_first_failing_conjunct_as_written() {
    let filter = filter("perplexity  < 1500 AND lang = 'zh'");
    let objects = [
        json!({"perplexity": 1833.2, "lang": "en"}),
        json!({"perplexity": 12, "lang": "en"}),
        json!({"perplexity": 12, "lang": "zh"}),
    ];
    assert_eq!(fates(&filter, &objects), ["perplexity  < 1500: perplexity=1833.2", "lang = 'zh': lang=en", "+"]);
}

#[test]
fn a_null_conjunct_drops_by_its_own_rule() {
    let filter = filter("a > 1 AND b + c > 2");
    let objects = [json!({"a": 2}), json!({"a": null, "b": 1, "c": 1}), json!({"a": 2, "b": 5, "c": null})];
    assert_eq!(fates(&filter, &objects), ["null:b: b=null, c=null", "null:a: a=null", "null:c: b=5, c=null"]);
}

#[test]
fn nulls_are_kept_when_asked_but_a_false_conjunct_still_drops() {
    let config = config::Filter {
        where_sql: Some("a > 1 AND b > 1".to_owned()),
        nulls: Nulls::Keep,
        ..config::Filter::default()
    };
    let filter = Filter::plan(&config).unwrap();
    assert_eq!(fates(&filter, &[json!({"b": 2}), json!({"b": 0})]), ["+", "b > 1: b=0"]);
}

#[test]
fn nulls_are_an_error_when_asked_unless_the_whole_is_false() {
    let config = config::Filter {
        where_sql: Some("a > 1 AND b > 1".to_owned()),
        nulls: Nulls::Error,
        ..config::Filter::default()
    };
    let filter = Filter::plan(&config).unwrap();
    assert_eq!(fates(&filter, &[json!({"b": 0})]), ["b > 1: b=0"]);
    let error = filter.apply(&block(&[json!({"a": 2, "b": 2}), json!({"b": 2})])).unwrap_err().to_string();
    assert!(error.contains("place 1") && error.contains("a is null"), "{error}");
}

#[test]
fn max_chars_counts_code_points_and_comes_first() {
    let config = config::Filter {
        where_sql: Some("a > 1".to_owned()),
        nulls: Nulls::Drop,
        max_chars: Some(3),
        ..config::Filter::default()
    };
    let filter = Filter::plan(&config).unwrap();
    let objects = [json!({"text": "\u{4f60}\u{597d}\u{1f600}", "a": 2}), json!({"text": "abcd", "a": 0})];
    assert_eq!(fates(&filter, &objects), ["+", "max_chars: 4"]);
}

#[test]
fn a_value_of_another_kind_makes_the_document_invalid() {
    let filter = filter("perplexity < 10 AND lang = 'en'");
    let objects = [
        json!({"perplexity": "abc", "lang": "en"}),
        json!({"perplexity": 1, "lang": 7}),
        json!({"perplexity": [1], "lang": "en"}),
    ];
    let expected = [
        "! column perplexity: expected a number, found string \"abc\"",
        "! column lang: expected a string, found number 7",
        "! column perplexity: expected a number, found array [1]",
    ];
    assert_eq!(fates(&filter, &objects), expected);
}

#[test]
fn a_column_that_is_only_asked_for_null_takes_any_kind() {
    let filter = filter("a IS NOT NULL");
    assert_eq!(filter.columns(), [("a".to_owned(), WantedType::Presence)]);
    assert_eq!(
        fates(&filter, &[json!({"a": [1]}), json!({"a": "x"}), json!({"a": null}), json!({})]),
        ["+", "+", "a IS NOT NULL: a=null", "a IS NOT NULL: a=null"]
    );
}

#[test]
fn text_and_n_chars_are_always_there() {
    let filter = filter("n_chars >= 3 AND text LIKE '%b%'");
    assert_eq!(
        fates(&filter, &[json!({"text": "abc"}), json!({"text": "ab"}), json!({"text": "xyz"})]),
        ["+", "n_chars >= 3: n_chars=2", "text LIKE '%b%': text=xyz"]
    );
}

#[test]
fn the_text_column_goes_by_its_own_name_too() {
    let config = config::Filter { where_sql: Some("LENGTH(content) > 2".to_owned()), ..config::Filter::default() };
    let filter = Filter::plan_for(&config, "content").unwrap();
    assert_eq!(
        fates(&filter, &[json!({"text": "abc"}), json!({"text": "ab"})]),
        ["+", "LENGTH(content) > 2: content=ab"]
    );
}

#[test]
fn quoted_dotted_and_nested_names_are_columns() {
    let filter = filter("\"a b\" = 1 AND meta.lang = 'en' AND \"x.y\" < 3");
    let good = json!({"a b": 1, "meta": {"lang": "en"}, "x.y": 2});
    let bad = json!({"a b": 1, "meta": {"lang": "fr"}, "x.y": 2});
    let flat = json!({"a b": 1, "meta.lang": "en", "x": {"y": 5}});
    assert_eq!(fates(&filter, &[good, bad, flat]), ["+", "meta.lang = 'en': meta.lang=fr", "\"x.y\" < 3: x.y=5"]);
}

#[test]
fn names_are_case_sensitive() {
    assert_eq!(
        fates(&filter("Lang = 'en'"), &[json!({"lang": "en"}), json!({"Lang": "en"})]),
        ["null:Lang: Lang=null", "+"]
    );
}

#[test]
fn integers_beyond_float64_are_compared_exactly() {
    let filter = filter("id = 9007199254740993");
    assert_eq!(filter.columns(), [("id".to_owned(), WantedType::Integer)]);
    assert_eq!(
        fates(&filter, &[json!({"id": 9_007_199_254_740_993_u64}), json!({"id": 9_007_199_254_740_992_u64})])[0],
        "+"
    );
    assert!(fates(&filter, &[json!({"id": 9_007_199_254_740_992_u64})])[0].starts_with("id = "));
    let list = super::tests::filter("id IN (1, 9007199254740993)");
    assert_eq!(list.columns()[0].1, WantedType::Integer);
    assert!(fates(&list, &[json!({"id": 9_007_199_254_740_992_u64})])[0].starts_with("id IN"));
}

#[test]
fn lists_between_case_and_like_work() {
    for (sql, good, bad) in [
        ("lang IN ('en', 'zh')", json!({"lang": "zh"}), json!({"lang": "fr"})),
        ("score IN (1, 2)", json!({"score": 2.0}), json!({"score": 2.5})),
        ("score BETWEEN 0.5 AND 1 AND score <> 0.7", json!({"score": 1}), json!({"score": 1.01})),
        (
            "CASE WHEN lang = 'zh' THEN n > 1 ELSE n > 5 END",
            json!({"lang": "zh", "n": 2}),
            json!({"lang": "en", "n": 2}),
        ),
        ("url NOT LIKE '%.cn/%'", json!({"url": "a.com/b"}), json!({"url": "a.cn/b"})),
        ("NOT spam", json!({"spam": false}), json!({"spam": true})),
        ("ok", json!({"ok": true}), json!({"ok": false})),
        ("ok IS NOT TRUE", json!({"ok": false}), json!({"ok": true})),
        ("a > b", json!({"a": 2, "b": 1}), json!({"a": 1, "b": 2})),
        ("COALESCE(score, 1.0) > 0.5", json!({}), json!({"score": 0.2})),
        ("CAST(score AS DOUBLE) > 0.5", json!({"score": "0.7"}), json!({"score": 0.2})),
        ("CAST(score AS INT) > 3", json!({"score": "4.7"}), json!({"score": 3.9})),
        ("LOWER(lang) = 'en' OR n > 3", json!({"lang": "EN", "n": 1}), json!({"lang": "x", "n": 1})),
        ("date >= '2023-01-01'", json!({"date": "2024-05-01"}), json!({"date": "2019"})),
        ("true", json!({}), Value::Null),
    ] {
        assert_eq!(fates(&filter(sql), std::slice::from_ref(&good)), ["+"], "{sql}");
        if !bad.is_null() {
            assert_ne!(fates(&filter(sql), std::slice::from_ref(&bad)), ["+"], "{sql}");
        }
    }
}

#[test]
fn a_cast_that_fails_costs_its_document_alone() {
    let filter = filter("CAST(score AS DOUBLE) > 0.5");
    assert_eq!(fates(&filter, &[json!({"score": "x"}), json!({"score": 1})]), ["null:score: score=x", "+"]);
}

#[test]
fn an_unknown_column_is_null_everywhere_and_can_be_warned_of() {
    let filter = filter("nowhere > 1");
    assert_eq!(filter.columns(), [("nowhere".to_owned(), WantedType::Number)]);
    assert_eq!(fates(&filter, &[json!({"a": 1})]), ["null:nowhere: nowhere=null"]);
}

#[test]
fn a_syntax_error_is_refused() {
    assert!(refusal("a > 1 AND").contains("write an expression"));
    assert!(refusal("a >> > 1").contains("a >> > 1"));
    assert!(refusal("a > 1; DROP TABLE x").contains("';'"));
}

#[test]
fn an_aggregate_is_refused() {
    for sql in ["COUNT(*) > 3", "a > AVG(a)", "SUM(a) > 1", "FIRST(a) = 1"] {
        assert!(refusal(sql).contains("one document at a time"), "{sql}: {}", refusal(sql));
    }
}

#[test]
fn a_window_is_refused() {
    assert!(refusal("ROW_NUMBER() OVER (ORDER BY a) < 3").contains("a window is refused"));
}

#[test]
fn a_subquery_is_refused() {
    assert!(refusal("a IN (SELECT b FROM c)").contains("a subquery is refused"));
}

#[test]
fn random_and_clock_functions_are_refused() {
    for sql in ["RANDOM() > 0.5", "now() > 1", "CURRENT_DATE > '2020-01-01'"] {
        assert!(refusal(sql).contains("the same input must give the same dataset"), "{sql}");
    }
}

#[test]
fn functions_that_differ_between_machines_are_refused() {
    assert!(refusal("LN(a) > 1").contains("every machine"));
}

#[test]
fn a_function_that_makes_rows_is_refused() {
    assert!(refusal("UNNEST(a)").contains("refused"));
}

#[test]
fn a_value_is_no_condition() {
    assert!(refusal("a + 1").contains("expected a condition"));
    assert!(refusal("1").contains("expected a condition"));
}

#[test]
fn a_column_of_two_types_is_refused() {
    assert!(refusal("a > 1 AND a = 'x'").contains("column a is used as a number and as a string"));
}

#[test]
fn a_comparison_of_two_types_is_refused() {
    assert!(refusal("LENGTH(a) = 'x'").contains("expected a"));
    assert!(refusal("text > 3").contains("column text is used as a"));
}

#[test]
fn a_broken_regular_expression_is_refused() {
    assert!(!refusal("a ~ '('").is_empty());
}

#[test]
fn an_alias_is_refused() {
    assert!(refusal("a > 1 AS b").contains("alias"));
}

/// One comparison, evaluated without Polars.
#[derive(Debug, Clone)]
struct Comparison {
    column: usize,
    op: &'static str,
    literal: f64,
}

impl Comparison {
    fn sql(&self) -> String {
        format!("c{} {} {}", self.column, self.op, self.literal)
    }

    fn holds(&self, row: &[Option<f64>]) -> Option<bool> {
        let value = row[self.column]?;
        Some(match self.op {
            "<" => value < self.literal,
            "<=" => value <= self.literal,
            ">" => value > self.literal,
            ">=" => value >= self.literal,
            "=" => value == self.literal,
            _ => value != self.literal,
        })
    }
}

fn comparison() -> impl Strategy<Value = Comparison> {
    let ops = prop::sample::select(vec!["<", "<=", ">", ">=", "=", "<>"]);
    (0..3_usize, ops, -4..4_i32).prop_map(|(column, op, halves)| Comparison {
        column,
        op,
        literal: f64::from(halves) / 2.0,
    })
}

fn rows() -> impl Strategy<Value = Vec<Vec<Option<f64>>>> {
    let cell = prop::option::of((-5..5_i32).prop_map(|halves| f64::from(halves) / 2.0));
    prop::collection::vec(prop::collection::vec(cell, 3), 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn verdicts_are_those_of_a_brute_force_evaluator(parts in prop::collection::vec(comparison(), 1..5), rows in rows(), cut in 0..30_usize) {
        let sql = parts.iter().map(Comparison::sql).collect::<Vec<_>>().join(" AND ");
        let filter = filter(&sql);
        let object = |row: &Vec<Option<f64>>| Value::Object(row.iter().enumerate().filter_map(|(column, cell)| Some((format!("c{column}"), json!((*cell)?)))).collect());
        let objects: Vec<_> = rows.iter().map(object).collect();
        let expected: Vec<_> = rows.iter().map(|row| {
            let failing = parts.iter().find(|part| part.holds(row) != Some(true));
            failing.map_or_else(|| "+".to_owned(), |part| match part.holds(row) {
                Some(_) => part.sql(),
                None => format!("null:c{}", part.column),
            })
        }).collect();
        let found: Vec<_> = fates(&filter, &objects).into_iter().map(|fate| fate.split(": ").next().unwrap().to_owned()).collect();
        prop_assert_eq!(&found, &expected, "{}", sql);
        let (left, right) = objects.split_at(cut.min(objects.len()));
        let halves: Vec<_> = [left, right].into_iter().flat_map(|half| fates(&filter, half)).collect();
        prop_assert_eq!(halves, fates(&filter, &objects));
    }
}

#[test]
fn threads_share_a_filter() {
    let filter = filter("a + b < c * 2 AND a < 5");
    let objects: Vec<_> = (0..500).map(|index| json!({"a": index % 7, "b": index % 3, "c": index % 5})).collect();
    let expected = fates(&filter, &objects);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| fates(&filter, &objects))).collect();
        threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), expected));
    });
}

#[test]
fn ten_columns_are_read_at_fifty_thousand_documents_a_second() {
    let sql = (0..10).map(|column| format!("c{column} < 90")).collect::<Vec<_>>().join(" AND ");
    let filter = filter(&sql);
    let object = |index: usize| {
        Value::Object((0..10).map(|column| (format!("c{column}"), json!((index * (column + 3)) % 80))).collect())
    };
    let records = block(&(0..5_000).map(object).collect::<Vec<_>>());
    let start = std::time::Instant::now();
    (0..4).for_each(|_| assert!(filter.apply(&records).unwrap().iter().all(|verdict| *verdict == Verdict::Keep)));
    let rate = 20_000.0 / start.elapsed().as_secs_f64();
    eprintln!("{rate:.0} documents a second");
    assert!(rate > 50_000.0, "{rate:.0} documents a second");
}

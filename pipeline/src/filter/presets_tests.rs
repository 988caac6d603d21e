//! Each condition of each preset against a text that fails it and no other.

use schemas::config::Filter as Config;
use serde_json::{Value, json};

use super::super::{Filter, Verdict};
use super::*;
use crate::measure::Measures;
use crate::record::{Document, FieldValue, Position, Records, Span};

/// A word of `length` letters that no other number has.
fn word(number: usize, length: usize) -> String {
    let letter = |place: u32| char::from(b'a' + (number / 25_usize.pow(place) % 25) as u8);
    (0..length as u32).map(|place| if place < 4 { letter(place) } else { 'z' }).collect()
}

/// `count` different words of `length` letters, from number `first` on.
fn words(first: usize, count: usize, length: usize) -> Vec<String> {
    (first..first + count).map(|number| word(number, length)).collect()
}

/// English enough for Gopher.
fn with_stop_words(words: Vec<String>) -> Vec<String> {
    ["the".to_owned(), "of".to_owned()].into_iter().chain(words).collect()
}

/// A text that every condition of Gopher's keeps, `mark` behind every `every`th word.
fn marked(count: usize, every: usize, mark: &str) -> String {
    let words = with_stop_words(words(0, count, 6));
    let marked = words
        .iter()
        .enumerate()
        .map(|(at, word)| if at % every == every - 1 { format!("{word} {mark}") } else { word.clone() });
    marked.collect::<Vec<_>>().join(" ")
}

fn lines(count: usize, line: impl Fn(String) -> String) -> Vec<String> {
    (0..count).map(|at| line(format!("the of {}", words(at * 12, 12, 6).join(" ")))).collect()
}

/// `phrases` phrases of `n` words, each twice, between words that occur once; their second occurrences have `share`.
fn repeated(n: usize, phrases: usize, share: f64) -> String {
    let phrase = |at: usize| words(at * n, n, 6).join(" ");
    let total = (phrases * n * 6) as f64 / share;
    let mut pieces = vec!["the of".to_owned()];
    for at in 0..2 * phrases {
        pieces.push(phrase(at % phrases));
        pieces.push(word(10_000 + at, 6));
    }
    let mut filler = 20_000;
    while ((pieces.join(" ").len() + 7) as f64) < total {
        pieces.push(word(filler, 6));
        filler += 1;
    }
    pieces.join(" ")
}

/// One phrase of `n` words so often that it has `share` of the characters.
fn commonest(n: usize, share: f64) -> String {
    let phrase = words(0, n, 6).join(" ");
    let mut pieces = vec!["the of".to_owned()];
    // Enough words between two occurrences that the phrases have the share.
    let between = (phrase.len() as f64 / share / 7.0) as usize - n;
    for at in 0..20 {
        pieces.push(phrase.clone());
        pieces.extend(words(1000 + at * between, between, 6));
    }
    pieces.join(" ")
}

/// A paragraph of four padded lines twice: its line feeds make it more of the text than its lines.
fn padded_paragraph() -> String {
    let line = |at: usize| format!("{:<40}", word(5000 + at, 4));
    let paragraph = (0..4).map(line).collect::<Vec<_>>().join("\n");
    let body = |from: usize, extra: usize| {
        let lines = (0..6).map(|at| words(from + at * 3, 3, 6).join(" "));
        format!("{}{}", lines.collect::<Vec<_>>().join("\n"), "z".repeat(extra))
    };
    let text = |extra: usize| {
        format!("the of {}\n\n{paragraph}\n\n{}\n\n{paragraph}\n\n{}", body(0, extra), body(100, 0), body(200, 0))
    };
    let missing = 807 - text(0).len();
    text(missing)
}

/// A padded line twice.
fn padded_line() -> String {
    let line = format!("{:<130}", "abcdefg");
    let others = lines(4, |line| line);
    [others[0].as_str(), &line, &others[1], &line, &others[2], &others[3]].join(
        "
",
    )
}

/// Sixty words and twenty numbers.
fn numbered() -> String {
    let numbers = (1000..1020).map(|number: usize| number.to_string());
    with_stop_words(words(0, 60, 6)).into_iter().chain(numbers).collect::<Vec<_>>().join(" ")
}

fn repeated_lines() -> String {
    let mut all = lines(8, |line| line);
    all.extend(vec!["again".to_owned(); 6]);
    all.join("\n")
}

fn repeated_paragraphs() -> String {
    let long = lines(12, |line| line);
    let paragraphs = [long[..4].join("\n"), long[4..8].join("\n"), long[8..].join("\n")];
    [&paragraphs[0], "again", &paragraphs[1], "again", &paragraphs[2], "again"].map(str::to_owned).join("\n\n")
}

/// For each condition of a preset, in order, a document that fails it alone.
fn failing(name: &str) -> Vec<Value> {
    let text = |text: String| json!({"text": text});
    match name {
        "notebook" => vec![text("长".repeat(513))],
        "gopher" => vec![
            text(with_stop_words(words(0, 45, 6)).join(" ")),
            text(with_stop_words(words(0, 100_000, 6)).join(" ")),
            text(with_stop_words(words(0, 100, 2)).join(" ")),
            text(with_stop_words(words(0, 100, 12)).join(" ")),
            text(marked(80, 8, "#")),
            text(marked(80, 8, "…")),
            text(lines(10, |line| format!("- {line}")).join("\n")),
            text(lines(10, |line| format!("{line} …")).join("\n")),
            text(numbered()),
            text(words(0, 80, 6).join(" ")),
            text(repeated_paragraphs()),
            text(padded_paragraph()),
            text(repeated_lines()),
            text(padded_line()),
            text(commonest(2, 0.205)),
            text(commonest(3, 0.185)),
            text(commonest(4, 0.165)),
            text(repeated(5, 40, 0.154)),
            text(repeated(6, 40, 0.144)),
            text(repeated(7, 40, 0.134)),
            text(repeated(8, 40, 0.124)),
            text(repeated(9, 40, 0.114)),
            text(repeated(10, 40, 0.104)),
        ],
        "c4" => {
            let five = "One thing is here. Two things are there. Three are left. Four are right. Five are gone.";
            vec![
                text(format!("{five}\nHere is Lorem ipsum again.")),
                text(format!("{five}\nHere is a {{bracket}}.")),
                text("One thing is here. Two things are there. Three are left. Four are right.".to_owned()),
            ]
        }
        "fineweb" => {
            let line = |at: usize| format!("{} ends here.", words(at * 10, 10, 6).join(" "));
            let many = |line: &dyn Fn(usize) -> String| (0..20).map(line).collect::<Vec<_>>().join("\n");
            vec![
                text(many(&|at| line(at).replace('.', ""))),
                text(many(&|at| words(at * 4, 4, 6).join(" ") + ".")),
                text(many(&|at| line(at.max(1)))),
                text(many(&line).replace('\n', "\n\n\n\n\n")),
            ]
        }
        "industry-zh" => industry_zh(),
        other => panic!("{other} has no texts"),
    }
}

const CHINESE: &str = "获悉你会经过充分筹备现已正式成立了,这是我市会计界的一件大喜事.";

fn industry_zh() -> Vec<Value> {
    let with = |name: &str, value: Value| {
        let mut row = json!({"text": CHINESE, "lang": "zh", "lang_score": 0.97, "perplexity": 959.6});
        row[name] = value;
        row
    };
    vec![
        with("lang", json!("en")),
        with("lang_score", json!(0.79)),
        json!({"text": "获悉你会成立大喜事", "lang": "zh", "lang_score": 0.97, "avg_line_length": 12.0}),
        with("avg_line_length", json!(9.5)),
        with("alnum_ratio", json!(0.2)),
        with("special_char_ratio", json!(0.3)),
        with("char_rep_ratio", json!(0.51)),
        with("word_rep_ratio", json!(0.51)),
        with("flagged_words_ratio", json!(0.05)),
        with("perplexity", json!(1500.1)),
    ]
}

/// A document that every condition keeps.
fn kept(name: &str) -> Value {
    match name {
        "industry-zh" => json!({"text": CHINESE}),
        "notebook" => json!({"text": "短".repeat(512)}),
        _ => {
            let line = |at: usize| {
                let half = |from: usize| words(from, 6, 5).join(" ");
                format!("{} and {} of it.", half(at * 12), half(at * 12 + 6))
            };
            json!({"text": (0..20).map(line).collect::<Vec<_>>().join("\n")})
        }
    }
}

fn records(rows: &[Value]) -> Records {
    let mut records = Records::default();
    for row in rows {
        let text = records.push_bytes(row["text"].as_str().unwrap().as_bytes());
        let first_field = records.fields.len() as u32;
        for (name, value) in row.as_object().unwrap().iter().filter(|(name, _)| *name != "text") {
            let known = records.names.iter().position(|known| known == name).unwrap_or_else(|| {
                records.names.push(name.clone());
                records.names.len() - 1
            });
            let lexeme = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let kind = if value.is_string() { schemas::columns::Kind::String } else { schemas::columns::Kind::Float };
            let value = records.push_bytes(lexeme.as_bytes());
            records.fields.push(FieldValue { name: known as u32, kind, value });
        }
        let last_field = records.fields.len() as u32;
        let (position, raw) = (Position::default(), Span::default());
        records.documents.push(Document { position, text, first_field, last_field, raw });
    }
    records
}

/// Rows with the columns of a preset computed.
fn measured(preset: &Preset, rows: &[Value]) -> Records {
    let mut measure = Measure::default();
    measure.columns = preset.columns(&measure);
    let mut records = records(rows);
    Measures::load(&measure).unwrap().apply(&mut records);
    records
}

fn verdicts(filter: &Config, records: &Records) -> Vec<Verdict> {
    Filter::plan(filter).unwrap().apply(records).unwrap()
}

#[test]
fn each_condition_drops_a_text_that_all_others_keep() {
    for preset in PRESETS {
        let records = measured(preset, &failing(preset.name));
        let found: Vec<Vec<bool>> = preset
            .conditions
            .iter()
            .map(|condition| {
                let alone = Config { where_sql: Some(condition.sql.to_owned()), ..Config::default() };
                verdicts(&alone, &records).into_iter().map(|verdict| verdict == Verdict::Keep).collect()
            })
            .collect();
        assert_eq!(records.documents.len(), preset.conditions.len(), "{}", preset.name);
        for document in 0..records.documents.len() {
            let failed: Vec<&str> = (preset.conditions.iter().zip(&found))
                .filter(|(_, kept)| !kept[document])
                .map(|(condition, _)| condition.sql)
                .collect();
            assert_eq!(failed, [preset.conditions[document].sql], "{}", preset.name);
        }
    }
}

#[test]
fn a_preset_is_its_conditions_each_a_rule_and_none_is_ever_null() {
    for preset in PRESETS {
        let named = Config { preset: Some(preset.version.to_owned()), ..Config::default() };
        let written = Config { where_sql: Some(preset.sql()), ..Config::default() };
        let rules = Filter::plan(&named).unwrap().rules().to_vec();
        assert_eq!(rules, Filter::plan(&written).unwrap().rules());
        assert!(preset.conditions.iter().all(|condition| rules.iter().any(|rule| rule == condition.sql)));
        let mut rows = failing(preset.name);
        rows.extend([kept(preset.name), json!({"text": ""})]);
        let records = measured(preset, &rows);
        let found = verdicts(&named, &records);
        assert_eq!(found, verdicts(&written, &records));
        assert_eq!(found, verdicts(&Config { nulls: config::Nulls::Error, ..named }, &records), "{}", preset.name);
        assert_eq!(found[rows.len() - 2], Verdict::Keep, "{}", preset.name);
        assert_eq!(found[rows.len() - 1] == Verdict::Keep, preset.name == "notebook", "{}", preset.name);
    }
}

#[test]
fn a_where_with_an_or_stays_one_condition_behind_the_preset() {
    let config = Config {
        preset: Some("notebook".to_owned()),
        where_sql: Some("a > 1 OR b > 1".to_owned()),
        ..Config::default()
    };
    let rules = Filter::plan(&config).unwrap().rules().to_vec();
    assert_eq!(rules, ["n_chars <= 512", "null:n_chars", "a > 1 OR b > 1", "null:a", "null:b"]);
    assert_eq!(expression(&config).unwrap(), "n_chars <= 512 AND (a > 1 OR b > 1)");
}

#[test]
fn an_unknown_preset_is_refused_with_the_names_there_are() {
    let config = Config { preset: Some("gofer".to_owned()), ..Config::default() };
    let message = Filter::plan(&config).unwrap_err().to_string();
    assert!(
        message.contains("\"gofer\"") && message.contains("notebook, gopher, c4, fineweb, industry-zh"),
        "{message}"
    );
}

#[test]
fn columns_that_need_a_file_are_computed_where_it_is_given() {
    let columns = |measure: &Measure| find("industry-zh").unwrap().columns(measure);
    assert!(!columns(&Measure::default()).contains(&QualityColumn::Perplexity));
    let given = Measure { perplexity_model: Some("lm.arpa".to_owned()), ..Measure::default() };
    assert!(columns(&given).contains(&QualityColumn::Perplexity));
}

/// A released version is what datasets say they were made with: a new threshold needs a new version.
#[test]
fn released_conditions_never_change() {
    let released: Vec<String> = PRESETS
        .iter()
        .map(|preset| format!("{} {}", preset.version, &shards::commit::sha256_hex(preset.sql().as_bytes())[..16]))
        .collect();
    let expected = [
        "notebook-1 5fadf9a549045731",
        "gopher-1 904e11281b242a47",
        "c4-1 5b288d4f7f78accb",
        "fineweb-1 387b20c582ae292a",
        "industry-zh-1 63789cae5d03192e",
    ];
    assert_eq!(released, expected);
}

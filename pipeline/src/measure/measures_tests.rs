use super::*;
use crate::record::Position;

fn planned(columns: &[QualityColumn], recompute: bool) -> Measures {
    Measures::load(&Measure { columns: columns.to_vec(), recompute, ..Measure::default() }).unwrap()
}

/// One document of a text and of fields with JSON lexemes.
fn records(text: &str, fields: &[(&str, Kind, &str)]) -> Records {
    let mut records = Records::default();
    let span = records.push_bytes(text.as_bytes());
    for (name, kind, lexeme) in fields {
        let name = name_index(&mut records, name);
        let value = records.push_bytes(lexeme.as_bytes());
        records.fields.push(FieldValue { name, kind: *kind, value });
    }
    let last_field = fields.len() as u32;
    let position = Position::default();
    records.documents = vec![Document { position, text: span, first_field: 0, last_field, raw: Span::default() }];
    records
}

fn fields(records: &Records) -> Vec<(String, Kind, String)> {
    let field = |field: &FieldValue| {
        (records.names[field.name as usize].clone(), field.kind, records.str(field.value).to_owned())
    };
    records.documents.iter().flat_map(|document| records.fields_of(document)).map(field).collect()
}

fn field(name: &str, kind: Kind, lexeme: &str) -> (String, Kind, String) {
    (name.to_owned(), kind, lexeme.to_owned())
}

#[test]
fn columns_the_source_lacks_are_added_behind_those_it_has() {
    let mut records = records("ab\n", &[("id", Kind::Int, "7")]);
    planned(&[QualityColumn::AlnumRatio, QualityColumn::NLines], false).apply(&mut records);
    let ratio = field("alnum_ratio", Kind::Float, "0.6666666666666666");
    assert_eq!(fields(&records), [field("id", Kind::Int, "7"), ratio, field("n_lines", Kind::Int, "1")]);
}

#[test]
fn a_value_of_the_source_stays_and_a_null_does_not() {
    let has = [("n_chars", Kind::Int, "99"), ("n_lines", Kind::Null, "")];
    let mut kept = records("ab", &has);
    planned(&[QualityColumn::NChars, QualityColumn::NLines], false).apply(&mut kept);
    assert_eq!(fields(&kept), [field("n_chars", Kind::Int, "99"), field("n_lines", Kind::Int, "1")]);
    let mut computed = records("ab", &has);
    planned(&[QualityColumn::NChars, QualityColumn::NLines], true).apply(&mut computed);
    assert_eq!(fields(&computed), [field("n_chars", Kind::Int, "2"), field("n_lines", Kind::Int, "1")]);
}

#[test]
fn a_whole_float_keeps_its_point() {
    let mut records = records("abcd", &[]);
    planned(&[QualityColumn::AvgLineLength], false).apply(&mut records);
    assert_eq!(fields(&records), [field("avg_line_length", Kind::Float, "4.0")]);
}

#[test]
fn every_column_of_an_empty_text_is_zero() {
    let free: Vec<QualityColumn> = QualityColumn::ALL
        .iter()
        .copied()
        .filter(|column| !["flagged", "perplexity"].contains(&column.group()))
        .collect();
    let mut records = records("", &[]);
    planned(&free, false).apply(&mut records);
    let found = fields(&records);
    assert_eq!(found.len(), free.len());
    assert!(found.iter().all(|(_, _, value)| ["", "0", "0.0"].contains(&value.as_str())), "{found:?}");
}

#[test]
fn flagged_words_without_a_list_are_refused() {
    let config = Measure { columns: vec![QualityColumn::FlaggedWordsRatio], ..Measure::default() };
    let message = Measures::load(&config).unwrap_err().to_string();
    assert!(message.contains("measure.flagged_words"), "{message}");
}

#[test]
fn the_notebooks_first_row_has_the_notebooks_values() {
    // Only the shape of its text is known here: 312 characters on 4 lines give its mean line length.
    let text = format!("{}\n{}\n{}\n{}", "字".repeat(124), "字".repeat(60), "字".repeat(60), "字".repeat(65));
    let mut records = records(&text, &[]);
    planned(&[QualityColumn::AvgLineLength, QualityColumn::MaxLineLength], false).apply(&mut records);
    let expected = [field("avg_line_length", Kind::Float, "78.0"), field("max_line_length", Kind::Int, "124")];
    assert_eq!(fields(&records), expected);
}

/// Values that Data-Juicer computed of 325 texts.
#[test]
#[ignore = "needs SHARDMILL_CORPORA"]
fn the_oracles_values_to_the_last_digit() {
    let default = || std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared"));
    let folder = std::env::var_os("SHARDMILL_CORPORA").map_or_else(default, std::path::PathBuf::from);
    let rows = std::fs::read_to_string(folder.join("quality/oracle.jsonl")).unwrap();
    let mut texts = 0;
    for line in rows.lines() {
        let row: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        let columns: Vec<QualityColumn> =
            row.keys().filter(|name| *name != "text").flat_map(|name| QualityColumn::named(name).unwrap()).collect();
        let mut records = records(row["text"].as_str().unwrap(), &[]);
        planned(&columns, false).apply(&mut records);
        for (name, _, lexeme) in fields(&records) {
            // Compared as text: serde_json may read a float one unit off.
            let (_, value) = line.rsplit_once(&format!("\"{name}\": ")).unwrap();
            let expected = value.split([',', '}']).next().unwrap();
            assert_eq!(lexeme, expected, "{name} of {}", row["text"]);
        }
        texts += 1;
    }
    assert!(texts > 300, "{texts}");
}

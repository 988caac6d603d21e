//! The JSON Schemas that are checked in are the ones the types give, and the Arrow schemas are the documented ones.
//!
//! `SHARDMILL_REWRITE=1 cargo test -p tests --test schemas_current` writes the JSON Schemas anew.

use std::path::{Path, PathBuf};

use schemas::columns::{Column, ColumnType, data_schema, rejects_schema};
use schemas::dtype::Dtype;
use serde_json::Value;

fn path_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/json").join(name)
}

#[track_caller]
fn assert_current(name: &str, schema: &Value) {
    let text = serde_json::to_string_pretty(schema).expect("a schema is JSON") + "\n";
    let path = path_of(name);
    if std::env::var_os("SHARDMILL_REWRITE").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("schemas/json");
        std::fs::write(&path, &text).expect("schemas/json is writable");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "{} is not current: SHARDMILL_REWRITE=1 cargo test -p tests --test schemas_current",
        path.display()
    );
}

#[test]
fn manifest_schema_is_current() {
    assert_current("manifest.schema.json", &schemas::manifest::json_schema());
}

#[test]
fn config_schema_is_current() {
    assert_current("config.schema.json", &schemas::config::json_schema());
}

fn listed(schema: &arrow::datatypes::Schema) -> String {
    let line = |field: &std::sync::Arc<arrow::datatypes::Field>| {
        format!("{} {}{}\n", field.name(), field.data_type(), if field.is_nullable() { "?" } else { "" })
    };
    schema.fields().iter().map(line).collect()
}

fn columns() -> [Column; 2] {
    let column = |name: &str, column_type| Column { source_name: name.to_owned(), name: name.to_owned(), column_type };
    [column("perplexity", ColumnType::Float64), column("source_line", ColumnType::String)]
}

#[test]
fn data_schema_is_the_documented_one() {
    let schema = listed(&data_schema(&columns(), true, Dtype::U16));
    insta::assert_snapshot!(schema, @r"
    doc_id Utf8
    text Utf8
    source Utf8
    line Int64
    byte_offset Int64?
    copy Int32
    perplexity Float64?
    source_line Utf8?
    extra Utf8?
    tokens List(non-null UInt16, field: 'element')
    n_tokens Int32
    shard Int32
    token_offset Int64
    ");
}

#[test]
fn rejects_schema_is_the_documented_one() {
    let schema = listed(&rejects_schema(&columns()));
    insta::assert_snapshot!(schema, @r"
    source Utf8
    line Int64
    byte_offset Int64?
    stage Utf8
    rule Utf8
    value Utf8?
    doc_id Utf8?
    n_chars Int64?
    raw Binary?
    perplexity Float64?
    source_line Utf8?
    ");
}

//! `pipeline check` and `pipeline preview` as a person and a script meet them.

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const LINES: &str = "{\"text\":\"a\",\"n\":1}\n\n{\"text\":2}\n{bad\n{\"text\": \"b\"}\r\n";

fn pipeline(folder: &tempfile::TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipeline"));
    command.current_dir(folder.path()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn with_lines() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.jsonl"), LINES).unwrap();
    folder
}

fn events(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn check_names_every_invalid_line_and_counts_all() {
    let output = pipeline(&with_lines(), &["check", "a.jsonl", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let events = events(&output);
    let invalid: Vec<_> = events.iter().filter(|event| event["event"] == "invalid").collect();
    let places: Vec<_> = invalid.iter().map(|event| (event["line"].as_u64(), event["byte_offset"].as_u64())).collect();
    assert_eq!(places, [(Some(3), Some(20)), (Some(4), Some(31))]);
    let done = events.last().unwrap();
    assert_eq!((&done["event"], &done["lines"], &done["documents"]), (&"done".into(), &5.into(), &2.into()));
    assert_eq!((&done["blank"], &done["invalid"]["text_type"]), (&1.into(), &1.into()));
    assert!(done["lines_per_s"].as_f64().is_some_and(|rate| rate > 0.0));
}

#[test]
fn check_tells_people_file_line_offset_rule_and_reason() {
    let output = pipeline(&with_lines(), &["check", "a.jsonl"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with(
            "a.jsonl:3, byte 20: text_type: expected a string in column text, found a number\n\
         a.jsonl:4, byte 31: json_syntax: expected a key in double quotes at byte 1, found 'b'\n\
         a.jsonl: 5 lines: 2 documents, 1 blank, 2 invalid (json_syntax 1, text_type 1)\n"
        ),
        "{text}"
    );
}

#[test]
fn check_writes_the_valid_lines_byte_for_byte() {
    let folder = with_lines();
    assert!(pipeline(&folder, &["check", "a.jsonl", "--write-clean", "clean"]).status.success());
    let clean = fs::read_to_string(folder.path().join("clean/a.jsonl")).unwrap();
    assert_eq!(clean, "{\"text\":\"a\",\"n\":1}\n{\"text\": \"b\"}\n");
    let refused = pipeline(&folder, &["check", "a.jsonl", "--write-clean", "."]);
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(fs::read_to_string(folder.path().join("a.jsonl")).unwrap(), LINES);
}

#[test]
fn check_exits_with_3_for_a_damaged_stream() {
    let folder = with_lines();
    fs::write(folder.path().join("b.jsonl.gz"), [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]).unwrap();
    assert_eq!(pipeline(&folder, &["check", "b.jsonl.gz"]).status.code(), Some(3));
}

#[test]
fn check_exits_with_2_for_an_input_that_is_not_there() {
    let output = pipeline(&with_lines(), &["check", "none.jsonl"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("hint:"));
}

#[test]
fn check_shows_twenty_invalid_lines_of_a_file_unless_all_are_asked_for() {
    let folder = with_lines();
    fs::write(folder.path().join("bad.jsonl"), "x\n".repeat(25)).unwrap();
    let shown = |arguments: &[&str]| {
        let text = String::from_utf8(pipeline(&folder, arguments).stdout).unwrap();
        (text.matches("json_syntax:").count(), text.contains("... and 5 more"))
    };
    assert_eq!(shown(&["check", "bad.jsonl"]), (20, true));
    assert_eq!(shown(&["check", "bad.jsonl", "--all"]), (25, false));
}

#[test]
fn preview_shows_the_first_records_in_order() {
    let output = pipeline(&with_lines(), &["preview", "a.jsonl", "-n", "2"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text,
        "a.jsonl:1, byte 0\n  text (1 character): a\n  n: 1\n\n\
         a.jsonl:3, byte 20\n  invalid, text_type: expected a string in column text, found a number\n\n"
    );
}

#[test]
fn preview_prints_whole_records_as_json() {
    let records = events(&pipeline(&with_lines(), &["preview", "a.jsonl", "-n", "9", "--json"]));
    assert_eq!(records.len(), 4);
    assert_eq!((&records[0]["text"], &records[0]["fields"]["n"]), (&"a".into(), &1.into()));
    assert_eq!(records[2]["rule"], "json_syntax");
}

//! Block lists, allow lists, declared licences, terms and several presets, from outside.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::args;
use tests::corpus::{example, temp_dir, tokenizer, write};
use tests::dataset::Dataset;
use tests::program::{Ended, pipeline};
use tests::table::{self, Row};

const LINES: &str = r#"{"id":"a","text":"A nurse and her brother.","url":"https://news.example.com/1"}
{"id":"b","text":"他是工程师。","url":"http://www.good.org/page/#top"}
{"id":"c","text":"The casino is open.","url":"http://notexample.com/x","license":"GPL-3.0"}
{"id":"d","text":"He and she.","url":"https://good.org/shop/7?x=1"}
{"id":"e","text":"Nothing here.","url":null}
{"id":"f","text":"她和他的护士。"}
"#;

fn go(dir: &Path, inputs: &[PathBuf], name: &str, more: &[&str]) -> Ended {
    let mut arguments = args!["run"];
    arguments.extend(inputs.iter().map(OsString::from));
    arguments.extend(args!["--tokenizer", tokenizer(), "--val-fraction", "0", "--out", dir.join(name)]);
    arguments.extend(more.iter().map(OsString::from));
    pipeline(arguments)
}

fn run(dir: &Path, inputs: &[PathBuf], name: &str, more: &[&str]) -> Dataset {
    go(dir, inputs, name, more).ok();
    let dataset = Dataset::open(&dir.join(name));
    dataset.assert_ledger();
    dataset.assert_files();
    dataset
}

fn rows(dataset: &Dataset) -> Vec<Row> {
    table::rows(&dataset.dir.join("data"), "train")
}

fn ids(dataset: &Dataset) -> Vec<String> {
    rows(dataset).iter().map(|row| row["doc_id"].as_str().unwrap().to_owned()).collect()
}

fn list(dir: &Path, name: &str, text: &str) -> String {
    write(dir, name, text.as_bytes()).display().to_string()
}

#[test]
fn documents_go_by_domain_address_and_word_each_under_its_rule() {
    let dir = temp_dir();
    let input = [write(dir.path(), "in.jsonl", LINES.as_bytes())];
    let domains = list(dir.path(), "domains.txt", "# one a line\nExample.com\n");
    let urls = list(dir.path(), "urls.txt", "https://good.org/page\ngood.org/shop/*\n");
    let words = list(dir.path(), "words.txt", "casino\n护士\n");
    let flags = ["--block-domains", &domains, "--block-urls", &urls, "--block-keywords", &words];
    let dataset = run(dir.path(), &input, "out", &flags);
    assert_eq!(ids(&dataset), ["e"]);
    let dropped = &dataset.manifest["ledger"]["dropped"]["filter"];
    assert_eq!(dropped, &json!({"block_domains": 1, "block_urls": 2, "block_keywords": 2}));
    let rejects = table::rows(&dataset.dir.join("rejects"), "");
    let value = |id: &str| rejects.iter().find(|row| row["doc_id"] == id).expect("a reject")["value"].clone();
    assert_eq!((value("a"), value("c"), value("f")), (json!("example.com"), json!("casino"), json!("护士")));
    let config = fs::read_to_string(dataset.dir.join("config.toml")).unwrap();
    assert!(!config.contains("domains.txt") && config.contains("block_domains = \"sha256:"), "{config}");
    let required = run(dir.path(), &input, "required", &["--require-keywords", &words]);
    assert_eq!(ids(&required), ["c", "f"]);
    assert_eq!(required.number("/ledger/dropped/filter/require_keywords"), 4);
}

#[test]
fn licences_are_declared_by_source_recorded_and_required() {
    let dir = temp_dir();
    let inputs = [
        write(dir.path(), "wiki/a.jsonl", LINES.as_bytes()),
        write(dir.path(), "other/b.jsonl", b"{\"text\":\"unknown\"}\n"),
    ];
    let declared = "[[sources]]\npath = \"*a.jsonl\"\nlicense = \"CC-BY-SA-4.0\"\norigin = \"https://example.org\"\n";
    let config = list(dir.path(), "c.toml", declared);
    let flags = ["--config", &config];
    go(dir.path(), &inputs, "refused", &[&flags[..], &["--require-license"]].concat())
        .code_is(2)
        .says("1 of 2 inputs")
        .says("b.jsonl");
    run(dir.path(), &inputs[..1], "required", &[&flags[..], &["--require-license"]].concat());
    let dataset = run(dir.path(), &inputs, "all", &flags);
    let entries = dataset.inputs();
    let wiki = entries.iter().find(|entry| entry["path"] == "a.jsonl").unwrap();
    assert_eq!((&wiki["license"], &wiki["origin"]), (&json!("CC-BY-SA-4.0"), &json!("https://example.org")));
    assert!(entries.iter().any(|entry| entry.get("license").is_none()), "not declared: not there");
    let license = |id: &str| rows(&dataset).iter().find(|row| row["doc_id"] == id).unwrap()["license"].clone();
    assert_eq!((license("a"), license("c")), (json!("CC-BY-SA-4.0"), json!("GPL-3.0")), "the document's own counts");
    let allowed =
        run(dir.path(), &inputs, "allowed", &[&flags[..], &["--allow-licenses", "CC-BY-SA-4.0,MIT"]].concat());
    assert_eq!(allowed.number("/ledger/dropped/filter/allow_licenses"), 2);
    let sources = run(dir.path(), &inputs, "sources", &["--allow-sources", "b*"]);
    assert_eq!((sources.number("/ledger/kept"), sources.number("/ledger/dropped/filter/allow_sources")), (1, 6));
    // What is made of a dataset keeps what was declared.
    pipeline(args!["merge", dir.path().join("all"), "--out", dir.path().join("merged")]).ok();
    assert_eq!(Dataset::open(&dir.path().join("merged")).inputs(), dataset.inputs());
}

#[test]
fn groups_of_terms_are_columns_to_look_at_and_to_mix_by() {
    let dir = temp_dir();
    let input = [write(dir.path(), "in.jsonl", LINES.as_bytes())];
    let female = list(dir.path(), "female.txt", "she\nher\n她\n");
    let male = list(dir.path(), "male.txt", "he\nbrother\n他\n");
    let config = list(dir.path(), "c.toml", &format!("[terms.gender]\nfemale = {female:?}\nmale = {male:?}\n"));
    let dataset = run(dir.path(), &input, "out", &["--config", &config]);
    let gender: Vec<Value> = rows(&dataset).iter().map(|row| row["gender"].clone()).collect();
    assert_eq!(gender, [json!("mixed"), json!("male"), json!(null), json!("mixed"), json!(null), json!("mixed")]);
    let report: Value = serde_json::from_slice(&fs::read(dataset.dir.join("report.json")).unwrap()).unwrap();
    assert!(report["groups"].as_array().unwrap().iter().any(|group| group["name"] == "gender"));
    go(dir.path(), &input, "mixed", &["--config", &config, "--mix-by", "gender", "--mix-weights", "male=2,null=0"])
        .ok();
    let mixed = Dataset::open(&dir.path().join("mixed"));
    assert_eq!((mixed.number("/documents/repeated"), mixed.number("/ledger/dropped/mix/gender=null")), (1, 2));
}

#[test]
fn presets_add_up_and_can_be_asked_of_a_dataset() {
    let dir = temp_dir();
    let both = run(dir.path(), &[example()], "both", &["--preset", "fineweb,notebook"]);
    let text = fs::read_to_string(both.dir.join("config.toml")).unwrap();
    assert!(text.contains("preset = \"fineweb-1,notebook-1\""), "{text}");
    let none = run(dir.path(), &[example()], "none", &["--measure", "fineweb", "--dedup", "none"]);
    let asked = pipeline(args!["what-if", &none.dir, "--preset", "fineweb,notebook", "--json"]).ok();
    let asked: Value = serde_json::from_str(asked.stdout.lines().last().unwrap()).unwrap();
    let all = run(dir.path(), &[example()], "all", &["--preset", "fineweb,notebook", "--dedup", "none"]);
    assert_eq!(asked["kept"]["documents"], json!(all.number("/ledger/kept")));
    pipeline(args!["what-if", &none.dir, "--preset", "gopher"]).code_is(1).no_panic().says("gopher_n_words");
    go(dir.path(), &[example()], "bad", &["--preset", "fineweb,fineweb2"]).code_is(2).says("fineweb2");
}

#[test]
fn lists_that_are_not_there_are_refused_before_work() {
    let dir = temp_dir();
    let empty = list(dir.path(), "empty.txt", "# nothing\n");
    go(dir.path(), &[example()], "out", &["--block-domains", "absent.txt"]).code_is(2).says("absent.txt");
    go(dir.path(), &[example()], "out", &["--block-keywords", &empty]).code_is(2).says("empty.txt");
    go(dir.path(), &[example()], "out", &["--allow-sources", "a***"]).code_is(2).says("pattern");
}

//! The command line: help, usage errors, exit codes.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tests::args;
use tests::corpus::{example, made_up_folder, made_up_lines, root, temp_dir, tokenizer, write};
use tests::program::{Ended, pipeline, pipeline_command, trainer};
use tests::tree::{assert_same_tree, dataset_tree};

#[test]
fn help_of_every_pipeline_command() {
    let help = pipeline(args!["--help"]).ok().stdout;
    insta::assert_snapshot!("pipeline", help);
    for command in [
        "run",
        "plan",
        "preset",
        "task",
        "launch",
        "status",
        "preview",
        "check",
        "inspect",
        "why",
        "explain",
        "sql",
        "what-if",
        "diff",
        "verify",
        "export",
        "merge",
        "remove",
        "retokenize",
        "clean",
        "tokenizer",
        "schema",
    ] {
        insta::assert_snapshot!(format!("pipeline_{command}"), pipeline(args![command, "--help"]).ok().stdout);
    }
}

#[test]
fn help_of_every_trainer_command() {
    insta::assert_snapshot!("trainer", trainer(args!["--help"]).ok().stdout);
    for command in
        ["pretrain", "generate", "eval", "which-docs", "serve", "watch", "report", "import", "export", "info", "doctor"]
    {
        insta::assert_snapshot!(format!("trainer_{command}"), trainer(args![command, "--help"]).ok().stdout);
    }
}

#[test]
fn a_mistyped_command_is_a_usage_error_with_a_suggestion() {
    pipeline(args!["rum"]).code_is(2).says("'run'");
}

#[test]
fn a_mistyped_flag_is_a_usage_error_with_a_suggestion() {
    pipeline(args!["run", example(), "--tokeniser", "x", "--out", "y"]).code_is(2).says("--tokenizer");
}

#[test]
fn a_missing_input_is_named() {
    let dir = temp_dir();
    let ended =
        pipeline(args!["run", "no-such-file.jsonl", "--tokenizer", tokenizer(), "--out", dir.path().join("out")]);
    assert!(matches!(ended.code, Some(1 | 2)), "{ended}");
    ended.no_panic().says("no-such-file.jsonl");
}

#[test]
fn an_unknown_config_key_is_refused_with_line_and_suggestion() {
    let dir = temp_dir();
    let config = write(dir.path(), "config.toml", b"[split]\nseed = 1\nval_fractoin = 0.1\n");
    let out = dir.path().join("out");
    let ended = pipeline(args!["run", example(), "--config", config, "--tokenizer", tokenizer(), "--out", out]);
    ended.code_is(2).says("config.toml:3").says("val_fraction");
}

#[test]
fn a_filter_over_the_whole_column_is_refused_before_work() {
    let dir = temp_dir();
    let out = dir.path().join("out");
    let flags =
        args!["run", example(), "--tokenizer", tokenizer(), "--out", &out, "--where", "perplexity < AVG(perplexity)"];
    pipeline(flags).code_is(2);
    assert!(!out.join("run/read").exists());
}

#[test]
fn a_folder_made_by_another_configuration_is_refused() {
    let dir = temp_dir();
    let out = dir.path().join("out");
    let run = |extra: &str| {
        pipeline(args!["run", example(), "--tokenizer", tokenizer(), "--out", &out, "--max-chars", extra])
    };
    run("1000").ok();
    let before = dataset_tree(&out);
    run("900").code_is(4);
    assert_same_tree(&before, &dataset_tree(&out), "a refused run changes nothing");
    run("1000").ok();
    assert_same_tree(&before, &dataset_tree(&out), "a run of what is done changes nothing");
}

/// Waits until a condition holds.
#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(60), "waited a minute: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_second_run_on_the_same_folder_at_once_is_refused() {
    let dir = temp_dir();
    let out = dir.path().join("out");
    let arguments = || args!["run", "-", "--tokenizer", tokenizer(), "--out", &out];
    let mut command = pipeline_command(arguments());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut first = command.spawn().expect("the program starts");
    wait_until("the first run takes the folder", || {
        fs::read(out.join("run/lock")).is_ok_and(|bytes| !bytes.is_empty())
    });
    pipeline(arguments()).code_is(4).says(&first.id().to_string());
    let mut stdin = first.stdin.take().expect("a pipe");
    stdin.write_all(b"{\"text\": \"one document\"}\n").expect("the first run still reads");
    drop(stdin);
    let output = first.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", Ended::new(&command, output));
}

/// A run of many tasks that is sent a signal when some are done; the input it was reading.
struct Interrupted {
    dir: tempfile::TempDir,
}

impl Interrupted {
    fn arguments(&self, out: &str) -> Vec<std::ffi::OsString> {
        let dir = self.dir.path();
        args!["run", dir.join("input"), "--tokenizer", tokenizer(), "--out", dir.join(out)]
    }

    #[track_caller]
    fn make(signal: rustix::process::Signal, code: i32) -> Interrupted {
        let dir = temp_dir();
        made_up_folder(dir.path(), 31, 100, 80_000);
        let made = Interrupted { dir };
        let mut command = pipeline_command(made.arguments("interrupted"));
        command.stderr(Stdio::piped());
        let child = command.spawn().expect("the program starts");
        let folder = made.dir.path().join("interrupted/run/read");
        wait_until("some tasks are done", || fs::read_dir(&folder).is_ok_and(|entries| entries.count() > 4));
        let pid = rustix::process::Pid::from_raw(child.id() as i32).expect("a process number");
        rustix::process::kill_process(pid, signal).expect("a signal is sent");
        let ended = Ended::new(&command, child.wait_with_output().expect("it ends"));
        ended.code_is(code).no_panic().says("interrupted");
        made
    }
}

#[test]
fn an_interrupted_run_says_so_and_goes_on_later() {
    let interrupted = Interrupted::make(rustix::process::Signal::INT, 130);
    pipeline(interrupted.arguments("interrupted")).ok();
    pipeline(interrupted.arguments("whole")).ok();
    let tree = |out: &str| dataset_tree(&interrupted.dir.path().join(out));
    assert_same_tree(&tree("whole"), &tree("interrupted"), "after Ctrl-C");
}

#[test]
fn an_input_that_changed_since_the_plan_is_refused() {
    let interrupted = Interrupted::make(rustix::process::Signal::TERM, 143);
    write(interrupted.dir.path(), "input/0007.jsonl", &made_up_lines(32, 70_000));
    let ended = pipeline(interrupted.arguments("interrupted")).no_panic();
    assert!(matches!(ended.code, Some(1 | 4)), "{ended}");
    ended.says("0007.jsonl").says("changed");
}

#[test]
fn events_end_with_done_or_error() {
    let dir = temp_dir();
    let run = |tokenizer: &std::path::Path| {
        let out = dir.path().join("out");
        let ended = pipeline(args!["run", example(), "--tokenizer", tokenizer, "--out", out, "--json"]);
        let events: Vec<serde_json::Value> =
            ended.stdout.lines().map(|line| serde_json::from_str(line).expect("a line is an event")).collect();
        (ended.code, events.last().map(|event| event["event"].clone()))
    };
    assert_eq!(run(tokenizer()), (Some(0), Some("done".into())));
    let (code, last) = run(std::path::Path::new("no-such-tokenizer.json"));
    assert!(matches!(code, Some(1 | 2)));
    assert_eq!(last, Some("error".into()));
}

#[test]
fn every_example_config_fits_its_sample() {
    let samples = [
        ("industry-corpus", "sample.jsonl"),
        ("zh-wikipedia", "sample.json"),
        ("skypile", "sample.jsonl"),
        ("wudao", "sample.jsonl"),
        ("fineweb", "sample.parquet"),
    ];
    let dir = temp_dir();
    for (name, sample) in samples {
        let folder = root().join("examples").join(name);
        let (sample, config, out) = (folder.join(sample), folder.join("config.toml"), dir.path().join(name));
        let arguments = || args!["run", &sample, "--config", &config, "--tokenizer", tokenizer(), "--out", &out];
        let mut dry = arguments();
        dry.push("--dry-run".into());
        pipeline(dry).ok();
        assert!(!out.join("manifest.json").exists(), "{name}: a dry run writes nothing");
        pipeline(arguments()).ok();
        let dataset = tests::dataset::Dataset::open(&out);
        dataset.assert_ledger();
        assert!(dataset.number("/ledger/kept") > 0, "{name}: {:#}", dataset.manifest["ledger"]);
        assert_eq!(dataset.manifest["ledger"]["invalid"], serde_json::json!({}), "{name}");
    }
}

#[test]
fn two_tokenizers_are_compared_by_language_and_where_none_is_named_by_script() {
    let dir = temp_dir();
    let small = dir.path().join("small");
    let train = |out: &std::path::Path, size: &str| {
        pipeline(args!["tokenizer", "train", example(), "--vocab-size", size, "--out", out, "--json"]).ok().stdout
    };
    train(&small, "400");
    let lines = [
        r#"{"text":"plain words of English","lang":"en"}"#,
        r#"{"text":"other words","lang":"en"}"#,
        r#"{"text":"no language is named here"}"#,
        r#"{"text":"\u4e2d\u6587\u6587\u672c"}"#,
    ];
    let corpus = write(dir.path(), "corpus.jsonl", lines.join("\n").as_bytes());
    let compare = |inputs: &[&std::path::Path]| {
        let mut arguments = args!["tokenizer", "compare", &small, tokenizer(), "--json"];
        arguments.extend(inputs.iter().map(|path| path.as_os_str().to_owned()));
        serde_json::from_str::<serde_json::Value>(&pipeline(arguments).ok().stdout).expect("one event")
    };
    let event = compare(&[&corpus]);
    let groups: Vec<String> = event["groups"]
        .as_array()
        .expect("groups")
        .iter()
        .map(|group| format!("{} {} {}", group["by"], group["group"], group["documents"]).replace('"', ""))
        .collect();
    assert_eq!(groups, ["lang en 2", "script Han 1", "script Latin 1", "all all 4"]);
    let all = &event["groups"][3];
    let number = |key: &str| all[key].as_f64().expect("a number");
    assert_eq!(number("bytes"), 22.0 + 11.0 + 25.0 + 12.0);
    assert_eq!(number("tokens_a") * number("bytes_per_token_a"), number("bytes"));
    assert_eq!(number("tokens_per_document_b") * 4.0, number("tokens_b"));
    let vocabularies = compare(&[]);
    assert_eq!((vocabularies["vocab_size_a"].as_u64(), &vocabularies["groups"]), (Some(400), &serde_json::json!([])));
}

#[test]
fn a_corpus_of_more_distinct_words_than_memory_is_refused_and_threads_change_nothing() {
    let dir = temp_dir();
    let letters = |at: u64| (0..6).map(|place| char::from(b'a' + (at >> (4 * place) & 15) as u8)).collect::<String>();
    let words: String = (0..400_000).map(|at| format!("{{\"text\":\"{}\"}}\n", letters(at))).collect();
    let corpus = write(dir.path(), "corpus.jsonl", words.as_bytes());
    let train = |out: &str, more: &[&str]| {
        let mut arguments = args!["tokenizer", "train", &corpus, "--vocab-size", "300", "--out", dir.path().join(out)];
        arguments.extend(more.iter().map(|argument| (*argument).into()));
        pipeline(arguments)
    };
    train("none", &["--memory", "64MiB", "--threads", "1"])
        .code_is(1)
        .says("--memory allows")
        .says("sample of the corpus");
    let trained = |threads: &str| {
        train(threads, &["--threads", threads]).ok();
        fs::read(dir.path().join(threads).join("tokenizer.json")).expect("a tokenizer")
    };
    assert!(trained("1") == trained("3"));
}

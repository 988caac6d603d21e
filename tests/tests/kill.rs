//! Killed at any moment and run again, a run ends with the dataset an unbroken run makes, and redoes no finished task.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tests::args;
use tests::corpus::{Noise, made_up_folder, temp_dir, tokenizer, write};
use tests::program::{pipeline, pipeline_command, pipeline_path, was_killed};
use tests::strace::{self, Fault, Threads};
use tests::tree::{Tree, assert_same_tree, dataset_tree, file_identities};

/// A run to interrupt: small files in many tasks, so that every stage has several.
struct Job {
    dir: PathBuf,
    input: PathBuf,
    config: PathBuf,
    threads: &'static str,
    dedup: &'static str,
}

impl Job {
    fn make(dir: &Path, bytes: usize, threads: &'static str) -> Job {
        let input = made_up_folder(dir, 11, 4, bytes / 4);
        let text = format!(
            "[filter]\nwhere = \"perplexity < 1800\"\n[split]\nval_fraction = 0.1\n[output]\nshard_tokens = {}\n",
            bytes / 12
        );
        let config = write(dir, "config.toml", text.as_bytes());
        Job { dir: dir.to_owned(), input, config, threads, dedup: "exact" }
    }

    /// The same with near-duplicates, and every stage that finds them.
    fn with_near_duplicates(dir: &Path, texts: usize) -> Job {
        let job = Job::make(dir, 4_000, "1");
        let mut noise = Noise(23);
        let mut lines = String::new();
        for number in 0..texts {
            let words: Vec<String> = (0..60).map(|_| format!("w{}", noise.below(900))).collect();
            let text = words.join(" ");
            lines.push_str(&format!("{{\"text\": \"{text}\", \"perplexity\": 1}}\n"));
            if number % 3 == 0 {
                lines.push_str(&format!("{{\"text\": \"{text} and more\", \"perplexity\": 1}}\n"));
            }
        }
        write(&job.input, "0009.jsonl", lines.as_bytes());
        Job { dedup: "minhash", ..job }
    }

    fn args(&self, out: &Path) -> Vec<OsString> {
        args![
            "run",
            &self.input,
            "--config",
            &self.config,
            "--tokenizer",
            tokenizer(),
            "--out",
            out,
            "--threads",
            self.threads,
            "--dedup",
            self.dedup
        ]
    }

    fn unbroken(&self) -> Tree {
        let out = self.dir.join("unbroken");
        pipeline(self.args(&out)).ok();
        let tree = dataset_tree(&out);
        assert!(tree.len() > 10, "{:?}", tree.keys());
        tree
    }
}

/// Markers of finished tasks.
fn markers(out: &Path) -> Vec<String> {
    let files = file_identities(&out.join("run"));
    files.into_keys().filter(|name| name.ends_with(".done")).collect()
}

/// Runs again what was interrupted, and asserts that it ends as an unbroken run does and keeps what was finished.
#[track_caller]
fn assert_finishes(job: &Job, out: &Path, wanted: &Tree, what: &str) {
    let finished = markers(out);
    let (ended, log) = strace::renames(&pipeline_path(), &job.args(out), &job.dir.join("renames.log"));
    assert_eq!(ended.code, Some(0), "{what}\n{ended}");
    for marker in &finished {
        assert!(!log.contains(&format!("/{marker}\"")), "{what}: {marker} was done and is done again\n{log}");
    }
    assert_same_tree(wanted, &dataset_tree(out), what);
}

/// About `most` of the numbers 1..=count, evenly, the first and the last among them.
fn sampled(count: u64, most: u64) -> Vec<u64> {
    let most = most.min(count);
    let mut numbers: Vec<u64> = (0..most).map(|n| 1 + n * (count - 1) / (most - 1).max(1)).collect();
    numbers.dedup();
    numbers
}

/// Upper bound on kills, from the environment.
fn kills(default: u64) -> u64 {
    std::env::var("SHARDMILL_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
#[ignore = "needs strace"]
fn killed_at_every_write_fsync_and_rename() {
    assert!(strace::is_present(), "strace is missing, or may not trace");
    let dir = temp_dir();
    let job = Job::make(dir.path(), 24_000, "1");
    let wanted = job.unbroken();
    for threads in Threads::WAYS {
        let (counted, log) = (dir.path().join("counted"), dir.path().join("count.log"));
        let _ = fs::remove_dir_all(&counted);
        let counts = strace::count(threads, &pipeline_path(), &job.args(&counted), &log);
        eprintln!("{threads:?}: calls in the busiest thread: {counts:?}");
        for (call, count) in counts {
            for when in sampled(count, kills(150)) {
                kill_at(&job, &wanted, Fault { threads, call, what: "signal=KILL", when });
            }
        }
    }
}

#[test]
#[ignore = "needs strace"]
fn killed_while_near_duplicates_are_found() {
    assert!(strace::is_present(), "strace is missing, or may not trace");
    let dir = temp_dir();
    let job = Job::with_near_duplicates(dir.path(), 60);
    let wanted = job.unbroken();
    let manifest = String::from_utf8_lossy(&wanted["manifest.json"]).into_owned();
    assert!(manifest.contains("\"near\": 20"), "twenty near-duplicates go\n{manifest}");
    let threads = Threads::All;
    let counts =
        strace::count(threads, &pipeline_path(), &job.args(&dir.path().join("counted")), &dir.path().join("log"));
    for (call, count) in counts {
        for when in sampled(count, kills(20)) {
            kill_at(&job, &wanted, Fault { threads, call, what: "signal=KILL", when });
        }
    }
}

fn kill_at(job: &Job, wanted: &Tree, fault: Fault<'_>) {
    let out = job.dir.join("killed");
    let _ = fs::remove_dir_all(&out);
    let ended = strace::inject(fault, &pipeline_path(), &job.args(&out));
    assert_eq!(ended.signal, Some(9), "{fault:?}: no SIGKILL\n{ended}");
    assert_finishes(job, &out, wanted, &format!("{fault:?}"));
}

#[test]
#[ignore = "needs strace"]
fn killed_at_random_times_on_two_threads() {
    let dir = temp_dir();
    let job = Job::make(dir.path(), 400_000, "2");
    let wanted = job.unbroken();
    // The time a run takes, shortened whenever one ends before its kill: what else the machine does may change it.
    let mut whole = Duration::from_secs(5);
    let mut noise = Noise(2026);
    let (mut killed, wished) = (0, kills(200));
    for round in 0.. {
        if killed == wished {
            break;
        }
        assert!(round < wished * 10, "{killed} kills in {round} runs: the runs end too early");
        let out = dir.path().join("killed");
        let _ = fs::remove_dir_all(&out);
        // One run in four is killed twice before it may finish.
        let strikes = 1 + u64::from(noise.below(4) == 0);
        let mut struck = false;
        for _ in 0..strikes {
            let moment = Duration::from_micros(noise.below(whole.as_micros() as u64));
            match kill_after(&job, &out, moment) {
                None => struck = true,
                Some(took) => whole = whole.min(took),
            }
        }
        if struck {
            killed += 1;
            assert_finishes(&job, &out, &wanted, &format!("random kill {killed} in round {round}"));
        }
    }
}

/// Starts the run and kills it at that moment; the time it took where it had ended by then.
fn kill_after(job: &Job, out: &Path, moment: Duration) -> Option<Duration> {
    let mut command = pipeline_command(job.args(out));
    command.stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    let started = Instant::now();
    let mut child = command.spawn().expect("the program starts");
    let mut ended = None;
    while ended.is_none() && started.elapsed() < moment {
        std::thread::sleep((moment - started.elapsed().min(moment)).min(Duration::from_micros(500)));
        ended = child.try_wait().expect("the program is watched");
    }
    let took = started.elapsed();
    child.kill().expect("a signal is sent");
    let ended = child.wait().expect("the program ends");
    (!was_killed(ended)).then_some(took)
}

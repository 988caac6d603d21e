//! The program as a person runs it: flags, exit codes, signals, and being killed.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const SHAPE: &[&str] = &[
    "--dim",
    "32",
    "--n_layers=2",
    "--n-heads",
    "4",
    "--max-seq-len",
    "32",
    "--vocab-size",
    "40",
    "--hidden-dim",
    "48",
];

fn write_tokens(folder: &Path) -> String {
    let path = folder.join("tokens.bin");
    let bytes: Vec<u8> = (0..6000u32).flat_map(|i| ((i * i % 97 % 40) as u16).to_le_bytes()).collect();
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

fn trainer(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn pretrain(data: &str, out: &Path, more: &[&str]) -> Command {
    let mut command = trainer(&["pretrain", "--data_path", data, "--out_dir", &out.display().to_string()]);
    command.args(SHAPE).args(["--batch_size", "4", "--accumulation_steps=2", "--threads", "1", "--dtype", "float32"]);
    command.args(["--learning-rate", "1e-3", "--num-workers", "2"]).args(more);
    command
}

fn run(mut command: Command) -> Output {
    command.output().unwrap()
}

/// Steps and losses of a run, without rates.
fn losses(out: &Path) -> Vec<(u64, f64)> {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap_or_default();
    let record = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        Some((value["step"].as_u64()?, value["loss"].as_f64()?))
    };
    text.lines().filter_map(record).collect()
}

fn wait_for_steps(child: &mut Child, out: &Path, steps: usize) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while losses(out).len() < steps {
        assert!(child.try_wait().unwrap().is_none(), "the run ended early");
        assert!(Instant::now() < deadline, "no step was made");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_run_ends_with_0_an_event_and_a_checkpoint_that_generates() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (write_tokens(folder.path()), folder.path().join("out"));
    let output = run(pretrain(&data, &out, &["--max_steps", "6", "--save-interval", "3", "--json"]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let last: serde_json::Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["step"]), (&"done".into(), &6.into()));
    assert_eq!(std::fs::read_to_string(out.join("checkpoints/latest")).unwrap(), "step-00000006\n");
    let generate = ["generate", "--checkpoint", &out.display().to_string(), "--prompt-ids", "1,2,3"];
    let output = run(trainer(&[&generate[..], &["--max-new-tokens", "5", "--temperature", "0"]].concat()));
    assert_eq!(String::from_utf8(output.stdout).unwrap().split_whitespace().count(), 5);
}

#[test]
fn a_run_killed_at_any_moment_goes_on_to_the_same_losses() {
    let folder = tempfile::tempdir().unwrap();
    let data = write_tokens(folder.path());
    let (unbroken, broken) = (folder.path().join("unbroken"), folder.path().join("broken"));
    // A checkpoint after every other step, so that kills fall into saves too.
    let flags = ["--max-steps", "40", "--save-interval", "2", "--keep-last", "2"];
    assert!(run(pretrain(&data, &unbroken, &flags)).status.success());
    for steps in [1, 4, 9, 17, 26] {
        let mut child = pretrain(&data, &broken, &flags).spawn().unwrap();
        wait_for_steps(&mut child, &broken, steps);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(run(pretrain(&data, &broken, &flags)).status.success());
    assert_eq!(losses(&broken), losses(&unbroken));
    let weights = |out: &Path| std::fs::read(out.join("checkpoints/step-00000040/model.safetensors")).unwrap();
    assert!(weights(&broken) == weights(&unbroken));
}

/// Sends a signal after three steps; returns the exit code, having checked that the last step was saved.
fn stopped_by(signal: rustix::process::Signal) -> Option<i32> {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (write_tokens(folder.path()), folder.path().join("out"));
    let flags = ["--max-steps", "100000", "--save-interval", "0"];
    let mut child = pretrain(&data, &out, &flags).spawn().unwrap();
    wait_for_steps(&mut child, &out, 3);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
    let code = child.wait().unwrap().code();
    let saved = std::fs::read_to_string(out.join("checkpoints/latest")).unwrap();
    assert_eq!(saved.trim(), format!("step-{:08}", losses(&out).len()));
    code
}

#[test]
fn sigterm_and_sigusr1_save_and_exit_with_0_and_sigint_with_130() {
    use rustix::process::Signal;
    assert_eq!([Signal::TERM, Signal::USR1, Signal::INT].map(stopped_by), [Some(0), Some(0), Some(130)]);
}

#[test]
fn a_time_limit_saves_and_exits_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (write_tokens(folder.path()), folder.path().join("out"));
    let flags = ["--max-steps", "1000000", "--save-interval", "0", "--time-limit", "2s"];
    assert_eq!(run(pretrain(&data, &out, &flags)).status.code(), Some(0));
    let saved = std::fs::read_to_string(out.join("checkpoints/latest")).unwrap();
    assert_eq!(saved.trim(), format!("step-{:08}", losses(&out).len()));
}

/// Starts the ranks of a run as torchrun would, on a port that is free.
fn start_ranks(size: usize, arguments: impl Fn() -> Command) -> Vec<Child> {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let start = |rank: usize| {
        let mut command = arguments();
        command.env("RANK", rank.to_string()).env("LOCAL_RANK", rank.to_string());
        command.env("WORLD_SIZE", size.to_string()).env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", &port);
        command.spawn().unwrap()
    };
    (0..size).map(start).collect()
}

#[test]
fn two_and_four_processes_have_the_losses_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = write_tokens(folder.path());
    let run_of = |size: usize| {
        let out = folder.path().join(format!("out-{size}"));
        let accumulation = format!("{}", 4 / size);
        let flags = ["--max-steps", "8", "--batch-size", "2", "--accumulation-steps", &accumulation, "--ddp"];
        let flags = if size == 1 { &flags[..6] } else { &flags[..] };
        if size == 1 {
            assert!(run(pretrain(&data, &out, flags)).status.success());
        } else {
            for child in start_ranks(size, || pretrain(&data, &out, flags)) {
                let output = child.wait_with_output().unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
        }
        losses(&out)
    };
    let one = run_of(1);
    assert_eq!(one.len(), 8);
    for size in [2, 4] {
        let of_ranks = run_of(size);
        assert_eq!(of_ranks.len(), 8);
        for (a, b) in of_ranks.iter().zip(&one) {
            assert!((a.1 - b.1).abs() < 1e-4 * b.1, "{size} ranks: {a:?}, one: {b:?}");
        }
    }
}

#[test]
fn a_rank_that_is_killed_ends_the_others_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (write_tokens(folder.path()), folder.path().join("out"));
    let mut ranks = start_ranks(3, || pretrain(&data, &out, &["--max-steps", "100000"]));
    wait_for_steps(&mut ranks[0], &out, 3);
    ranks[1].kill().unwrap();
    for (rank, child) in ranks.into_iter().enumerate().filter(|(rank, _)| *rank != 1) {
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && stderr.contains("has gone"), "rank {rank}: {stderr}");
    }
}

#[test]
fn ddp_without_a_launcher_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (write_tokens(folder.path()), folder.path().join("out"));
    let output = run(pretrain(&data, &out, &["--ddp"]));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("neither torchrun nor Slurm nor Open MPI"));
}

#[test]
fn wrong_usage_and_settings_exit_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (write_tokens(folder.path()), folder.path().join("out"));
    assert_eq!(run(trainer(&["pretrain", "--no-such-flag"])).status.code(), Some(2));
    for flags in [["--n-kv-heads", "3"], ["--device", "cuda:0"], ["--dropout", "1.5"], ["--warmup_iters", "-1"]] {
        assert_eq!(run(pretrain(&data, &out, &flags)).status.code(), Some(2), "{flags:?}");
    }
    assert!(!out.exists(), "nothing is made before settings are checked");
}

#[test]
fn an_error_has_a_hint_and_an_event() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (write_tokens(folder.path()), folder.path().join("out"));
    let output = run(pretrain(&data, &out, &["--vocab-size", "10", "--max-steps", "2", "--json"]));
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("below the vocabulary of 10") && stderr.contains("hint: "), "{stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.lines().last().unwrap().contains("\"event\":\"error\""));
}

#[test]
fn a_folder_of_another_run_exits_with_4() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (write_tokens(folder.path()), folder.path().join("out"));
    assert!(run(pretrain(&data, &out, &["--max-steps", "2"])).status.success());
    assert_eq!(run(pretrain(&data, &out, &["--max-steps", "2", "--seed", "9"])).status.code(), Some(4));
    assert_eq!(run(pretrain(&data, &out, &["--max-steps", "2", "--resume", "none"])).status.code(), Some(4));
}

#[test]
fn a_damaged_checkpoint_is_named_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (write_tokens(folder.path()), folder.path().join("out"));
    assert!(run(pretrain(&data, &out, &["--max-steps", "2"])).status.success());
    let path = out.join("checkpoints/step-00000002/model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let output = run(pretrain(&data, &out, &["--max-steps", "4"]));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("model.safetensors: sha256") && stderr.contains("--resume with an earlier"), "{stderr}");
}

#[test]
fn info_shows_the_parameters_of_the_26m_model() {
    let output = run(trainer(&["info"]));
    assert!(String::from_utf8(output.stdout).unwrap().contains("26,878,464"));
}

//! `pipeline launch`: the dataset of a cluster is that of a local run, byte for byte, whatever dies on the way.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::args;
use tests::corpus::{temp_dir, tokenizer, write};
use tests::families::{input_of, made_texts};
use tests::program::{Ended, pipeline, pipeline_command, pipeline_path};
use tests::tree::{Tree, assert_same_tree, dataset_tree};

/// Families whose members lie in different files, so in different tasks.
fn made_folder(dir: &Path, families: usize) -> PathBuf {
    let folder = dir.join("input");
    std::fs::create_dir_all(&folder).expect("a folder");
    let texts = made_texts(families, 31);
    for (number, part) in texts.chunks(texts.len().div_ceil(7)).enumerate() {
        let from = input_of(&dir.join(format!("part{number}")), part);
        std::fs::rename(from, folder.join(format!("{number:02}.jsonl"))).expect("moved");
    }
    folder
}

fn arguments(command: &str, input: &Path, out: &Path) -> Vec<OsString> {
    let flags = args!["--dedup", "minhash", "--val-fraction", "0.05", "--memory", "256MiB"];
    [args![command, input, "--tokenizer", tokenizer(), "--out", out], flags].concat()
}

/// What a local run makes of the input, and the folder of the same run, planned.
fn planned(dir: &Path, families: usize) -> (Tree, PathBuf) {
    let input = made_folder(dir, families);
    let (local, out) = (dir.join("local"), dir.join("out"));
    pipeline(arguments("run", &input, &local)).ok();
    pipeline(arguments("plan", &input, &out)).ok();
    (dataset_tree(&local), out)
}

fn executable(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = write(dir, name, text.as_bytes());
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("permissions");
    path
}

#[test]
fn shares_as_processes_make_the_dataset_of_a_run_though_one_of_each_stage_is_killed() {
    let dir = temp_dir();
    let (local, out) = planned(dir.path(), 120);
    // Share 0 of every stage is killed with -9 the first time.
    let program = pipeline_path();
    let script = format!(
        "#!/bin/bash\nstage=$5; case \"$*\" in *'--share 0/'*) if mkdir {0}/killed-$stage 2>/dev/null; then\n\
         {1} \"$@\" & sleep 0.02; kill -9 $!; exit 1; fi;; esac\nexec {1} \"$@\"\n",
        dir.path().display(),
        program.display()
    );
    let script = executable(dir.path(), "killer", &script);
    let launch = args!["launch", "--run", &out, "--on", "local", "--jobs", "3", "--program", &script];
    pipeline(launch.clone()).ok().says("stage read: shares 0 of 3 failed and are tried again");
    assert_same_tree(&local, &dataset_tree(&out), "three jobs a stage");
    assert!(dir.path().join("killed-cluster").exists() && dir.path().join("killed-write").exists());
    pipeline(launch).ok().says("is committed already");
}

#[test]
fn a_share_that_always_fails_stops_the_launch_and_the_next_one_finishes_the_work() {
    let dir = temp_dir();
    let (local, out) = planned(dir.path(), 30);
    let program = pipeline_path();
    let script = format!("#!/bin/bash\n[ $5 = verify ] && exit 9\nexec {} \"$@\"\n", program.display());
    let script = executable(dir.path(), "failing", &script);
    let launch = args!["launch", "--run", &out, "--on", "local", "--jobs", "2", "--retries", "1"];
    let failed = pipeline([launch.clone(), args!["--program", &script]].concat()).code_is(1);
    failed.says("local: stage verify: shares 0, 1 of 2 failed 2 times");
    let read = std::fs::metadata(out.join("run/read/000000.done")).expect("a marker").modified().expect("a time");
    let listed = pipeline([launch.clone(), args!["--dry-run"]].concat()).ok();
    assert!(!listed.stdout.contains("--stage read") && listed.stdout.contains("--stage verify"), "{listed}");
    let marker = out.join("run/read/000000.done");
    assert_eq!(std::fs::metadata(marker).expect("a marker").modified().expect("a time"), read);
    pipeline(launch).ok();
    assert_same_tree(&local, &dataset_tree(&out), "after a launch that failed");
}

#[test]
fn a_plan_with_relative_paths_is_executed_from_any_folder() {
    let dir = temp_dir();
    let input = made_folder(dir.path(), 20);
    let relative = |command: &str, out: &str| {
        let mut command = pipeline_command(args![command, "input", "--tokenizer", tokenizer(), "--out", out]);
        let output = command.current_dir(dir.path()).output().expect("it starts");
        Ended::new(&command, output).ok();
    };
    assert!(input.is_dir());
    relative("run", "local");
    relative("plan", "out");
    pipeline(args!["launch", "--run", dir.path().join("out"), "--on", "local", "--jobs", "2"]).ok();
    assert_same_tree(&dataset_tree(&dir.path().join("local")), &dataset_tree(&dir.path().join("out")), "elsewhere");
}

#[test]
fn a_share_before_its_time_is_refused() {
    let dir = temp_dir();
    let (_, out) = planned(dir.path(), 10);
    let share = |share: &str| pipeline(args!["task", "--run", &out, "--stage", "dedup", "--share", share]);
    share("0/2").code_is(1).says("expected stage read to be done");
    share("2/2").code_is(2).says("expected I/N with I below N");
    pipeline(args!["task", "--run", &out, "--stage", "commit"]).code_is(1);
}

#[test]
fn what_would_be_submitted_to_slurm_and_kubernetes_is_printed() {
    let dir = temp_dir();
    let (_, out) = planned(dir.path(), 10);
    let launch = |more: &[&str]| {
        let mut arguments = args!["launch", "--run", &out, "--jobs", "4", "--cpus", "2", "--retries", "5"];
        arguments.extend(more.iter().map(OsString::from));
        pipeline(arguments).ok().stdout
    };
    let slurm =
        launch(&["--on", "slurm", "--dry-run", "--partition", "long", "--time", "1:00:00", "--option=--account=a"]);
    for line in
        ["--array=0,1,2,3", "--partition=long", "--time=1:00:00", "--account=a", "--cpus-per-task=2", "--mem=256M"]
    {
        assert!(slurm.contains(&format!("#SBATCH {line}\n")), "{line} in {slurm}");
    }
    let manifest = launch(&["--on", "k8s", "--image", "registry/x:1"]);
    let jobs: Vec<Value> =
        manifest.split("---\n").skip(1).map(|job| serde_json::from_str(job).expect("a document")).collect();
    assert_eq!(jobs.iter().filter(|job| job["spec"]["suspend"] == false).count(), 1);
    let read = &jobs[0]["spec"];
    assert_eq!((&read["completionMode"], &read["completions"]), (&"Indexed".into(), &4.into()));
    let command = read["template"]["spec"]["containers"][0]["command"].to_string();
    assert!(command.contains("\"--share\",\"$(JOB_COMPLETION_INDEX)/4\""), "{command}");
}

fn script(name: &str) -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts").join(name))
}

/// A Slurm cluster that ends with this value.
struct Slurm(PathBuf);

impl Slurm {
    fn start(dir: &Path) -> Slurm {
        let slurm = Slurm(dir.join("slurm"));
        slurm.does(&["start"]);
        slurm
    }

    fn does(&self, action: &[&str]) {
        let mut command = script("slurm-cluster.sh");
        command.arg(action[0]).arg(&self.0).args(&action[1..]);
        let output = command.output().expect("it starts");
        Ended::new(&command, output).ok();
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        let _ = script("slurm-cluster.sh").arg("stop").arg(&self.0).output(); // a test that failed has said so
    }
}

/// Waits until a path exists.
fn wait_for(path: &Path) {
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < Duration::from_secs(120), "{} does not appear", path.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs cluster-setup"]
fn slurm_makes_the_dataset_of_a_local_run_though_a_node_and_the_controller_die() {
    let dir = temp_dir();
    let (local, out) = planned(dir.path(), 300);
    let slurm = Slurm::start(dir.path());
    let launch = args!["launch", "--run", &out, "--on", "slurm", "--jobs", "4", "--wait"];
    let mut command = pipeline_command(launch);
    command.env("SLURM_CONF", slurm.0.join("slurm.conf"));
    let launched = std::thread::spawn(move || {
        let output = command.output().expect("it starts");
        Ended::new(&command, output)
    });
    wait_for(&out.join("run/signatures"));
    slurm.does(&["kill-node", "1"]);
    std::thread::sleep(Duration::from_secs(2));
    slurm.does(&["start-node", "1"]);
    wait_for(&out.join("run/verify/000000.done"));
    slurm.does(&["kill-controller"]);
    std::thread::sleep(Duration::from_secs(2));
    slurm.does(&["start-controller"]);
    launched.join().expect("it ends").ok();
    assert_same_tree(&local, &dataset_tree(&out), "on Slurm");
}

#[test]
#[ignore = "needs cluster-setup"]
fn ray_makes_the_dataset_of_a_local_run_though_a_node_dies() {
    let dir = temp_dir();
    let (local, out) = planned(dir.path(), 300);
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("../target"), PathBuf::from);
    let bin = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join("ray/bin");
    let python = bin.join("python");
    let program = script("ray-cluster.py");
    let mut cluster = Command::new(&python);
    cluster.arg(program.get_program()).arg(dir.path().join("address")).arg(out.join("run/signatures"));
    let mut cluster = cluster.spawn().expect("it starts");
    wait_for(&dir.path().join("address"));
    let address = std::fs::read_to_string(dir.path().join("address")).expect("an address");
    let launch = args![
        "launch",
        "--run",
        &out,
        "--on",
        "ray",
        "--jobs",
        "4",
        "--ray-address",
        address.trim(),
        "--python",
        &python
    ];
    let ended = pipeline(launch);
    std::fs::remove_file(dir.path().join("address")).expect("the address");
    cluster.wait().expect("the cluster ends");
    ended.ok().says("stage signatures: 4 shares");
    assert!(dir.path().join("address.killed").exists(), "no node was killed");
    assert_same_tree(&local, &dataset_tree(&out), "on Ray");
}

//! The bridge to Weights & Biases: a small Python program that follows `metrics.jsonl` with the package that is
//! installed there. It is looked for before training starts; this program speaks to no network.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

const SCRIPT: &str = include_str!("wandb_bridge.py");

/// How long the bridge may take to send what is left.
const PATIENCE: Duration = Duration::from_secs(120);

/// The Python that has the package: `$PYTHON`, else `python3`.
fn python() -> PathBuf {
    std::env::var_os("PYTHON").map_or_else(|| "python3".into(), PathBuf::from)
}

/// Refuses where the package cannot be imported.
///
/// # Errors
/// [`Error::Config`] with what Python said.
pub fn check() -> Result<()> {
    let python = python();
    let refuse = |problem: String| Err(Error::Config { field: "use_wandb", problem });
    match Command::new(&python).args(["-c", "import wandb"]).stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().last().unwrap_or("it failed without a word").trim();
            refuse(format!(
                "{} cannot import wandb ({last}); pip install wandb, or leave the flag out",
                python.display()
            ))
        }
        Err(error) => {
            refuse(format!("{} does not start ({error}); set PYTHON to one that has wandb", python.display()))
        }
    }
}

/// The running bridge.
#[derive(Debug)]
pub struct Bridge {
    child: Child,
}

impl Bridge {
    /// Starts it for the run of an output folder with these settings.
    ///
    /// # Errors
    /// Where Python does not start.
    pub fn start(out: &Path, project: &str, config: &serde_json::Value) -> Result<Bridge> {
        let mut command = Command::new(python());
        // It ends when this pipe closes, which also happens when this process is killed.
        command.args(["-c", SCRIPT]).arg(out).args([project, &config.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        Ok(Bridge { child: command.spawn().map_err(Error::io(&python()))? })
    }

    /// Lets it send what is left; returns what went wrong.
    pub fn finish(mut self) -> Option<String> {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return None,
                Ok(Some(status)) => return Some(format!("wandb: the bridge ended with {status}")),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
                Ok(None) | Err(_) => break,
            }
        }
        // Nothing can be done about a process that does not even die.
        let _ = self.child.kill().and_then(|()| self.child.wait());
        Some(format!("wandb: the bridge was ended after {} s; metrics.jsonl has everything", PATIENCE.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAKE: &str = r#"
import json, os
class Run:
    id = "fake-id"
    def log(self, values, step): print(json.dumps([step, values]), file=out, flush=True)
    def finish(self): print("finished", file=out, flush=True)
def init(**settings):
    global out
    out = open(os.environ["FAKE_WANDB_LOG"], "a")
    print(json.dumps(settings, sort_keys=True), file=out, flush=True)
    return Run()
"#;

    /// Runs the bridge over `out` against a package that only writes down what it is told.
    fn bridged(out: &Path, write: impl FnOnce(&Path)) -> String {
        let package = tempfile::tempdir().unwrap();
        std::fs::write(package.path().join("wandb.py"), FAKE).unwrap();
        let log = package.path().join("log");
        let mut command = Command::new("python3");
        command.args(["-c", SCRIPT]).arg(out).args(["project", r#"{"dim": 8}"#]).stdin(Stdio::piped());
        command.env("PYTHONPATH", package.path()).env("FAKE_WANDB_LOG", &log);
        let bridge = Bridge { child: command.spawn().unwrap() };
        write(out);
        assert_eq!(bridge.finish(), None);
        std::fs::read_to_string(log).unwrap()
    }

    #[test]
    fn every_line_is_sent_once_and_the_run_goes_on_under_its_id() {
        let out = tempfile::tempdir().unwrap();
        let metrics = out.path().join("metrics.jsonl");
        std::fs::write(&metrics, "{\"step\": 1, \"loss\": 2.0}\n").unwrap();
        let log = bridged(out.path(), |_| {
            let mut file = std::fs::File::options().append(true).open(&metrics).unwrap();
            std::io::Write::write_all(&mut file, b"{\"step\": 2, \"loss\": 1.5}\n{\"ste").unwrap();
        });
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines[1..], ["[1, {\"loss\": 2.0}]", "[2, {\"loss\": 1.5}]", "finished"]);
        assert!(lines[0].contains("\"project\": \"project\"") && lines[0].contains("\"id\": null"));
        let again = bridged(out.path(), |_| ());
        assert!(again.lines().next().unwrap().contains("\"id\": \"fake-id\""), "{again}");
    }

    #[test]
    fn a_missing_package_is_refused_with_the_way_out() {
        // -I: nothing but the standard library can be imported.
        let output = Command::new("python3").args(["-I", "-S", "-c", "import wandb"]).output().unwrap();
        assert!(!output.status.success(), "the test's premise: no such package in the standard library");
        if let Err(error) = check() {
            assert!(error.to_string().contains("pip install wandb"), "{error}");
        }
    }
}

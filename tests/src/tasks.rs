//! A run whose tasks are processes of their own.

use std::ffi::OsString;
use std::path::Path;

use serde_json::Value;

use crate::args;
use crate::program::pipeline;

/// Plans a run (`plan` and its arguments) and executes its tasks one by one, later ranks first, up to the commit.
pub fn one_by_one(plan: Vec<OsString>, out: &Path) {
    pipeline(plan).ok();
    loop {
        let status = pipeline(args!["status", out, "--json"]).ok();
        let status: Value = serde_json::from_str(status.stdout.lines().last().unwrap_or_default()).expect("an event");
        let stages = status["stages"].as_array().expect("stages");
        let open = stages.iter().find(|stage| stage["missing"].as_array().is_some_and(|missing| !missing.is_empty()));
        let Some(stage) = open else { break };
        let name = stage["stage"].as_str().expect("a name");
        for rank in stage["missing"].as_array().expect("ranks").iter().rev() {
            pipeline(args!["task", "--run", out, "--stage", name, "--rank", rank.to_string()]).ok();
        }
    }
    pipeline(args!["task", "--run", out, "--stage", "commit"]).ok();
}

//! The import direction is the architecture: `schemas <- shards <- {pipeline, trainer} <- tests`.
//!
//! Read from `cargo metadata`, so that a dependency added in passing is seen, and one that comes through another crate.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

const WORKSPACE: [&str; 5] = ["pipeline", "schemas", "shards", "tests", "trainer"];

/// What is built on this machine: crates of other platforms need not have been downloaded.
fn metadata() -> Metadata {
    let version = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    let options = ["--offline", "--filter-platform", host].map(str::to_owned).to_vec();
    MetadataCommand::new().other_options(options).exec().expect("cargo metadata runs")
}

/// Names of the packages that `package` needs to be built and run, itself left out; build scripts' needs are not
/// followed, nor are what tests need.
fn tree(metadata: &Metadata, package: &str) -> BTreeSet<String> {
    let resolve = metadata.resolve.as_ref().expect("metadata is resolved");
    let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let root = metadata.workspace_packages().into_iter().find(|member| member.name.as_str() == package);
    let mut open = vec![&root.unwrap_or_else(|| panic!("no member {package}")).id];
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        for dependency in &nodes[id].deps {
            let normal = dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal);
            if normal && seen.insert(&dependency.pkg) {
                open.push(&dependency.pkg);
            }
        }
    }
    seen.into_iter().map(|id| metadata[id].name.to_string()).collect()
}

fn members_in(tree: &BTreeSet<String>) -> Vec<&str> {
    tree.iter().map(String::as_str).filter(|name| WORKSPACE.contains(name)).collect()
}

#[track_caller]
fn assert_none(tree: &BTreeSet<String>, forbidden: &[&str]) {
    let found: Vec<_> = tree.iter().filter(|name| forbidden.iter().any(|word| name.starts_with(word))).collect();
    assert!(found.is_empty(), "found {found:?}");
}

#[test]
fn members_import_in_one_direction() {
    let metadata = metadata();
    assert!(members_in(&tree(&metadata, "schemas")).is_empty());
    assert_eq!(members_in(&tree(&metadata, "shards")), ["schemas"]);
    assert_eq!(members_in(&tree(&metadata, "pipeline")), ["schemas", "shards"]);
    assert_eq!(members_in(&tree(&metadata, "trainer")), ["schemas", "shards"]);
}

#[test]
fn every_member_is_known_here() {
    let metadata = metadata();
    let mut members: Vec<_> = metadata.workspace_packages().iter().map(|member| member.name.to_string()).collect();
    members.sort();
    assert_eq!(members, WORKSPACE);
}

#[test]
fn no_polars_in_trainer() {
    assert_none(&tree(&metadata(), "trainer"), &["polars"]);
}

#[test]
fn no_candle_in_pipeline() {
    assert_none(&tree(&metadata(), "pipeline"), &["candle"]);
}

#[test]
fn neither_polars_nor_candle_in_shards() {
    assert_none(&tree(&metadata(), "shards"), &["polars", "candle"]);
}

#[test]
fn schemas_has_no_crate_that_does_io() {
    let io = ["parquet", "zstd", "flate2", "rustix", "tempfile", "object_store", "tokio", "memmap2", "polars"];
    assert_none(&tree(&metadata(), "schemas"), &io);
}

#[test]
fn schemas_source_names_no_file_network_or_process() {
    let root = metadata().workspace_root.join("schemas/src");
    let files: Vec<_> =
        std::fs::read_dir(&root).expect("schemas/src").map(|entry| entry.expect("an entry").path()).collect();
    assert!(!files.is_empty());
    for path in files {
        let source = std::fs::read_to_string(&path).expect("source is text");
        for word in ["std::fs", "std::net", "std::process", "File::open", "std::io"] {
            assert!(!source.contains(word), "{} uses {word}", path.display());
        }
    }
}

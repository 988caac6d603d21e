//! Every file of a dataset but `run/`, and where two datasets differ.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Files by path relative to the dataset, with their bytes.
pub type Tree = BTreeMap<String, Vec<u8>>;

/// Reads every file under `dir` but `run/`, which is not part of a dataset's identity.
pub fn dataset_tree(dir: &Path) -> Tree {
    let mut tree = Tree::new();
    collect(dir, dir, &mut tree);
    tree.retain(|path, _| path != "run" && !path.starts_with("run/"));
    tree
}

fn collect(root: &Path, dir: &Path, tree: &mut Tree) {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    for entry in entries {
        let path = entry.expect("a folder entry").path();
        if path.is_dir() {
            collect(root, &path, tree);
        } else {
            let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
            tree.insert(name, fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
        }
    }
}

/// Asserts that two datasets are the same bytes, file by file, naming the first difference.
#[track_caller]
pub fn assert_same_tree(left: &Tree, right: &Tree, what: &str) {
    let names = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(left), names(right), "{what}: other files");
    for (name, bytes) in left {
        let other = &right[name];
        if bytes != other {
            let at = bytes.iter().zip(other).position(|(a, b)| a != b).unwrap_or(bytes.len().min(other.len()));
            let excerpt = |bytes: &[u8]| {
                let end = bytes.len().min(at + 60);
                String::from_utf8_lossy(&bytes[at.saturating_sub(60).min(end)..end]).into_owned()
            };
            panic!(
                "{what}: {name} differs at byte {at} ({} and {} bytes)\n{}\n{}",
                bytes.len(),
                other.len(),
                excerpt(bytes),
                excerpt(other)
            );
        }
    }
}

/// Inode and modification time of every file under `dir`: what changes when a file is written again.
pub fn file_identities(dir: &Path) -> BTreeMap<String, (u64, i64, i64)> {
    use std::os::unix::fs::MetadataExt;
    let mut tree = Tree::new();
    if dir.exists() {
        collect(dir, dir, &mut tree);
    }
    let identity = |name: &String| {
        let meta = fs::metadata(dir.join(name)).expect("it was there a moment ago");
        (meta.ino(), meta.mtime(), meta.mtime_nsec())
    };
    tree.keys().map(|name| (name.clone(), identity(name))).collect()
}

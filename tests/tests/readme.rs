//! What README and documents show is what the programs say: their `console` blocks are run in a folder like a fresh
//! clone, one after the other.

use tests::corpus::{root, temp_dir};
use tests::program::{pipeline_path, trainer_path};

#[test]
fn transcripts_are_true() {
    for document in ["README.md", "README.zh-CN.md", "docs/*.md"] {
        let dir = temp_dir();
        std::os::unix::fs::symlink(root().join("examples"), dir.path().join("examples")).expect("a link");
        // The transcripts name files as a person in the clone does.
        std::env::set_current_dir(dir.path()).expect("the folder is there");
        let cases = trycmd::TestCases::new();
        cases.register_bin("pipeline", pipeline_path()).register_bin("trainer", trainer_path());
        cases.case(root().join(document).display().to_string()).run();
    }
}

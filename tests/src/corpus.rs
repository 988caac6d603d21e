//! Inputs to run on, and a tokenizer for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::args;
use crate::program::pipeline;

/// The workspace's root folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// The quickstart's input.
pub fn example() -> PathBuf {
    root().join("examples/quickstart/corpus.jsonl")
}

/// The quickstart's configuration.
pub fn example_config() -> PathBuf {
    root().join("examples/quickstart/config.toml")
}

/// Folder of foreign corpora and tokenizers: `SHARDMILL_CORPORA`, else `../shared` beside the workspace.
pub fn corpora() -> PathBuf {
    let named = std::env::var_os("SHARDMILL_CORPORA").map(PathBuf::from);
    named.unwrap_or_else(|| root().join("../shared"))
}

/// A folder for one test, removed when dropped; kept, and printed, where `SHARDMILL_KEEP` is set.
pub fn temp_dir() -> TempDir {
    let mut dir = tempfile::Builder::new().prefix("shardmill-test-").tempdir().expect("a temporary folder");
    if std::env::var_os("SHARDMILL_KEEP").is_some() {
        dir.disable_cleanup(true);
        eprintln!("kept: {}", dir.path().display());
    }
    dir
}

/// A tokenizer of 1,024 entries trained on the quickstart's corpus, once a test program: its `tokenizer.json`.
pub fn tokenizer() -> &'static Path {
    static TRAINED: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, file) = TRAINED.get_or_init(|| {
        let dir = temp_dir();
        let out = dir.path().join("tokenizer");
        pipeline(args!["tokenizer", "train", example(), "--vocab-size", "1024", "--out", &out]).ok();
        (dir, out.join("tokenizer.json"))
    });
    file
}

/// A small generator of repeatable noise (SplitMix64), so that inputs differ without a dependency.
#[derive(Debug, Clone)]
pub struct Noise(pub u64);

impl Noise {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }
}

const WORDS: [&str; 24] = [
    "the",
    "river",
    "rose",
    "again",
    "last",
    "night",
    "but",
    "not",
    "over",
    "path",
    "a",
    "lamp",
    "was",
    "lit",
    "河水",
    "昨夜",
    "又涨了",
    "没有",
    "漫过",
    "小路",
    "灯",
    "亮着",
    "门口",
    "的",
];

/// JSON lines of made-up text, about `bytes` of them: one in 20 a duplicate, one in 50 damaged, one in 60 blank.
pub fn made_up_lines(seed: u64, bytes: usize) -> Vec<u8> {
    let mut noise = Noise(seed);
    let mut out = Vec::with_capacity(bytes + 4096);
    let mut last = String::from("the first line of all");
    let mut id = 0u64;
    while out.len() < bytes {
        id += 1;
        if noise.below(20) != 0 {
            let words = 3 + noise.below(60);
            last = (0..words).map(|_| WORDS[noise.below(24) as usize]).collect::<Vec<_>>().join(" ");
        }
        let quality = noise.below(2_000);
        let line = match noise.below(60) {
            0 => "  ".to_owned(),
            1 => format!("{{\"text\": \"{last}\", \"perplexity\": {quality}.5, \"id\": {id}"),
            2 => format!("{{\"content\": \"{last}\", \"perplexity\": {quality}.5, \"id\": {id}}}"),
            _ => format!("{{\"text\": \"{last}\", \"perplexity\": {quality}.5, \"lang\": \"zz\", \"id\": {id}}}"),
        };
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
    out
}

/// Writes a file below `dir`, with its folders, and returns its path.
pub fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder for the input");
    fs::write(&path, bytes).expect("an input is written");
    path
}

/// A folder of files of made-up lines: a read task each. The last holds a third of the first again.
pub fn made_up_folder(dir: &Path, seed: u64, files: usize, bytes: usize) -> PathBuf {
    let folder = dir.join("input");
    let first = made_up_lines(seed, bytes);
    for number in 1..files {
        write(&folder, &format!("{number:04}.jsonl"), &made_up_lines(seed + number as u64, bytes));
    }
    let again = &first[..first.len() / 3];
    write(&folder, &format!("{files:04}.jsonl"), again);
    write(&folder, "0000.jsonl", &first);
    folder
}

//! How fast signatures are made: the rates the project promises, in CPU seconds of one thread.
//! `cargo test --workspace --test dedup_rates -- --ignored --nocapture` prints them.

use pipeline::dedup::bands::Bands;
use pipeline::dedup::shingles::Shingler;
use pipeline::dedup::signature::Sketcher;
use serde_json::Value;
use tests::corpus::corpora;

/// CPU nanoseconds of this thread.
fn thread_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel counts");
    stat.split_whitespace().next().and_then(|ns| ns.parse().ok()).expect("a number")
}

/// Texts of one language, and their bytes.
fn texts(language: &str) -> (Vec<String>, f64) {
    let path = corpora().join("corpora/bench150.jsonl.zst");
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = String::from_utf8(zstd::decode_all(&bytes[..]).expect("zstd")).expect("UTF-8");
    let rows = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let rows = rows.filter(|row| row["lang"] == language);
    let texts: Vec<String> = rows.map(|row| row["text"].as_str().expect("text").to_owned()).collect();
    let bytes = texts.iter().map(String::len).sum::<usize>() as f64;
    (texts, bytes)
}

/// MB/s of the fastest of five passes.
fn rate(bytes: f64, mut pass: impl FnMut()) -> f64 {
    let passes = (0..5).map(|_| {
        let start = thread_ns();
        pass();
        bytes * 1e3 / (thread_ns() - start) as f64
    });
    passes.fold(0.0, f64::max)
}

fn measured(language: &str) -> f64 {
    let (texts, bytes) = texts(language);
    assert!(bytes > 1e7, "{language}: {bytes} bytes are too few");
    let bands = Bands::for_threshold(0.8);
    let (mut shingler, mut sketcher) = (Shingler::new(5), Sketcher::new(bands.values()));
    let mut sum = 0_u64;
    let shingling = rate(bytes, || {
        texts.iter().for_each(|text| sum ^= shingler.runs(text).last().copied().unwrap_or_default());
    });
    let whole = rate(bytes, || {
        for text in &texts {
            if let Some(signature) = sketcher.sketch(shingler.runs(text)) {
                sum = bands.keys(signature).fold(sum, |sum, key| sum ^ key);
            }
        }
    });
    println!(
        "{language}: {:.1} MB; shingles {shingling:.0} MB/s, signatures and keys {whole:.0} MB/s ({sum:x})",
        bytes / 1e6
    );
    whole
}

#[test]
#[ignore = "needs SHARDMILL_CORPORA"]
fn signatures_reach_100_mb_per_cpu_second_in_chinese_and_60_in_english() {
    assert!(measured("zh") >= 100.0);
    assert!(measured("en") >= 60.0);
}

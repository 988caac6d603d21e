//! Speed of the cleaning sets and of each step, on one thread, on text that needs no change and on text that needs some:
//!
//! ```sh
//! cargo run --release -p pipeline --example cleaning
//! ```
//!
//! Prints MB of UTF-8 text per second of wall time, for Chinese and for English. A step that has nothing to do in the
//! text that needs cleaning is as fast there as it is on other text.

use std::hint::black_box;
use std::time::{Duration, Instant};

use pipeline::clean::cleaner::Tally;
use pipeline::clean::{Cleaner, sets};
use schemas::config::{Clean, CleanStep};

const TIME: Duration = Duration::from_millis(200);
const ZH: &str =
    "人工智能的发展经历了几十年的起伏，今天它已经走进了每个人的生活。研究者们认为，数据的质量决定了模型的上限。\n";
const EN: &str =
    "The quality of data decides what a model can learn, and most of the work is in looking at it. It is slow.\n";
const DIRTY_ZH: &str = "<p>人工智能&amp;数据的发展\u{200b}经历了几十年的起伏！！！！！   详见https://example.com/a，联系a.b@example.com或13812345678。</p>\r\n";
const DIRTY_EN: &str = "<div>The quality of data decides &quot;what&quot; a model can\u{00ad} learn.......   See https://example.com or mail a.b@example.com.</div>\r\n";

fn main() -> anyhow::Result<()> {
    // The flagged words are left out: they need a list.
    let steps = CleanStep::ALL.into_iter().filter(|step| *step != CleanStep::FlaggedWords).map(CleanStep::name);
    let names: Vec<&str> = ["usual", "privacy", "web", "usual,privacy"].into_iter().chain(steps).collect();
    for (language, line) in [("zh", ZH), ("en", EN), ("zh, to be cleaned", DIRTY_ZH), ("en, to be cleaned", DIRTY_EN)] {
        let text = line.repeat(20);
        for name in &names {
            let cleaner = Cleaner::of_config(&Clean { steps: sets::parse(name)?, ..Clean::default() })?;
            println!("{language} {name}: {:.0} MB/s", rate(&cleaner, text.trim_end()) / 1e6);
        }
    }
    Ok(())
}

/// Bytes a second, after one pass that warms up.
fn rate(cleaner: &Cleaner, text: &str) -> f64 {
    let pass = || black_box(cleaner.clean(black_box(text), &mut Tally::default())).is_ok();
    pass();
    let (start, mut bytes) = (Instant::now(), 0);
    while start.elapsed() < TIME {
        pass();
        bytes += text.len();
    }
    bytes as f64 / start.elapsed().as_secs_f64()
}

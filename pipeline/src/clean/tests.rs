//! What holds for every set of steps: cleaning twice is cleaning once, what comes out is UTF-8, and time is linear.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use schemas::config::{Clean, CleanStep};

use super::cleaner::{Cleaner, StepCount, Tally, Unstable};
use super::sets;

fn cleaner(names: &str) -> Cleaner {
    Cleaner::of_config(&Clean { steps: sets::parse(names).unwrap(), ..Clean::default() }).unwrap()
}

fn cleaned(cleaner: &Cleaner, text: &str) -> Result<String, Unstable> {
    cleaner.clean(text, &mut Tally::default()).map(|text| text.into_owned())
}

/// Every step that does not undo another, the flagged words but for their list.
fn everything() -> Cleaner {
    let left_out = [CleanStep::FlaggedWords, CleanStep::Traditional, CleanStep::ZhPunctuation, CleanStep::Nfc];
    let steps = CleanStep::ALL.into_iter().filter(|step| !left_out.contains(step)).collect();
    Cleaner::of_config(&Clean { steps, ..Clean::default() }).unwrap()
}

/// Pieces that steps look for, joined at random: what meets here seldom meets in text.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "&amp;", "amp;", "&lt;", "lt;", "<b>", "<b", ">", "<script>", "</script>", "<!--", "-->", "&#x200b;", "&",
            "\u{200b}", "\u{ad}", "\u{200d}", "\u{301}", "e", "Ã", "©", "â€™", "ä½", "\u{a0}", "»", " ", "  ", "\n",
            "\r\n", "\u{3000}", "\t", "！", "!", "?", "。", ".", "...", "…", "1", "23", "456", ",", "-", "138", "1234",
            "5678", "@", "a.b", "com", "://", "http", "www.", "10.0.0.1", "::", "fe80", "版权所有", "加微信", "漢字",
            "头发", "ｱ", "ﾞ", "Ａ", "％", "㎡", "**", "`", "```", "[x](y)", "# ", "> ", "---", "|--|", "\"", "'", "(", ")",
            "中文", "word", "\u{ffff}", "😀", "<EMAIL>",
        ]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn cleaning_twice_is_cleaning_once(text in pieces()) {
        let cleaner = everything();
        if let Ok(once) = cleaned(&cleaner, &text) {
            prop_assert_eq!(cleaned(&cleaner, &once), Ok(once));
        }
    }

    #[test]
    fn every_step_alone_comes_to_rest(text in pieces(), step in prop::sample::select(CleanStep::ALL.to_vec())) {
        prop_assume!(step != CleanStep::FlaggedWords);
        let cleaner = cleaner(step.name());
        let once = cleaned(&cleaner, &text);
        prop_assert!(once.is_ok(), "{} does not rest on {text:?}", step.name());
        let once = once.unwrap_or_default();
        prop_assert_eq!(cleaned(&cleaner, &once), Ok(once));
    }
}

#[test]
fn a_notebook_kind_of_page_becomes_text_and_every_change_is_counted() {
    let cleaner = cleaner("web,privacy");
    let page = "<div><p>第一段，联系 a@b.com 或 13812345678！！！！！</p>\n<p>来自 192.168.0.1\u{200b}。</p>\n\
                <p>上一篇：别的</p></div>见 https://x.y/z 这一句没有写完";
    let mut tally = Tally::default();
    let text = cleaner.clean(page, &mut tally).unwrap().into_owned();
    assert_eq!(text, "第一段，联系 <EMAIL> 或 <PHONE>！\n\n来自 <IP>。");
    let counts = cleaner.counts(&tally);
    assert_eq!(counts["emails"], StepCount { documents: 1, changes: 1 });
    assert_eq!(counts["boilerplate"], StepCount { documents: 1, changes: 1 });
    assert_eq!(counts["bank_cards"], StepCount::default());
}

#[test]
fn a_text_that_needs_nothing_is_not_copied() {
    let cleaner = cleaner("usual,privacy");
    let text = "一段普通的文字，没有什么要改。\n\nA plain paragraph, 3.14 and 2024.";
    assert!(matches!(cleaner.clean(text, &mut Tally::default()), Ok(std::borrow::Cow::Borrowed(_))));
}

#[test]
fn a_text_made_to_be_slow_is_not() {
    let cleaner = everything();
    for piece in [
        "<",
        "<a ",
        "<a b=\"",
        "<!--",
        "<script>",
        "&amp;",
        "&",
        "[",
        "![](",
        "`",
        "**",
        "@",
        "a@",
        "://",
        "http://",
        "www.",
        "1",
        "1,",
        "1,234,",
        "1.",
        "1. A",
        ":",
        "::",
        "a:",
        "(",
        "+",
        "。",
        "！？",
        ".",
        "\n",
        " \n",
        "\u{200d}",
        "Ã",
        "Ã©",
        "漢",
        "版权所有",
        "> ",
        "#",
        "| - ",
        "\u{301}",
    ] {
        let text = piece.repeat(400_000 / piece.len());
        let start = Instant::now();
        let _ = cleaned(&cleaner, &text);
        // A quadratic step would take minutes; 16 rounds of all steps over 400 kB take well under a second.
        assert!(start.elapsed() < Duration::from_secs(20), "{piece:?} took {:?}", start.elapsed());
    }
}

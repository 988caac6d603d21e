//! Every scanner against the regex engine of Hugging Face's crate.

use tokenizers_reference::tokenizer::pattern::Pattern as _;
use tokenizers_reference::utils::SysRegex;

use super::super::classes::classes;
use super::super::testing::Random;
use super::*;

/// Ends of the pieces that expressions leave, one applied to the pieces of the other.
fn engine_ends(expressions: &[SysRegex], text: &str) -> Vec<usize> {
    let mut pieces = vec![(0, text.len())];
    for expression in expressions {
        let split = |(start, end): (usize, usize)| {
            let found = expression.find_matches(&text[start..end]).unwrap();
            found.into_iter().map(move |((from, to), _)| (start + from, start + to))
        };
        pieces = pieces.into_iter().flat_map(split).filter(|(start, end)| start < end).collect();
    }
    pieces.into_iter().map(|(_, end)| end).collect()
}

fn scanner_ends(known: Known, text: &str) -> Vec<usize> {
    match known {
        Known::Gpt2(scanner) => ends(scanner, text),
        Known::Cl100k(scanner) => ends(scanner, text),
        Known::O200k(scanner) => ends(scanner, text),
        Known::DeepSeek(scanner) => ends(scanner, text),
        Known::Digits(scanner) => ends(scanner, text),
    }
}

fn ends(mut scanner: impl Scanner + Copy, text: &str) -> Vec<usize> {
    let mut again = scanner;
    let mut ends: Vec<usize> = Vec::new();
    while let start = ends.last().copied().unwrap_or(0)
        && start < text.len()
    {
        ends.push(scanner.end(classes(), text.as_bytes(), start));
    }
    let (mut at_once, mut start) = (Vec::new(), 0);
    while start < text.len() {
        start = next_pieces(&mut again, classes(), text.as_bytes(), start, |end| at_once.push(end));
    }
    assert_eq!(at_once, ends, "found at once and one by one: {text:?}");
    ends
}

fn assert_all_agree(texts: impl Iterator<Item = String> + Clone) {
    for (expressions, known) in known::all() {
        let compiled: Vec<SysRegex> = expressions.iter().map(|regex| SysRegex::new(regex).unwrap()).collect();
        for text in texts.clone() {
            assert_eq!(scanner_ends(known, &text), engine_ends(&compiled, &text), "{known:?} {text:?}");
        }
    }
}

#[test]
fn scanners_split_mixtures_as_the_engine_does() {
    assert_all_agree((0..3_000).map(|seed| Random::new(seed).text(40)));
}

#[test]
fn scanners_split_every_short_text_of_one_character_a_class_as_the_engine_does() {
    const ALPHABET: [char; 12] =
        ['a', 'S', '\u{4e00}', '\u{301}', '1', '!', '\'', ' ', '\n', '\u{a0}', '\0', '\u{30fb}'];
    let texts = (0..12_u32.pow(4)).map(|number| {
        let digits = (0..4).map(|place| ALPHABET[(number / 12_u32.pow(place) % 12) as usize]);
        digits.collect::<String>()
    });
    assert_all_agree(texts);
}

#[test]
fn scanners_split_around_a_sample_of_all_code_points_as_the_engine_does() {
    let texts = ('\0'..=char::MAX).step_by(197);
    assert_all_agree(texts.map(|c| format!("a{c}a 1{c}1!{c}! {c}\n{c} '{c} {c}{c}s A{c}a  {c}")));
}

#[test]
fn a_contraction_with_a_long_s_is_one() {
    assert_all_agree(["it'\u{17f} I'\u{17f}x 'S'LL'Ve'rE'D'T'M'l".to_owned()].into_iter());
}

#[test]
fn scanners_split_ascii_of_every_kind_as_the_engine_does() {
    const PIECES: [&str; 24] = [
        "a", "Word", "sing", " ", "  ", "\t", "\n", "\r\n", "\n\n", "1", "22", "333", "4444", "!", "...", "(", "'",
        "'s", "'LL", "'re", "'x", "''", "\u{e9}", "\u{4e2d}",
    ];
    assert_all_agree((0..4_000).map(|seed| {
        let mut random = Random::new(seed);
        let kinds = if seed % 3 == 0 { PIECES.len() } else { PIECES.len() - 2 };
        (0..120).map(|_| PIECES[random.below(kinds)]).collect::<String>()
    }));
}

//! The table of classes against the regex engine of Hugging Face's crate.

use tokenizers_reference::tokenizer::pattern::Pattern as _;
use tokenizers_reference::utils::SysRegex;

use super::*;

/// Expressions of the classes, by bit.
const EXPRESSIONS: [&str; 7] =
    [r"[\p{Lu}\p{Lt}]+", r"\p{Ll}+", r"[\p{Lm}\p{Lo}]+", r"\p{M}+", r"\p{N}+", r"[\p{P}\p{S}]+", r"\s+"];

/// Classes of all code points as the engine has them; surrogates are in no text, and count as their neighbours.
fn engine_classes() -> Vec<u8> {
    let text: String = ('\0'..=char::MAX).collect();
    let mut by_byte = vec![OTHER; text.len()];
    for (bit, expression) in EXPRESSIONS.iter().enumerate() {
        for ((start, end), found) in (&SysRegex::new(expression).unwrap()).find_matches(&text).unwrap() {
            if found {
                by_byte[start..end].fill(1 << bit);
            }
        }
    }
    let mut classes = vec![OTHER; CODE_POINTS];
    text.char_indices().for_each(|(start, c)| classes[c as usize] = by_byte[start]);
    classes
}

fn encode(classes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for run in classes.chunk_by(|left, right| left == right) {
        let (head, mut rest) = (run[0].trailing_zeros() as u8, run.len() - 1);
        if rest < 31 {
            encoded.push(head | (rest as u8) << 3);
            continue;
        }
        encoded.push(head | 31 << 3);
        rest -= 31;
        while rest >= 0x80 {
            encoded.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        encoded.push(rest as u8);
    }
    encoded
}

#[test]
fn the_table_is_the_reference_engine_s() {
    let expected = encode(&engine_classes());
    if std::env::var_os("UPDATE_UNICODE").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/bpe/unicode16.bin"), &expected).unwrap();
    }
    assert!(RUNS == expected, "unicode16.bin differs; UPDATE_UNICODE=1 writes it anew");
}

#[test]
fn blocks_hold_what_the_runs_say() {
    let mut code_point = 0;
    for (class, length) in runs(RUNS) {
        (code_point..code_point + length).for_each(|c| assert_eq!(classes().of(c as u32), class, "U+{c:04X}"));
        code_point += length;
    }
    assert_eq!(code_point, CODE_POINTS);
}

#[test]
fn a_run_of_letters_ends_where_its_characters_say() {
    let text = "abcdefghijklmnopqrstuvwxyzABCXYZ\u{e9}\u{4f60}\u{597d}abcdefgh@[`{\u{3000}";
    let end = text.find('@').unwrap();
    for (start, _) in text.char_indices().take_while(|(start, _)| *start < end) {
        assert_eq!(classes().letters(text.as_bytes(), start, LETTER), end, "{start}");
    }
    for stop in ["@", "[", "`", "{", "\u{80}", "\u{3000}", "0", ""] {
        let text = format!("abcdefghij{stop}abcdefghij");
        let expected = if stop.is_empty() { 20 } else { 10 };
        assert_eq!(classes().letters(text.as_bytes(), 0, LETTER), expected, "{stop:?}");
    }
}

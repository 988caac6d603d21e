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

#[test]
fn sixteen_bytes_are_judged_as_two_times_eight() {
    for at in 0..16 {
        for byte in 0..=255 {
            let mut bytes = *b"abcdefghijKLMNOP";
            bytes[at] = byte;
            let [low, high] = [0, 8].map(|from| u64::from_le_bytes(*bytes[from..].first_chunk::<8>().unwrap()));
            let expected = match ascii_letters_of_8(low) {
                8 => 8 + ascii_letters_of_8(high),
                count => count,
            };
            assert_eq!(ascii_letters(&bytes), expected, "{byte} at {at}");
            assert_eq!(expected, if byte.is_ascii_alphabetic() { 16 } else { at });
        }
    }
}

#[test]
fn an_ascii_word_ends_before_ascii_and_within_sixteen_bytes() {
    let word = |text: &str| Classes::ascii_word(text.as_bytes(), 0);
    assert_eq!(word("abc, and more text"), Some(3));
    assert_eq!(word("abcdefghijklmno, and"), Some(15));
    assert_eq!(word("abcdefghijklmnop, and"), None);
    assert_eq!(word("abc\u{e9} and more text"), None);
    assert_eq!(word(" abc and more text"), None);
    assert_eq!(word("abc"), None);
}

#[test]
fn first_bytes_said_to_begin_letters_do() {
    for lead in ALL_LETTERS {
        let first = u32::from(lead & 0x0f) << 12;
        assert!((first..first + 0x1000).all(|code_point| classes().of(code_point) & LETTER != 0), "{lead:x}");
    }
}

//! The sentences of each paragraph in another order; paragraphs stay where they are.

use super::next_number;
use crate::clean::sentences::ends;

/// The text with its sentences shuffled.
pub fn shuffle(text: &str, seed: u64) -> String {
    let mut state = seed;
    let paragraphs = text.split('\n').map(|paragraph| shuffled(paragraph, &mut state));
    paragraphs.collect::<Vec<_>>().join("\n")
}

fn shuffled(paragraph: &str, state: &mut u64) -> String {
    let mut sentences: Vec<&str> = Vec::new();
    // What stands between two sentences stays in its place.
    let mut gaps: Vec<&str> = Vec::new();
    let mut from = 0;
    for end in ends(paragraph).chain([paragraph.len()]) {
        let piece = paragraph.get(from..end).unwrap_or_default();
        let sentence = piece.trim();
        if sentence.is_empty() {
            continue;
        }
        gaps.push(piece.get(..piece.len() - piece.trim_start().len()).unwrap_or_default());
        sentences.push(sentence);
        from = end - (piece.len() - piece.trim_end().len());
    }
    let rest = paragraph.get(from..).unwrap_or_default();
    for last in (1..sentences.len()).rev() {
        let other = (next_number(state) % (last as u64 + 1)) as usize;
        sentences.swap(last, other);
    }
    let mut out = String::with_capacity(paragraph.len());
    gaps.iter().zip(sentences).for_each(|(gap, sentence)| out.extend([*gap, sentence]));
    out + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sentences_change_places_within_their_paragraph() {
        let text = "第一句。第二句！第三句？\nOne is here. Two is there. Three too.";
        let made = (0..20).map(|seed| shuffle(text, seed)).find(|made| made != text).unwrap();
        let sorted = |text: &str| {
            let mut all: Vec<char> = text.chars().collect();
            all.sort_unstable();
            all
        };
        assert_eq!(sorted(&made), sorted(text));
        assert!(made.split('\n').next().unwrap().contains("第三句？"));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_of_any_text(text in "[a-zA-Z。！？.!? \n\t\u{3000}中文\"]{0,80}", seed: u64) {
            let made = shuffle(&text, seed);
            let sorted = |text: &str| { let mut all: Vec<char> = text.chars().collect(); all.sort_unstable(); all };
            prop_assert_eq!(sorted(&made), sorted(&text));
        }
    }
}

//! Merges against those of Hugging Face's trainer, crate `tokenizers` 0.23.2, on made corpora.

use tokenizers_reference::models::bpe::{BPE, BpeTrainer};
use tokenizers_reference::{AddedToken, Trainer as _};

use super::super::testing::Random;
use crate::tokenize::train::{Settings, train};

/// Words of a made language: syllables of one script, of which some are far more frequent than others.
fn language(syllables: &[&str], separator: &str, seed: u64, words: usize) -> String {
    let mut random = Random::new(seed);
    let mut text = String::new();
    for _ in 0..words {
        for _ in 0..=random.below(4) {
            let rank = random.below(syllables.len()).min(random.below(syllables.len()));
            text.push_str(syllables[rank]);
        }
        text.push_str(if random.below(9) == 0 { ". " } else { separator });
    }
    text
}

const LATIN: [&str; 12] = ["the", "in", "er", "an", "re", "on", "at", "en", "nd", "a", "e", "o"];
const CYRILLIC: [&str; 8] = [
    "\u{43f}\u{440}",
    "\u{438}",
    "\u{432}\u{435}",
    "\u{442}",
    "\u{43d}\u{435}",
    "\u{43e}",
    "\u{441}\u{442}",
    "\u{430}",
];
const HAN: [&str; 10] = [
    "\u{7684}", "\u{4e00}", "\u{662f}", "\u{4e86}", "\u{6211}", "\u{4e0d}", "\u{4eba}", "\u{5728}", "\u{4ed6}",
    "\u{6709}",
];
const ARABIC: [&str; 6] = ["\u{627}\u{644}", "\u{648}", "\u{645}", "\u{646}", "\u{64a}", "\u{62f}"];
const DEVANAGARI: [&str; 5] =
    ["\u{915}\u{94d}\u{937}", "\u{928}\u{93f}", "\u{930}", "\u{915}\u{947}", "\u{939}\u{948}"];
const EMOJI: [&str; 3] = ["\u{1f600}", "\u{1f468}\u{200d}\u{1f469}", "\u{1f1e8}\u{1f1f3}"];
/// Runs of one character, in which pairs overlap.
const RUNS: [&str; 5] = ["a", "aa", "aaa", "ab", "=="];

fn texts(size: usize) -> Vec<String> {
    let scripts: [(&[&str], &str); 7] =
        [(&LATIN, " "), (&CYRILLIC, " "), (&HAN, ""), (&ARABIC, " "), (&DEVANAGARI, " "), (&EMOJI, "\n"), (&RUNS, " ")];
    let mixed = (0..size as u64).map(|seed| Random::new(seed).text(30));
    let made = (0..size).map(|at| {
        let (syllables, separator) = scripts[at % scripts.len()];
        language(syllables, separator, at as u64, 60)
    });
    mixed.chain(made).collect()
}

/// The model of the crate's trainer, with its words split as its `ByteLevel` splits them.
fn theirs(settings: &Settings, texts: &[String]) -> serde_json::Value {
    use tokenizers_reference::pre_tokenizers::byte_level::ByteLevel;
    use tokenizers_reference::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _};
    let special = ["<unk>", "<s>", "</s>"].map(str::to_owned).into_iter().chain(settings.special.clone());
    let mut trainer = BpeTrainer::builder()
        .vocab_size(settings.vocab_size)
        .min_frequency(settings.min_frequency)
        .show_progress(false)
        .special_tokens(special.map(|token| AddedToken::from(token, true)).collect())
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let byte_level = ByteLevel::new(false, true, true);
    let words = |text: &str| {
        let mut string = PreTokenizedString::from(text);
        byte_level.pre_tokenize(&mut string)?;
        let splits = string.get_splits(OffsetReferential::Original, OffsetType::Byte);
        Ok(splits.into_iter().map(|(word, ..)| word.to_owned()).collect())
    };
    trainer.feed(texts.iter(), words).unwrap();
    let mut model = BPE::default();
    trainer.train(&mut model).unwrap();
    serde_json::to_value(&model).unwrap()
}

fn assert_same(settings: Settings, texts: &[String]) {
    let expected = theirs(&settings, texts);
    let asked = settings.vocab_size;
    let trained = train(settings, texts.iter().map(String::as_str)).unwrap();
    let ours: serde_json::Value = serde_json::from_slice(&trained.tokenizer).unwrap();
    let pairs = expected["merges"].as_array().unwrap().iter();
    let lines: Vec<String> =
        pairs.map(|pair| format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap())).collect();
    let found: Vec<&str> =
        ours["model"]["merges"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert_eq!(found, lines, "{asked} tokens");
    assert_eq!(ours["model"]["vocab"].as_object(), expected["vocab"].as_object(), "{asked} tokens");
}

fn settings(vocab_size: usize, min_frequency: u64, special: &[&str]) -> Settings {
    Settings { vocab_size, min_frequency, special: special.iter().map(|token| (*token).to_owned()).collect() }
}

#[test]
fn merges_and_vocabulary_are_those_of_hugging_face_s_trainer() {
    for (size, vocab_size) in [(7, 300), (40, 600), (200, 1_000), (600, 2_000)] {
        for min_frequency in [0, 2, 3] {
            assert_same(settings(vocab_size, min_frequency, &["<|im_start|>", "<|im_end|>"]), &texts(size));
        }
    }
}

#[test]
fn merges_of_every_pair_there_is_are_those_of_hugging_face_s_trainer() {
    // Ties decide nearly all of these: each text occurs once.
    for seed in 0..40 {
        let texts = vec![language(&LATIN, " ", seed, 12), language(&RUNS, "", seed, 6), language(&HAN, "", seed, 9)];
        assert_same(settings(300, 0, &[]), &texts);
    }
}

#[test]
fn a_special_token_that_merges_also_make_is_one_token_as_in_hugging_face_s_trainer() {
    assert_same(settings(400, 2, &["the", "\u{120}an", "!", "aaa", "\u{4e2d}"]), &texts(60));
}

#[test]
fn words_that_occur_thousands_of_times_are_counted_in_full() {
    let texts: Vec<String> = (0..30).map(|at| "the same words again and again ".repeat(100 + at)).collect();
    assert_same(settings(270, 2, &[]), &texts);
}

#[test]
fn any_number_of_threads_learns_the_same() {
    let texts: Vec<String> = (0..3_000).map(|at| language(&[LATIN, LATIN].concat(), "", at, 60)).collect();
    let train_on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| train(settings(700, 2, &[]), texts.iter().map(String::as_str)).unwrap())
    };
    let one = train_on(1);
    assert_eq!(train_on(2), one);
    assert_eq!(train_on(7), one);
}

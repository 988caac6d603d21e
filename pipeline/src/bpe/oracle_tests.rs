//! Ids against Hugging Face's own crate, `tokenizers` 0.23.2: small vocabularies with every kind of part that is
//! recognised, on texts of every alphabet and kind of trouble.

use serde_json::{Value, json};

use super::testing::Random;
use super::{Memo, Tokenizer, byte_alphabet};

/// A vocabulary of symbols and of merges that occur in a random text: few enough to be made here, deep enough to go
/// wrong.
fn model(symbols: &[String], corpus: &[Vec<String>], merges_wanted: usize) -> Value {
    let mut words = corpus.to_vec();
    let mut vocab: serde_json::Map<String, Value> = serde_json::Map::new();
    for symbol in symbols {
        let id = vocab.len();
        vocab.insert(symbol.clone(), json!(id));
    }
    let mut merges = Vec::new();
    while merges.len() < merges_wanted {
        let mut counts: std::collections::BTreeMap<(String, String), usize> = Default::default();
        for pair in words.iter().flat_map(|word| word.windows(2)) {
            *counts.entry((pair[0].clone(), pair[1].clone())).or_default() += 1;
        }
        let Some(((left, right), _)) = counts.into_iter().max_by_key(|(_, count)| *count) else { break };
        for word in &mut words {
            let mut at = 0;
            while at + 1 < word.len() {
                if word[at] == left && word[at + 1] == right {
                    word[at] = format!("{left}{right}");
                    word.remove(at + 1);
                }
                at += 1;
            }
        }
        let id = vocab.len();
        vocab.entry(format!("{left}{right}")).or_insert(json!(id));
        merges.push(json!([left, right]));
    }
    json!({"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
        "vocab": vocab, "merges": merges})
}

fn texts() -> Vec<String> {
    let mut texts: Vec<String> = (0..600).map(|seed| Random::new(seed).text(60)).collect();
    for run in
        ["a", " ", "\n", "\u{4f60}", "\u{1f600}", "ab", " a", "\u{301}", "\u{a0}", "\u{7684}\u{4e00}", "\u{2581}", "\0"]
    {
        texts.extend([1, 2, 3, 7, 8, 9, 64, 1001].map(|times| run.repeat(times)));
    }
    texts
}

fn added(id: u32, content: &str, flags: [bool; 4]) -> Value {
    let [lstrip, rstrip, normalized, special] = flags;
    json!({"id": id, "content": content, "single_word": false, "lstrip": lstrip, "rstrip": rstrip,
        "normalized": normalized, "special": special})
}

fn definition(model: Value, normalizer: Value, pre_tokenizer: Value) -> Value {
    json!({"version": "1.0", "truncation": null, "padding": null, "normalizer": normalizer,
        "added_tokens": [
            added(9_000, "<s>", [false, false, false, true]),
            added(9_001, "</s>", [false, false, true, true]),
            added(9_002, "<think>", [false, true, false, false]),
            added(9_003, "ing T", [true, false, true, false]),
        ],
        "pre_tokenizer": pre_tokenizer, "post_processor": null, "decoder": null, "model": model})
}

fn byte_level_model() -> Value {
    let alphabet = byte_alphabet();
    let spelled = |text: &str| text.bytes().map(|byte| alphabet[usize::from(byte)].to_string()).collect();
    let corpus: Vec<Vec<String>> = (1_000..1_150).map(|seed| spelled(&Random::new(seed).text(30))).collect();
    model(&alphabet.map(|c| c.to_string()), &corpus, 500)
}

/// Characters that occur, bytes for the others, and merges of characters.
fn sentence_model() -> Value {
    let spelled = |text: &str| text.replace(' ', "\u{2581}").chars().map(|c| c.to_string()).collect::<Vec<_>>();
    let corpus: Vec<Vec<String>> = (1_000..1_150).map(|seed| spelled(&Random::new(seed).text(30))).collect();
    let bytes = (0..256).map(|byte| format!("<0x{byte:02X}>"));
    let known = corpus.iter().flatten().filter(|c| !c.starts_with(['\u{1f600}', '\u{301}'])).cloned();
    let mut symbols: Vec<String> = ["<unk>".to_owned()].into_iter().chain(bytes).chain(known).collect();
    let mut seen = std::collections::HashSet::new();
    symbols.retain(|symbol| seen.insert(symbol.clone()));
    let corpus: Vec<Vec<String>> =
        corpus.iter().flat_map(|word| word.split(|c| !seen.contains(c))).map(<[String]>::to_vec).collect();
    let mut model = model(&symbols, &corpus, 300);
    model["byte_fallback"] = json!(true);
    model["unk_token"] = json!("<unk>");
    model["fuse_unk"] = json!(true);
    model
}

fn assert_same(definition: &Value, texts: &[String]) {
    for special_as_text in [true, false] {
        let tokenizer = Tokenizer::from_definition(definition, special_as_text).unwrap();
        let mut oracle = tokenizers_reference::Tokenizer::from_bytes(definition.to_string()).unwrap();
        oracle.set_encode_special_tokens(special_as_text);
        let mut memo = Memo::default();
        for text in texts {
            let mut found = Vec::new();
            tokenizer.encode(text, &mut memo, &mut found);
            let expected = oracle.encode_fast(text.as_str(), false).unwrap();
            assert!(
                found == expected.get_ids(),
                "{} special_as_text {special_as_text} {text:?}\n{found:?}\n{:?}",
                definition["pre_tokenizer"],
                expected.get_ids()
            );
        }
    }
}

#[test]
fn byte_level_ids_are_hugging_face_s_behind_every_split() {
    let (model, texts) = (byte_level_model(), texts());
    let byte_level = |prefix: bool, regex: bool| json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": regex});
    for (prefix, regex) in [(false, false), (false, true), (true, false), (true, true)] {
        assert_same(&definition(model.clone(), Value::Null, byte_level(prefix, regex)), &texts);
    }
    for (expressions, _) in super::split::all() {
        let split = |expression: &&str| json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false});
        let parts: Vec<Value> = expressions.iter().map(split).chain([byte_level(false, false)]).collect();
        let sequence = json!({"type": "Sequence", "pretokenizers": parts});
        assert_same(&definition(model.clone(), Value::Null, sequence), &texts);
    }
}

#[test]
fn byte_level_ids_are_hugging_face_s_behind_digits_and_normalization() {
    let (model, texts) = (byte_level_model(), texts());
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    for individual in [true, false] {
        let digits = json!({"type": "Digits", "individual_digits": individual});
        let sequence = json!({"type": "Sequence", "pretokenizers": [digits, byte_level]});
        assert_same(&definition(model.clone(), Value::Null, sequence), &texts);
    }
    // Code points assigned since Unicode 9, by which Hugging Face normalizes, are left out.
    let is_old = |c: char| matches!(c, '\0'..'\u{800}' | '\u{3001}'..'\u{a000}');
    let mut composed: Vec<String> = texts.iter().filter(|text| text.chars().all(is_old)).cloned().collect();
    for (at, text) in composed.clone().iter().enumerate() {
        let more = ["e\u{301}", "\u{323}\u{301}", "\u{30ab}\u{3099}", "\u{3099}", "\u{344}"][at % 5];
        composed.extend([format!("{text}{more}"), format!("{more}{text}a{more}")]);
    }
    let with_token = |mut definition: Value| {
        let added_tokens = definition["added_tokens"].as_array_mut().unwrap();
        added_tokens.push(added(9_004, "caf\u{65}\u{301}", [false, false, true, false]));
        definition
    };
    composed.push("a caf\u{e9}, a cafe\u{301}".to_owned());
    assert!(composed.len() > 300);
    let nfc = json!({"type": "NFC"});
    for normalizer in [nfc.clone(), json!({"type": "Sequence", "normalizers": [nfc]})] {
        assert_same(&with_token(definition(model.clone(), normalizer, byte_level.clone())), &composed);
    }
}

#[test]
fn ids_are_hugging_face_s_where_merges_are_ignored() {
    let mut model = byte_level_model();
    model["ignore_merges"] = json!(true);
    for (id, token) in (5_000..).zip([
        "ingThe",
        "\u{120}th",
        "abcdefghabcdefgh",
        "\u{e4}\u{b8}",
        // Two that are pieces, and parts of other pieces: U+4E2D, and U+4EBA U+6C11.
        "\u{e4}\u{b8}\u{143}",
        "\u{e4}\u{ba}\u{ba}\u{e6}\u{b0}\u{133}",
    ]) {
        model["vocab"].as_object_mut().unwrap().entry(token).or_insert(json!(id));
    }
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    assert_same(&definition(model, Value::Null, byte_level), &texts());
}

#[test]
fn ids_are_hugging_face_s_where_merges_are_in_any_order() {
    let mut model = byte_level_model();
    let merges = model["merges"].as_array_mut().unwrap();
    let mut random = Random::new(7);
    (1..merges.len()).for_each(|at| merges.swap(at, random.below(at + 1)));
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    assert_same(&definition(model, Value::Null, byte_level), &texts());
}

#[test]
fn sentence_piece_style_ids_are_hugging_face_s() {
    let (model, texts) = (sentence_model(), texts());
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"});
    let prepend = json!({"type": "Prepend", "prepend": "\u{2581}"});
    let both = json!({"type": "Sequence", "normalizers": [prepend, replace.clone()]});
    let split = json!({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false});
    for normalizer in [&replace, &both] {
        for pre_tokenizer in [&Value::Null, &split] {
            assert_same(&definition(model.clone(), normalizer.clone(), pre_tokenizer.clone()), &texts);
        }
    }
    for scheme in ["first", "always", "never"] {
        for split in [false, true] {
            let metaspace =
                json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": scheme, "split": split});
            assert_same(&definition(model.clone(), Value::Null, metaspace), &texts);
        }
    }
}

#[test]
fn a_part_that_is_not_recognised_is_named() {
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": true});
    let refused = |normalizer: Value, pre_tokenizer: Value| {
        let definition = definition(byte_level_model(), normalizer, pre_tokenizer);
        Tokenizer::from_definition(&definition, true).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(refused(json!({"type": "NFKC"}), byte_level.clone()), "normalizer NFKC");
    assert_eq!(refused(Value::Null, json!({"type": "Whitespace"})), "pre-tokenizer Whitespace");
    let split = json!({"type": "Split", "pattern": {"Regex": "\\s+"}, "behavior": "Isolated", "invert": false});
    let sequence = json!({"type": "Sequence", "pretokenizers": [split, {"type": "ByteLevel", "use_regex": false, "add_prefix_space": false}]});
    assert_eq!(refused(Value::Null, sequence), "split by \\s+");
}

/// Seconds this thread has had a processor, so that other work on the machine does not count.
#[cfg(target_os = "linux")]
fn cpu_seconds() -> f64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    schedstat.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}

#[test]
#[cfg(target_os = "linux")]
fn time_grows_with_the_text_and_no_faster() {
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": true});
    let tokenizer = Tokenizer::from_definition(&definition(byte_level_model(), Value::Null, byte_level), true).unwrap();
    let seconds = |text: &str, times: usize| {
        let mut memo = Memo::default();
        let start = cpu_seconds();
        (0..times).for_each(|_| tokenizer.encode(text, &mut memo, &mut Vec::new()));
        cpu_seconds() - start
    };
    for run in ["a", "ab", "\u{4f60}", "\u{4f60}\u{597d}", " ", "\n", "=", "\u{301}", "aaab"] {
        let text = run.repeat(1 << 19);
        let in_parts = seconds(text.get(..text.len() / 16).unwrap(), 16);
        let at_once = seconds(&text, 1);
        // The clock may tick in steps of ten milliseconds.
        assert!(at_once < 4.0 * in_parts + 0.1, "{run:?}: {at_once} s at once, {in_parts} s in sixteen parts");
    }
}

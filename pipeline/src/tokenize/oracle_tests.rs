//! Ids against Hugging Face's own crate, `tokenizers` 0.23.2, on texts that break tokenizers.

use std::path::{Path, PathBuf};

use schemas::config::Tokenize;
use schemas::dtype::Dtype;
use serde_json::{Value, json};

use super::definition::Definition;
use super::engine::{Engine, Own, Reference};
use super::{Encoder, Error, Scratch};

/// Texts of every script and every kind of trouble.
fn adversarial() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "\n",
        "  \u{a0}\u{3000}\t \r\n\r \u{85}\u{2028}\u{2029}\u{b}\u{c} x",
        "It's I'LL we'd 're 's'S don\u{2019}t '''s",
        "The quick brown fox jumps over the lazy dog. The quick brown fox.",
        "\u{4f60}\u{597d}\u{ff0c}\u{4e16}\u{754c}\u{3002}\u{4e2d}\u{6587}\u{5206}\u{8bcd}\u{6d4b}\u{8bd5}\u{ff01}12\u{6708}34\u{65e5}",
        "\u{65e5}\u{672c}\u{8a9e}\u{306e}\u{30c6}\u{30ad}\u{30b9}\u{30c8} \u{d55c}\u{ad6d}\u{c5b4} \u{442}\u{435}\u{43a}\u{441}\u{442} \u{3b5}\u{3bb}\u{3bb}",
        "\u{0639}\u{0631}\u{0628}\u{064a} \u{05e2}\u{05d1}\u{05e8}\u{05d9}\u{05ea} \u{0939}\u{093f}\u{0928}\u{094d}\u{0926}\u{0940} \u{0e44}\u{0e17}\u{0e22}",
        "e\u{301}\u{327} \u{e9} \u{1e9b}\u{323} \u{212b} \u{fb01} \u{2460} \u{bd} \u{1d518}\u{1d52b}",
        "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{1f3fd} \u{1f1e8}\u{1f1f3}\u{1f1fa}\u{1f1f8} \u{2764}\u{fe0f} \u{1f9d1}\u{200d}\u{1f680}",
        "0 1 12 123 1234 12345678901234567890 \u{0663}\u{0664} \u{2167} \u{ff11}\u{ff12} 3.14e-10 0xFF",
        "\0\u{1}\u{2}\u{7f}\u{80}\u{9f}\u{ad}\u{200b}\u{feff}\u{fffd}\u{ffff}\u{10ffff}\u{e000}",
        "<s>hello</s> <unk><s><|endoftext|> <|im_start|>user\n<|im_end|> < s > <S> </s </s></s>",
        "<|endoftext|", "x<|endoftext|>y", " <s> ", "<s", "</s>\u{301}", "\u{2581}a\u{2581}\u{2581}b \u{120}c \u{10a}",
        "<0x0A> <0xFF> [MASK] [UNK] {\"k\": [1, -2.5, null]} fn main() { println!(\"{}\", 1 << 2); }",
        "<think>a</think><tool_call>b</tool_call> <think",
        "aaaa\taaaa    aaaa\n\n\n\naaaa\n \n  \n x\u{a0}y", "\r\n\r\n a \r b\n", "_a__b___ -- ---- ...... !!!??",
        "\u{e01}\u{e33}\u{0e4d}\u{1100}\u{1161}\u{11a8} \u{0300}\u{0301} \u{1160}",
    ]
    .iter()
    .map(|text| (*text).to_owned())
    .collect();
    for run in [
        "a",
        " ",
        "\n",
        "0",
        "-",
        "\u{4f60}",
        "\u{1f600}",
        "ab",
        " a",
        "\u{301}",
        "=\n",
        "\u{a0}",
        "aab",
        "\u{7684}\u{4e00}",
    ] {
        texts.extend([2, 3, 8, 9, 24, 25, 65, 1000, 5003].map(|times| run.repeat(times)));
    }
    texts.extend((0..400).map(random_text));
    texts
}

/// A reproducible mixture of every alphabet, by a linear congruence.
fn random_text(seed: u64) -> String {
    const PIECES: [&str; 24] = [
        "a",
        "e",
        "th",
        "ing",
        " ",
        "  ",
        "\n",
        "\t",
        "1",
        "99",
        ".",
        "'s",
        "'",
        "\u{4e00}",
        "\u{7684}",
        "\u{ff0c}",
        "\u{e9}",
        "\u{301}",
        "\u{1f600}",
        "\u{200d}",
        "<s>",
        "</s>",
        "\u{0}",
        "\u{a0}",
    ];
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let mut text = String::new();
    for _ in 0..next() % 120 {
        match next() % 8 {
            0 => text.extend(char::from_u32(next() as u32 % 0x11_0000)),
            1 => text.extend(char::from_u32(next() as u32 % 0x3000)),
            _ => text.push_str(PIECES[next() % PIECES.len()]),
        }
    }
    text
}

/// A byte-level BPE trained on a small corpus: small, real, and made here.
fn byte_level(change: impl FnOnce(&mut Value)) -> Value {
    let corpus = adversarial().into_iter().filter(|text| text.len() < 400).collect::<Vec<_>>();
    let settings = super::train::Settings { vocab_size: 900, min_frequency: 0, special: Vec::new() };
    let trained = super::train::train(settings, corpus.iter().map(String::as_str)).unwrap();
    let mut value: Value = serde_json::from_slice(&trained.tokenizer).unwrap();
    change(&mut value);
    value
}

fn ids(engine: &Engine, text: &str, scratch: &mut Scratch) -> Vec<u32> {
    let mut out = Vec::new();
    engine.encode(text, scratch, &mut out).unwrap();
    out
}

/// Asserts that our engine, where it can encode, and crate tokenizers' make the reference's ids of every text, in both
/// readings of special tokens. Whether ours can.
fn assert_same(value: &Value, texts: &[String]) -> bool {
    let bytes = value.to_string();
    let definition = Definition::parse(Path::new("t.json"), bytes.as_bytes()).unwrap();
    let mut own = false;
    for allow_special in [false, true] {
        let ours = Own::load(&definition.value, allow_special).ok().map(|own| Engine::Own(Box::new(own)));
        let (chosen, _) = Engine::load(&definition.value, allow_special).unwrap();
        let (foreign, _) = Engine::foreign(&definition.value, allow_special).unwrap();
        let reference = Reference::load(&definition.value.to_string(), allow_special).unwrap();
        let oracle = Engine::Reference(Box::new(reference));
        own = ours.is_some();
        let mut scratch = Scratch::default();
        for text in texts {
            let expected = ids(&oracle, text, &mut scratch);
            for engine in ours.iter().chain([&foreign]) {
                let found = ids(engine, text, &mut scratch);
                assert!(
                    found == expected,
                    "allow_special {allow_special}, {} bytes, {text:.80?}:\n{found:.200?}\n{expected:.200?}",
                    text.len()
                );
            }
            assert_eq!(chosen.decode(&expected, false).unwrap(), oracle.decode(&expected, false).unwrap(), "{text:?}");
        }
    }
    own
}

#[test]
fn byte_level_ids_are_hugging_face_s() {
    assert!(assert_same(&byte_level(|_| ()), &adversarial()));
}

#[test]
fn ids_are_hugging_face_s_without_a_pre_tokenizer_regex() {
    let value = byte_level(|value| value["pre_tokenizer"]["use_regex"] = json!(false));
    assert!(assert_same(&value, &adversarial()));
}

#[test]
fn ids_are_hugging_face_s_where_merges_are_ignored() {
    let unreachable = |value: &mut Value| {
        value["model"]["ignore_merges"] = json!(true);
        value["model"]["vocab"]["\u{120}quick"] = json!(900);
        value["model"]["vocab"]["lazy"] = json!(901);
        let merges = value["model"]["merges"].as_array_mut().unwrap();
        merges.truncate(40);
    };
    assert_same(&byte_level(unreachable), &adversarial());
}

#[test]
fn ids_are_hugging_face_s_with_added_tokens_that_strip_and_are_not_special() {
    let value = byte_level(|value| {
        let token = |id: u32, content: &str, flags: [bool; 5]| json!({"id": id, "content": content, "single_word": flags[0], "lstrip": flags[1], "rstrip": flags[2], "normalized": flags[3], "special": flags[4]});
        let added = value["added_tokens"].as_array_mut().unwrap();
        added.push(token(900, "<think>", [false, false, false, false, false]));
        added.push(token(901, "</think>", [false, true, true, true, false]));
        added.push(token(902, "<|endoftext|>", [false, false, false, true, true]));
        added.push(token(903, "fox", [true, false, false, true, false]));
        added.push(token(904, "[MASK]", [false, true, false, false, true]));
    });
    assert_same(&value, &adversarial());
}

#[test]
fn a_split_by_another_expression_is_hugging_face_s() {
    let value = byte_level(|value| {
        value["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "[a-m]+|\\p{Han}{1,2}|[^\\S\\n]+"}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        ]});
    });
    assert_same(&value, &adversarial());
}

#[test]
fn ids_are_hugging_face_s_where_a_space_is_put_before_text() {
    let value = byte_level(|value| value["pre_tokenizer"]["add_prefix_space"] = json!(true));
    assert!(assert_same(&value, &adversarial()));
}

/// `ByteLevel` behind another pre-tokenizer.
fn behind(first: Value) -> Value {
    byte_level(|value| {
        let byte_level = value["pre_tokenizer"].clone();
        value["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [first, byte_level]});
    })
}

#[test]
fn ids_are_hugging_face_s_behind_digits() {
    assert!(assert_same(&behind(json!({"type": "Digits", "individual_digits": true})), &adversarial()));
}

#[test]
fn what_no_fast_engine_can_read_is_encoded_by_the_reference() {
    assert!(!assert_same(&behind(json!({"type": "Punctuation", "behavior": "Isolated"})), &adversarial()));
}

#[test]
fn ids_of_text_to_be_normalized_are_hugging_face_s_for_new_code_points_too() {
    let mut texts = adversarial();
    texts.extend(
        ["a\u{1add}\u{301}b", "\u{1acf}\u{323}", "e\u{301}\u{32991}", "\u{2126} \u{7fd}\u{300}"].map(str::to_owned),
    );
    let value = byte_level(|value| value["normalizer"] = json!({"type": "NFC"}));
    assert!(assert_same(&value, &texts));
}

fn folder(value: &Value, config: Option<Value>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), value.to_string()).unwrap();
    if let Some(config) = config {
        std::fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    }
    folder
}

fn minimal_config() -> Option<Value> {
    Some(json!({"bos_token": "<s>", "eos_token": {"content": "</s>"}}))
}

fn failure(result: Result<Encoder, Error>) -> String {
    result.err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn a_document_stands_between_bos_and_eos() {
    let folder = folder(&byte_level(|_| ()), minimal_config());
    let encoder = Encoder::load(folder.path(), &Tokenize::default()).unwrap();
    let mut out = vec![7];
    encoder.encode("the </s> fox", &mut Scratch::default(), &mut out).unwrap();
    assert_eq!((out[0], out[1], out.last().copied()), (7, 1, Some(2)));
    assert!(!out[2..out.len() - 1].contains(&2), "special-looking text became the special token");
    assert_eq!(encoder.decode(&out[1..], true).unwrap(), "the </s> fox");
    assert_eq!(encoder.vocab_size(), 900);
    let empty = {
        let mut out = Vec::new();
        encoder.encode("", &mut Scratch::default(), &mut out).unwrap();
        out
    };
    assert_eq!(empty, [1, 2]);
}

#[test]
fn one_token_for_both_is_written_once_at_the_end() {
    let folder = folder(&byte_level(|_| ()), Some(json!({"bos_token": "</s>", "eos_token": "</s>"})));
    let encoder = Encoder::load(folder.path(), &Tokenize::default()).unwrap();
    assert_eq!((encoder.bos_id(), encoder.eos_id()), (None, Some(2)));
    assert!(encoder.notes().iter().any(|note| note.contains("one token")));
}

#[test]
fn a_token_that_is_not_in_the_vocabulary_is_refused() {
    let folder = folder(&byte_level(|_| ()), minimal_config());
    let settings = Tokenize { bos: Some("<bos>".to_owned()), ..Tokenize::default() };
    assert!(failure(Encoder::load(folder.path(), &settings)).contains("bos token \"<bos>\" is not in the vocabulary"));
}

#[test]
fn an_id_beyond_u16_is_refused_and_u32_is_named() {
    let value = byte_level(|value| value["model"]["vocab"]["zzzzzz"] = json!(70_000));
    let folder = folder(&value, minimal_config());
    let error = failure(Encoder::load(folder.path(), &Tokenize::default()));
    assert!(error.contains("70000 (\"zzzzzz\") does not fit u16") && error.contains("--dtype u32"), "{error}");
    let settings = Tokenize { dtype: Dtype::U32, ..Tokenize::default() };
    assert_eq!(Encoder::load(folder.path(), &settings).unwrap().vocab_size(), 70_001);
}

#[test]
fn an_added_token_beyond_u16_is_refused() {
    let value = byte_level(|value| {
        value["model"]["vocab"]["zzzzzz"] = json!(65_535);
        let vocab = value["model"]["vocab"].as_object_mut().unwrap();
        (0..64_635).for_each(|index| drop(vocab.insert(format!("\u{4e00}{index}"), json!(900 + index))));
        value["added_tokens"].as_array_mut().unwrap().push(json!({"id": 65_536, "content": "<last>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}));
    });
    let folder = folder(&value, minimal_config());
    assert!(failure(Encoder::load(folder.path(), &Tokenize::default())).contains("65536 (\"<last>\")"));
}

#[test]
fn json_that_is_no_tokenizer_is_refused() {
    let folder = folder(&json!({"version": "1.0"}), minimal_config());
    assert!(failure(Encoder::load(folder.path(), &Tokenize::default())).contains("expected a Hugging Face tokenizer"));
}

#[test]
fn a_truncated_file_is_refused() {
    let folder = folder(&json!({}), None);
    std::fs::write(folder.path().join("tokenizer.json"), "{\"model\": {").unwrap();
    assert!(failure(Encoder::load(folder.path(), &Tokenize::default())).contains("parse"));
}

#[test]
fn a_missing_file_is_refused() {
    assert!(failure(Encoder::load(Path::new("nowhere/tokenizer.json"), &Tokenize::default())).contains("read nowhere"));
}

#[test]
fn copies_are_the_loaded_bytes_and_a_minimal_config() {
    let value = byte_level(|_| ());
    let folder = folder(&value, None);
    let settings = Tokenize { bos: Some("none".to_owned()), eos: Some("</s>".to_owned()), ..Tokenize::default() };
    let encoder = Encoder::load(folder.path(), &settings).unwrap();
    let files = encoder.files().unwrap();
    assert_eq!(files[0].bytes, value.to_string().into_bytes());
    let config: Value = serde_json::from_slice(&files[1].bytes).unwrap();
    assert_eq!((&config["bos_token"], &config["eos_token"]), (&Value::Null, &json!("</s>")));
    std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    assert!(encoder.files().unwrap_err().to_string().contains("changed since it was loaded"));
}

#[test]
fn an_id_beyond_the_vocabulary_is_not_decoded() {
    let folder = folder(&byte_level(|_| ()), minimal_config());
    let encoder = Encoder::load(folder.path(), &Tokenize::default()).unwrap();
    assert!(encoder.decode(&[5, 900], false).unwrap_err().to_string().contains("token id 900 at position 1"));
}

#[test]
fn long_one_character_runs_are_not_quadratic() {
    let definition = Definition::parse(Path::new("t.json"), byte_level(|_| ()).to_string().as_bytes()).unwrap();
    let (engine, _) = Engine::load(&definition.value, false).unwrap();
    let mut scratch = Scratch::default();
    let mut seconds = |bytes: usize| {
        let text = "a".repeat(bytes);
        let start = std::time::Instant::now();
        ids(&engine, &text, &mut scratch);
        start.elapsed().as_secs_f64()
    };
    seconds(1 << 16);
    let (short, long) = (seconds(1 << 18), seconds(1 << 22));
    assert!(long < 16.0 * 6.0 * short, "16 times the text took {:.0} times as long", long / short);
}

fn corpora() -> PathBuf {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    std::env::var_os("SHARDMILL_CORPORA").map_or_else(default, PathBuf::from)
}

fn sample_documents(most: usize) -> Vec<String> {
    use std::io::BufRead;
    let file = std::fs::File::open(corpora().join("corpora/sample_zh_en.jsonl.zst")).unwrap();
    let lines = std::io::BufReader::new(zstd::Decoder::new(file).unwrap()).lines();
    let texts = lines
        .filter_map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()["text"].as_str().map(str::to_owned));
    texts.take(most).collect()
}

#[test]
#[ignore = "needs SHARDMILL_CORPORA"]
fn real_tokenizers_give_hugging_face_s_ids_on_real_documents() {
    let mut texts = sample_documents(2_000);
    texts.extend(adversarial());
    for name in ["minimind-v1-6400", "minimind-latest-6400", "gpt2-50257", "llama2-32000", "qwen-151k"] {
        let bytes = std::fs::read(corpora().join("tokenizers").join(name).join("tokenizer.json")).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert!(assert_same(&value, &texts), "{name} is not read by our own engine");
    }
}

//! A tiny model and a tokenizer of bytes, for tests.

use std::path::Path;

use candle_core::Device;

use super::TextCodec;
use crate::config::ModelShape;
use crate::model::Llama;

/// A random model of 20 tokens and 12 positions.
pub fn model(eos_token_id: Option<u32>) -> Llama {
    shaped(20, 12, eos_token_id)
}

/// A random model of this vocabulary and these positions.
pub fn shaped(vocab_size: usize, max_seq_len: usize, eos_token_id: Option<u32>) -> Llama {
    let shape = ModelShape {
        dim: 16,
        n_layers: 2,
        n_heads: 2,
        n_kv_heads: None,
        vocab_size,
        max_seq_len,
        ..Default::default()
    };
    Llama::init(&shape.config(None, eos_token_id).unwrap(), 2, &Device::Cpu).unwrap()
}

/// Writes a byte-level `tokenizer.json` of the 256 bytes, each its own token.
pub fn write_bytes_tokenizer(folder: &Path) {
    let printable = |b: u8| (b'!'..=b'~').contains(&b) || (0xa1..=0xac).contains(&b) || b >= 0xae;
    let mut next = 0u32;
    let mut vocab = serde_json::Map::new();
    for byte in 0..=255u8 {
        let symbol = match printable(byte) {
            true => char::from(byte),
            false => {
                next += 1;
                char::from_u32(255 + next).unwrap()
            }
        };
        vocab.insert(symbol.to_string(), u32::from(byte).into());
    }
    let level =
        serde_json::json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": level, "post_processor": null, "decoder": level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": []},
    });
    std::fs::write(folder.join("tokenizer.json"), json.to_string()).unwrap();
}

/// The tokenizer of bytes.
pub fn bytes_codec(folder: &Path) -> TextCodec {
    write_bytes_tokenizer(folder);
    TextCodec::open(folder).unwrap()
}

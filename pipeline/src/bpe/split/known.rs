//! Which published expression has which scanner.

use super::{Cl100k, DeepSeek, Digits, Gpt2, O200k};

/// An expression with a scanner.
#[derive(Debug, Clone, Copy)]
pub enum Known {
    /// GPT-2 and its many kin.
    Gpt2(Gpt2),
    /// GPT-4, Llama 3, Qwen.
    Cl100k(Cl100k),
    /// GPT-4o, Llama 4, Mistral's Tekken.
    O200k(O200k),
    /// DeepSeek V3 and R1.
    DeepSeek(DeepSeek),
    /// SmolLM, StarCoder.
    Digits(Digits),
}

/// GPT-2's expression, which `ByteLevel` uses where it splits.
pub const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Expressions of one `Split`, in the spellings in which they are published.
const PUBLISHED: [(&str, Known); 9] = [
    (GPT2, Known::Gpt2(Gpt2)),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Known::Cl100k(Cl100k { digits_max: 3, marks: false }),
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Known::Cl100k(Cl100k { digits_max: 3, marks: false }),
    ),
    (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        Known::Cl100k(Cl100k { digits_max: 3, marks: false }),
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Known::Cl100k(Cl100k { digits_max: 1, marks: false }),
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Known::Cl100k(Cl100k { digits_max: 1, marks: true }),
    ),
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Known::O200k(O200k { digits_max: 3, contractions: true }),
    ),
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Known::O200k(O200k { digits_max: 1, contractions: false }),
    ),
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Known::O200k(O200k { digits_max: 3, contractions: false }),
    ),
];

/// Three expressions of three `Split`s in sequence.
const DEEPSEEK: [&str; 3] = [
    r"\p{N}{1,3}",
    "[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+",
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
];

/// Two expressions that split as pre-tokenizer `Digits` and then GPT-2's expression do.
const DIGITS: [([&str; 2], Digits); 2] =
    [([r"\p{N}", GPT2], Digits { individual: true }), ([r"\p{N}+", GPT2], Digits { individual: false })];

/// The scanner of expressions that isolate their matches, one after another.
pub fn known(expressions: &[&str]) -> Option<Known> {
    match expressions {
        [only] => PUBLISHED.iter().find(|(published, _)| published == only).map(|(_, known)| *known),
        [_, _] => DIGITS.iter().find(|(two, _)| two == expressions).map(|(_, digits)| Known::Digits(*digits)),
        three if *three == DEEPSEEK => Some(Known::DeepSeek(DeepSeek::default())),
        _ => None,
    }
}

/// All expressions with a scanner, for tests.
#[cfg(test)]
pub fn all() -> impl Iterator<Item = (Vec<&'static str>, Known)> {
    let published = PUBLISHED.iter().map(|(expression, known)| (vec![*expression], *known));
    let digits = DIGITS.iter().map(|(expressions, digits)| (expressions.to_vec(), Known::Digits(*digits)));
    published.chain(digits).chain([(DEEPSEEK.to_vec(), Known::DeepSeek(DeepSeek::default()))])
}

//! From flags and `config.toml` to one validated configuration, before any work starts.

use std::path::Path;

use schemas::config::{Config, Measure};

use crate::clean;
use crate::dedup;
use crate::error::Error;

/// Reads a configuration file.
///
/// # Errors
/// [`Error::Io`] where it cannot be read; [`Error::Usage`] with line and, for an unknown key, the nearest known one.
pub fn load(path: &Path) -> Result<Config, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
        let message = error.message().to_owned();
        let hint = nearest_key(&message).map_or(String::new(), |key| format!("did you mean `{key}`?"));
        Error::usage("--config", format!("{}:{line}: {message}", path.display()), &hint)
    })
}

/// "unknown field `treshold`, expected one of `threshold`, ..." -> `threshold`.
fn nearest_key(message: &str) -> Option<&str> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let is_unknown = ["unknown field", "unknown variant"].iter().any(|start| message.starts_with(start));
    let wrong = is_unknown.then(|| quoted.next()).flatten()?;
    quoted.min_by_key(|key| edit_distance(wrong, key))
}

fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = i;
        let mut last = i + 1;
        if let Some(first) = row.first_mut() {
            *first = last;
        }
        for (cell, b) in row.iter_mut().skip(1).zip(&right) {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = *cell;
            last = substituted.min(*cell + 1).min(last + 1);
            *cell = last;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Checks what can be checked without an input.
///
/// # Errors
/// [`Error::Usage`] naming the key.
pub fn validate(config: &Config) -> Result<(), Error> {
    let fraction = |key: &str, value: f64| {
        if (0.0..=1.0).contains(&value) {
            return Ok(());
        }
        Err(Error::usage(key, format!("expected a number from 0 to 1, found {value}"), ""))
    };
    fraction("--val-fraction", config.split.val_fraction)?;
    fraction("--max-invalid", config.read.max_invalid.unwrap_or_default())?;
    dedup::settings::Settings::from_config(&config.dedup)?;
    crate::mix::Mix::from_config(&config.mix)?;
    dedup::passages::Settings::from_config(&config.passages)?;
    if config.output.shard_tokens == 0 {
        return Err(Error::usage("--shard-tokens", "expected at least 1, found 0", ""));
    }
    if !(1..=LINE_BYTES_MAX).contains(&config.read.max_line_bytes) {
        let found = config.read.max_line_bytes;
        return Err(Error::usage("--max-line-bytes", format!("expected 1 to {LINE_BYTES_MAX}, found {found}"), ""));
    }
    if config.read.max_depth == 0 {
        return Err(Error::usage("--max-depth", "expected at least 1, found 0", ""));
    }
    if config.derive.is_some() {
        let hint = "this configuration is that of a dataset made by merge, remove or retokenize; take [derive] out";
        return Err(Error::usage("derive", "a run cannot be told to derive", hint));
    }
    if config.tokenize.tokenizer.is_empty() {
        let hint = "give --tokenizer FILE, or make one with `pipeline tokenizer train`";
        return Err(Error::usage("--tokenizer", "no tokenizer is given", hint));
    }
    Ok(())
}

/// Longest line that can be asked for: a block's spans are 32 bits wide.
const LINE_BYTES_MAX: u64 = 512 << 20;

/// The canonical `config.toml` of a dataset: every key, tokenizer, lists and models by their hashes, nothing of the
/// machine.
///
/// # Errors
/// [`Error::Usage`] where a value has no TOML form; [`Error::Clean`] where a list cannot be read.
pub fn canonical(
    config: &Config,
    measure: &Measure,
    tokenizer_hash: &str,
    bos: &str,
    eos: &str,
) -> Result<String, Error> {
    let mut config = config.clone();
    config.measure = measure.clone();
    config.tokenize.tokenizer = format!("sha256:{tokenizer_hash}");
    config.tokenize.bos = Some(bos.to_owned());
    config.tokenize.eos = Some(eos.to_owned());
    let clean = &mut config.clean;
    let filter = &mut config.filter;
    let of_filter = [
        &mut filter.block_domains,
        &mut filter.block_urls,
        &mut filter.block_keywords,
        &mut filter.require_keywords,
        &mut config.augment.synonyms,
    ];
    let of_terms = config.terms.values_mut().flat_map(|lists| lists.values_mut());
    let of_clean = clean.boilerplate.iter_mut().chain(clean.flagged_words.values_mut());
    for path in of_clean.chain(of_filter.into_iter().flatten()).chain(of_terms) {
        *path = clean::lists::identity(path)?;
    }
    toml::to_string(&config).map_err(|error| Error::usage("config", error.to_string(), ""))
}

/// Bytes from `2GiB`, `64 MiB`, `1.5GB`, `4096`.
///
/// # Errors
/// [`Error::Usage`] naming the setting.
pub fn parse_bytes(setting: &str, text: &str) -> Result<u64, Error> {
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let scale = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ => f64::NAN,
    };
    let bytes = number.parse::<f64>().map_or(f64::NAN, |number| number * scale);
    if bytes.is_finite() && (0.0..9e18).contains(&bytes) {
        return Ok(bytes as u64);
    }
    Err(Error::usage(setting, format!("expected a size such as 2GiB or 64MiB, found {text:?}"), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_and_without_units() {
        assert_eq!(parse_bytes("--memory", "2GiB").unwrap(), 2 << 30);
        assert_eq!(parse_bytes("--memory", "1.5 MB").unwrap(), 1_500_000);
        assert_eq!(parse_bytes("--memory", "42").unwrap(), 42);
        assert!(parse_bytes("--memory", "2 bananas").is_err());
    }

    #[test]
    fn an_unknown_key_is_refused_with_line_and_suggestion() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, "[split]\nval_fractoin = 0.1\n").unwrap();
        let message = load(&path).unwrap_err().to_string();
        assert!(message.contains("config.toml:2"), "{message}");
        assert!(message.contains("did you mean `val_fraction`?"), "{message}");
    }

    #[test]
    fn the_canonical_form_says_nothing_of_the_machine() {
        let mut config = Config::default();
        let first = canonical(&config, &config.measure, "aa", "none", "none").unwrap();
        config.machine.threads = Some(7);
        config.tokenize.tokenizer = "elsewhere/tokenizer.json".to_owned();
        assert_eq!(canonical(&config, &config.measure, "aa", "none", "none").unwrap(), first);
        assert!(toml::from_str::<Config>(&first).is_ok());
    }
}

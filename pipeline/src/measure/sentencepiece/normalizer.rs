//! Normalisation as a SentencePiece model has it: rules by longest prefix, spaces folded and made visible.

use std::collections::HashSet;

/// U+2581, which stands for a space.
const SPACE: &str = "\u{2581}";

#[derive(Debug)]
pub(super) struct Normalizer {
    /// A Darts double array: keys are text, values places in `replacements`.
    units: Vec<u32>,
    /// Texts, a zero after each.
    replacements: Vec<u8>,
    /// User-defined pieces, which no rule changes.
    kept: HashSet<Box<[u8]>>,
    kept_longest: usize,
    pub dummy_prefix: bool,
    pub remove_extra_spaces: bool,
    pub escape_spaces: bool,
    pub space_is_suffix: bool,
}

impl Default for Normalizer {
    /// The format's defaults.
    fn default() -> Normalizer {
        Normalizer {
            units: Vec::new(),
            replacements: Vec::new(),
            kept: HashSet::new(),
            kept_longest: 0,
            dummy_prefix: true,
            remove_extra_spaces: true,
            escape_spaces: true,
            space_is_suffix: false,
        }
    }
}

impl Normalizer {
    /// Takes a piece that no rule changes, if it is one.
    pub fn keep(&mut self, is_kept: bool, text: &[u8]) {
        if is_kept {
            self.kept_longest = self.kept_longest.max(text.len());
            self.kept.insert(text.into());
        }
    }

    /// Compiled rules: the size of the double array in bytes, the array, the texts. None where they are cut short.
    pub fn set_rules(&mut self, rules: &[u8]) -> Option<()> {
        if rules.is_empty() {
            return Some(());
        }
        let (size, rest) = rules.split_first_chunk::<4>()?;
        let (array, texts) = rest.split_at_checked(u32::from_le_bytes(*size) as usize)?;
        let (units, odd) = array.as_chunks::<4>();
        if !odd.is_empty() || texts.last() != Some(&0) || std::str::from_utf8(texts).is_err() {
            return None;
        }
        self.units = units.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
        self.replacements = texts.to_vec();
        Some(())
    }

    pub fn normalize(&self, text: &str) -> String {
        let mut rest = text;
        if self.remove_extra_spaces {
            while !rest.is_empty() {
                let (replaced, len) = self.prefix(rest);
                if replaced != " " {
                    break;
                }
                rest = rest.get(len..).unwrap_or_default();
            }
        }
        let mut out = String::with_capacity(rest.len() * 2);
        if rest.is_empty() {
            return out;
        }
        let space = if self.escape_spaces { SPACE } else { " " };
        if self.dummy_prefix && !self.space_is_suffix {
            out.push_str(space);
        }
        let mut after_space = self.remove_extra_spaces;
        while !rest.is_empty() {
            let (mut replaced, len) = self.prefix(rest);
            if after_space {
                replaced = replaced.trim_start_matches(' ');
            }
            if !replaced.is_empty() {
                replaced.split_inclusive(' ').for_each(|part| {
                    out.push_str(part.strip_suffix(' ').unwrap_or(part));
                    out.push_str(if part.ends_with(' ') { space } else { "" });
                });
                after_space = replaced.ends_with(' ');
            }
            after_space &= self.remove_extra_spaces;
            rest = rest.get(len..).unwrap_or_default();
        }
        if self.remove_extra_spaces {
            let len = out.trim_end_matches(space).len();
            out.truncate(len);
        }
        if self.dummy_prefix && self.space_is_suffix {
            out.push_str(space);
        }
        out
    }

    /// What the longest rule that fits makes of the start of a text, and how many of its bytes that was.
    fn prefix<'a>(&'a self, text: &'a str) -> (&'a str, usize) {
        if let Some(kept) = self.kept(text) {
            return (kept, kept.len());
        }
        if let Some((len, at)) = self.rule(text.as_bytes()).filter(|(len, _)| text.is_char_boundary(*len)) {
            let tail = self.replacements.get(at..).unwrap_or_default();
            let end = tail.iter().position(|byte| *byte == 0).unwrap_or(tail.len());
            return (std::str::from_utf8(tail.get(..end).unwrap_or_default()).unwrap_or_default(), len);
        }
        let len = super::first_len(text);
        (text.get(..len).unwrap_or_default(), len)
    }

    fn kept<'a>(&self, text: &'a str) -> Option<&'a str> {
        let ends = (1..=text.len().min(self.kept_longest)).rev();
        ends.filter_map(|end| text.get(..end)).find(|start| self.kept.contains(start.as_bytes()))
    }

    /// The longest key that a text starts with: its length and value.
    fn rule(&self, text: &[u8]) -> Option<(usize, usize)> {
        // A unit: bits 10-30 its offset, in units of 256 where bit 9 is set; bit 8 whether a key ends; its label.
        let offset = |unit: u32| ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize;
        let mut unit = *self.units.first()?;
        let mut at = offset(unit);
        let mut longest = None;
        for (index, byte) in text.iter().enumerate() {
            at ^= usize::from(*byte);
            let Some(next) = self.units.get(at) else { break };
            unit = *next;
            if unit & (1 << 31 | 0xff) != u32::from(*byte) {
                break;
            }
            at ^= offset(unit);
            if unit >> 8 & 1 == 1 {
                let value = self.units.get(at).map_or(0, |unit| unit & !(1 << 31));
                longest = Some((index + 1, value as usize));
            }
        }
        longest
    }
}

//! Brute force: every pair of texts at or above a similarity, from the documented definition of shingles alone. It imports
//! none of the code under test, so a fault there cannot hide here.

use std::collections::{HashMap, HashSet};

/// Units of a shingle by default.
const SHINGLE_UNITS: usize = 5;

/// Two texts by position, the earlier first, and their Jaccard similarity.
pub type Pair = (usize, usize, f64);

/// Units as `docs/FORMAT.md` has them: lower-case words, and single characters of scripts without spaces.
pub fn units(text: &str) -> Vec<String> {
    let mut units = Vec::new();
    let mut word = String::new();
    for character in text.chars() {
        let alone = matches!(u32::from(character), 0x4E00..=0x9FFF | 0x3400..=0x4DBF | 0x20000..=0x3FFFF | 0xF900..=0xFAFF
            | 0x3005..=0x3007 | 0x3041..=0x3096 | 0x30A1..=0x30FA | 0x30FC..=0x30FE | 0x31F0..=0x31FF | 0xFF66..=0xFF9D
            | 0x0E01..=0x0EDF | 0x0F40..=0x0FBC | 0x1000..=0x109F | 0x1780..=0x17D3);
        if !alone && character.is_alphanumeric() {
            word.extend(character.to_lowercase());
            continue;
        }
        if !word.is_empty() {
            units.push(std::mem::take(&mut word));
        }
        if alone {
            units.push(character.to_string());
        }
    }
    units.extend((!word.is_empty()).then_some(word));
    units
}

/// The set of shingles of a text, as strings.
pub fn shingles(text: &str) -> HashSet<String> {
    let units = units(text);
    if units.len() >= SHINGLE_UNITS {
        return units.windows(SHINGLE_UNITS).map(|run| run.join("\u{1f}")).collect();
    }
    let visible = text.chars().filter(|character| !character.is_whitespace()).flat_map(char::to_lowercase);
    let whole: String = visible.collect();
    (!whole.is_empty()).then(|| format!("\u{1e}{whole}")).into_iter().collect()
}

/// Jaccard similarity of two texts.
pub fn similarity(left: &str, right: &str) -> f64 {
    let (left, right) = (shingles(left), shingles(right));
    let shared = left.intersection(&right).count();
    let all = left.len() + right.len() - shared;
    if all == 0 { 0.0 } else { shared as f64 / all as f64 }
}

/// Every pair of texts at or above a similarity, counted through an index of who holds each shingle.
pub fn pairs(texts: &[String], least: f64) -> Vec<Pair> {
    let mut holders: HashMap<String, u32> = HashMap::new();
    let mut lists: Vec<Vec<u32>> = Vec::new();
    let mut sizes = Vec::with_capacity(texts.len());
    let mut of_text: Vec<Vec<u32>> = Vec::with_capacity(texts.len());
    for (text, words) in texts.iter().enumerate() {
        let set = shingles(words);
        sizes.push(set.len());
        let mut numbers = Vec::with_capacity(set.len());
        for shingle in set {
            let number = *holders.entry(shingle).or_insert_with(|| {
                lists.push(Vec::new());
                lists.len() as u32 - 1
            });
            lists[number as usize].push(text as u32);
            numbers.push(number);
        }
        of_text.push(numbers);
    }
    let mut found = Vec::new();
    for (right, numbers) in of_text.iter().enumerate() {
        let mut shared: HashMap<u32, usize> = HashMap::new();
        for left in numbers.iter().flat_map(|number| &lists[*number as usize]).filter(|left| (**left as usize) < right)
        {
            *shared.entry(*left).or_default() += 1;
        }
        for (left, both) in shared {
            let similarity = both as f64 / (sizes[left as usize] + sizes[right] - both) as f64;
            if similarity >= least {
                found.push((left as usize, right, similarity));
            }
        }
    }
    found.sort_by_key(|(left, right, _)| (*left, *right));
    found
}

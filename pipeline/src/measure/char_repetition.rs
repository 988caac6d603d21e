//! `char_rep_ratio`: how much of a text its most frequent character 10-grams make up.
//!
//! Data-Juicer's definition: of U different 10-grams the k most frequent, k = min(floor(sqrt U), U - those that occur
//! once); their occurrences over all occurrences.

use super::classes::decode;
use super::grams::{Frequencies, Grams, Rolling};

const N: usize = 10;

/// The ratio for a text of `chars` code points.
pub(super) fn ratio(text: &str, chars: u64, grams: &mut Grams, frequencies: &mut Frequencies) -> f64 {
    let Some(total) = (chars as usize).checked_sub(N - 1).filter(|total| *total > 0) else { return 0.0 };
    grams.count(total, |add| each_gram(text, add), frequencies);
    let k = frequencies.distinct.isqrt().min(frequencies.distinct - frequencies.singletons());
    frequencies.top(k as usize) as f64 / total as f64
}

fn each_gram(text: &str, add: &mut dyn FnMut(u64)) {
    let mut rolling = Rolling::<N>::new();
    let mut rest = text.as_bytes();
    loop {
        let (code, len) = decode(rest);
        if len == 0 {
            return;
        }
        rest = rest.get(len..).unwrap_or_default();
        if let Some(hash) = rolling.push(u64::from(code)) {
            add(hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> f64 {
        ratio(text, text.chars().count() as u64, &mut Grams::default(), &mut Frequencies::default())
    }

    #[test]
    fn no_ten_gram_twice_is_nothing() {
        assert_eq!(of(""), 0.0);
        assert_eq!(of("abcdefghi"), 0.0);
        assert_eq!(of("abcdefghijklmn"), 0.0);
    }

    #[test]
    fn one_character_again_and_again_is_everything() {
        assert_eq!(of(&"啊".repeat(30)), 1.0);
    }

    #[test]
    fn a_period_of_three_has_three_grams_of_which_one_counts() {
        // 33 characters make 24 grams, 8 of each kind; sqrt(3) is 1.
        assert_eq!(of(&"abc".repeat(11)), 8.0 / 24.0);
    }
}

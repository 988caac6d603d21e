//! Strings that end a text. What could be the start of one is held back until it is known not to be.

/// Watches text as it comes.
#[derive(Debug, Clone, Default)]
pub struct StopStrings {
    strings: Vec<String>,
    held: String,
}

impl StopStrings {
    /// A watch for any of `strings`; empty ones are ignored.
    pub fn new(strings: Vec<String>) -> StopStrings {
        StopStrings { strings: strings.into_iter().filter(|string| !string.is_empty()).collect(), held: String::new() }
    }

    /// Takes a piece of text; returns what may be shown, and whether a stop string was met (which is not shown).
    pub fn push(&mut self, piece: &str) -> (String, bool) {
        let mut text = std::mem::take(&mut self.held);
        text.push_str(piece);
        if let Some(at) = self.strings.iter().filter_map(|string| text.find(string.as_str())).min() {
            text.truncate(at);
            return (text, true);
        }
        self.held = text.split_off(text.len() - self.undecided(&text));
        (text, false)
    }

    /// Bytes at the end of `text` that could be the start of a stop string.
    fn undecided(&self, text: &str) -> usize {
        let starts = |string: &&String, bytes: usize| text.as_bytes().ends_with(&string.as_bytes()[..bytes]);
        let of = |string: &String| (1..string.len()).rev().find(|&bytes| starts(&string, bytes)).unwrap_or(0);
        let bytes = self.strings.iter().map(of).max().unwrap_or(0);
        // A match that starts inside a character is none.
        if text.is_char_boundary(text.len() - bytes) { bytes } else { 0 }
    }

    /// What is held back, once no more text comes.
    pub fn finish(self) -> String {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(strings: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut stop = StopStrings::new(strings.iter().map(|s| s.to_string()).collect());
        let mut shown = String::new();
        for piece in pieces {
            let (text, met) = stop.push(piece);
            shown.push_str(&text);
            if met {
                return (shown, true);
            }
        }
        (shown + &stop.finish(), false)
    }

    #[test]
    fn a_stop_string_over_several_pieces_ends_the_text_before_it() {
        assert_eq!(run(&["\n\n", "END"], &["one E", "N", "D two"]), ("one ".into(), true));
        assert_eq!(run(&["\n\n"], &["a\n", "b\n", "\nc"]), ("a\nb".into(), true));
        assert_eq!(run(&["你好", "好"], &["您", "好"]), ("您".into(), true));
    }

    #[test]
    fn the_earliest_of_several_ends_the_text() {
        assert_eq!(run(&["c", "ab"], &["xabc"]), ("x".into(), true));
    }

    #[test]
    fn what_only_looked_like_a_start_is_given_in_the_end() {
        assert_eq!(run(&["END", ""], &["E", "N", "E", "N"]), ("ENEN".into(), false));
        assert_eq!(run(&[], &["a", "b"]), ("ab".into(), false));
    }

    #[test]
    fn text_is_held_back_no_longer_than_needed() {
        let mut stop = StopStrings::new(vec!["END".into()]);
        assert_eq!(stop.push("spEN"), ("sp".into(), false));
        assert_eq!(stop.push("x"), ("ENx".into(), false));
    }
}

//! [`Splitter`]: how a text is split into words, with what that needs.

use schemas::config::{SpecialCharacters, Words};

use super::classes::Classes;
use super::words;

/// Splits text into words.
#[derive(Debug, Clone, Default)]
pub struct Splitter {
    how: Words,
}

impl Splitter {
    /// Loads what `how` needs.
    pub fn load(how: Words) -> Splitter {
        Splitter { how }
    }

    /// Calls `each` with every word of a text, in order.
    pub fn each_word(&self, text: &str, each: &mut dyn FnMut(&str)) {
        // Which special characters count makes no difference to words.
        words::each_word(text, self.how, Classes::get(SpecialCharacters::Compatible), each);
    }
}

//! Step `controls`: characters that nobody sees go: control characters but for tab and line ends, zero-width and
//! direction marks, byte order marks, noncharacters.
//!
//! Joiners stay where they shape what is seen (Indic and Arabic script, emoji) and go after ASCII and Chinese.

use super::chars::{char_at, is_cjk};
use super::edit::{Edit, Edited};
use super::profile::Profile;

/// First bytes of the characters that may go.
const LEADS: [u8; 8] = [0xc2, 0xd8, 0xe1, 0xe2, 0xef, 0xf0, 0xf3, 0xf4];
const CANDIDATE: [bool; 256] = candidates();

const fn candidates() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = byte != 9 && byte != 10 && byte != 13;
        byte += 1;
    }
    table[0x7f] = true;
    // Noncharacters end each of the 17 planes.
    let mut lead = 0xf0;
    while lead <= 0xf4 {
        table[lead] = true;
        lead += 1;
    }
    let mut index = 0;
    while index < LEADS.len() {
        table[LEADS[index] as usize] = true;
        index += 1;
    }
    table
}

/// Whether the step may change a text with these bytes.
pub fn applies(profile: &Profile) -> bool {
    (0..=255).any(|byte| CANDIDATE[usize::from(byte)] && profile.has(byte))
}

/// Takes the step.
pub fn clean(text: &str) -> Edited<'_> {
    let bytes = text.as_bytes();
    let mut edit = Edit::new(text);
    // The last character that stays of those before `last_end`; what went does not stand before a joiner.
    let (mut last_end, mut last_kept) = (0, None);
    let mut at = 0;
    while let Some(step) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| CANDIDATE[usize::from(*byte)])) {
        at += step;
        let Some(found) = char_at(text, at) else { break };
        let end = at + found.len_utf8();
        let before = if at == last_end { last_kept } else { text.get(..at).and_then(|text| text.chars().next_back()) };
        if is_unseen(found, before) {
            edit.remove(at..end);
            (last_end, last_kept) = (end, before);
        }
        at = end;
    }
    edit.finish()
}

fn is_unseen(c: char, before: Option<char>) -> bool {
    match c {
        '\t' | '\n' | '\r' | '\u{85}' => false,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' => true,
        '\u{200c}' | '\u{200d}' => before.is_none_or(|c| c.is_ascii() || is_cjk(c) || c.is_whitespace()),
        '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fdd0}'..='\u{fdef}' => true,
        c => (c as u32) & 0xfffe == 0xfffe,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_goes() {
        let text = "\u{feff}a\u{0}b\u{200b}c\u{202e}d\u{ad}e\u{7f}f\u{85}\ng\t\u{ffff}\u{1ffff}";
        assert_eq!(clean(text), Edited { text: "abcdef\u{85}\ng\t".into(), changes: 8 });
    }

    #[test]
    fn a_joiner_stays_where_it_shapes_what_is_seen() {
        for text in ["\u{1f468}\u{200d}\u{1f469}", "\u{646}\u{645}\u{6cc}\u{200c}\u{62e}", "क\u{94d}\u{200d}ष"] {
            assert_eq!(clean(text), Edited::same(text));
        }
        assert_eq!(clean("中\u{200d}\u{200c}文a\u{200d}").text, "中文a");
    }
}

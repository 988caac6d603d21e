//! Step `mojibake`: UTF-8 that was read as Latin-1 or Windows-1252 ("â€™", "ä½ å¥½") becomes what it was.
//!
//! Each run of characters that are the bytes of one UTF-8 sequence is judged by itself, so that text of which only a
//! part was damaged is repaired, and text that was damaged twice in two rounds. Letters that real French or Portuguese
//! puts side by side with quotation marks and no-break spaces are left alone.

use super::chars::{char_at, char_before};
use super::edit::{Edit, Edited};
use super::profile::Profile;

/// Whether the step may change a text with these bytes: U+00C2 to U+00F4 begin with this one.
pub fn applies(profile: &Profile) -> bool {
    profile.has(0xc3)
}

/// Takes the step.
pub fn clean(text: &str) -> Edited<'_> {
    let mut edit = Edit::new(text);
    let mut at = 0;
    while let Some(step) = text.as_bytes().get(at..).and_then(|rest| memchr::memchr(0xc3, rest)) {
        at += step;
        match sequence(text, at) {
            Some(found) if is_credible(text, at, &found) => {
                edit.replace(at..found.end, found.c.encode_utf8(&mut [0; 4]));
                at = found.end;
            }
            _ => at += 2,
        }
    }
    edit.finish()
}

/// One UTF-8 sequence whose bytes stand as characters.
struct Sequence {
    c: char,
    end: usize,
    /// Its last byte but one, and its last.
    tail: (u8, u8),
}

fn sequence(text: &str, at: usize) -> Option<Sequence> {
    let mut chars = text.get(at..)?.chars();
    let lead = byte_of(chars.next()?)?;
    let length = match lead {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    let (mut bytes, mut end) = ([lead, 0, 0, 0], at + 2);
    for slot in bytes.get_mut(1..length)? {
        let next = chars.next()?;
        *slot = byte_of(next).filter(|byte| (0x80..=0xbf).contains(byte))?;
        end += next.len_utf8();
    }
    let c = std::str::from_utf8(bytes.get(..length)?).ok()?.chars().next()?;
    let tail = (bytes.get(length - 2).copied()?, bytes.get(length - 1).copied()?);
    Some(Sequence { c, end, tail })
}

fn is_credible(text: &str, at: usize, found: &Sequence) -> bool {
    let quote_or_space = |byte: u8| matches!(byte, 0xa0 | 0xab | 0xbb);
    let after_capital = char_before(text, at).is_some_and(char::is_uppercase);
    match found.c {
        // "Ã»" and "Â »" after a capital letter are the end of a quotation in capitals.
        '\u{a0}'..='\u{ff}' => !(after_capital && quote_or_space(found.tail.1)),
        '\u{2000}'..='\u{2bff}' | '\u{3000}'..='\u{30ff}' | '\u{fe00}'..='\u{ffef}' => true,
        // "é »" with a no-break space would be U+983B.
        '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' => !(found.tail.0 == 0xa0 && quote_or_space(found.tail.1)),
        '\u{1f000}'..='\u{1faff}' | '\u{20000}'..='\u{323af}' => true,
        // Other scripts only in runs: one sequence alone may be what was meant.
        c if c >= '\u{100}' => {
            let next = char_at(text, found.end).is_some() && sequence(text, found.end).is_some();
            next || is_after_sequence(text, at)
        }
        _ => false,
    }
}

/// Whether a two- or three-byte sequence ends before a byte.
fn is_after_sequence(text: &str, at: usize) -> bool {
    let Some(before) = text.get(..at) else { return false };
    let starts = before.char_indices().rev().skip(1).take(2).map(|(start, _)| start);
    starts.into_iter().any(|start| sequence(text, start).is_some_and(|found| found.end == at))
}

/// The byte that Windows-1252, or Latin-1 where that has none, reads as this character.
fn byte_of(c: char) -> Option<u8> {
    let byte = match c {
        '\u{80}'..='\u{ff}' => c as u32 as u8,
        '€' => 0x80,
        '‚' => 0x82,
        'ƒ' => 0x83,
        '„' => 0x84,
        '…' => 0x85,
        '†' => 0x86,
        '‡' => 0x87,
        'ˆ' => 0x88,
        '‰' => 0x89,
        'Š' => 0x8a,
        '‹' => 0x8b,
        'Œ' => 0x8c,
        'Ž' => 0x8e,
        '‘' => 0x91,
        '’' => 0x92,
        '“' => 0x93,
        '”' => 0x94,
        '•' => 0x95,
        '–' => 0x96,
        '—' => 0x97,
        '˜' => 0x98,
        '™' => 0x99,
        'š' => 0x9a,
        '›' => 0x9b,
        'œ' => 0x9c,
        'ž' => 0x9e,
        'Ÿ' => 0x9f,
        _ => return None,
    };
    Some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text as a program shows it that takes its UTF-8 for Windows-1252, by another library.
    fn damaged(text: &str) -> String {
        encoding_rs::WINDOWS_1252.decode_without_bom_handling(text.as_bytes()).0.into_owned()
    }

    #[test]
    fn what_was_read_as_windows_1252_is_read_again() {
        for text in ["你好，世界！", "it’s “fine” – naïve café", "Привет мир", "50 °C", "😀 ok", "こんにちは"]
        {
            assert_eq!(clean(&damaged(text)).text, text);
        }
        assert_eq!(clean("plain, then Ã©tÃ©").text, "plain, then été");
    }

    #[test]
    fn what_was_read_wrongly_twice_takes_two_rounds() {
        let once = damaged("naïve");
        assert_eq!(clean(&damaged(&once)).text, once);
    }

    #[test]
    fn real_latin_text_stays() {
        for text in [
            "« un été\u{a0}» à\u{a0}« la plage\u{a0}»",
            "CAFÉ» DÉJÀ\u{a0}VU",
            "AMANHÃ» É",
            "Ça coûte 3\u{a0}€ — très chère",
            "Größe, Straße, ÄÖÜ",
        ] {
            assert_eq!(clean(text), Edited::same(text));
        }
    }
}

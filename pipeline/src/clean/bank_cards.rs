//! Step `bank_cards`: numbers of 13 to 19 digits, alone or in groups of four, that begin as cards do (ISO/IEC 7812
//! issuers 2 to 6) and pass the Luhn check give way to a placeholder.

use super::digits::{self, Cursor};
use super::edit::Edited;
use super::profile::Profile;

/// Whether the step may change a text with these bytes.
pub fn applies(profile: &Profile) -> bool {
    profile.has_digit()
}

/// Takes the step.
pub fn clean<'a>(text: &'a str, placeholder: &str) -> Edited<'a> {
    digits::replace(text, placeholder, card)
}

fn card(bytes: &[u8]) -> Option<usize> {
    let mut cursor = Cursor::new(bytes);
    let mut number: Vec<u8> = Vec::with_capacity(19);
    match cursor.digits(13, 19) {
        Some(digits) => number.extend_from_slice(digits),
        None => grouped(&mut cursor, &mut number)?,
    }
    let issuer = number.first().is_some_and(|digit| (b'2'..=b'6').contains(digit));
    ((13..=19).contains(&number.len()) && issuer && passes_luhn(&number)).then_some(cursor.at())
}

/// `6222 0212 3456 7890 123`: groups of four with one kind of mark between, the last of one to four.
fn grouped(cursor: &mut Cursor<'_>, number: &mut Vec<u8>) -> Option<()> {
    number.extend_from_slice(cursor.digits(4, 4)?);
    let mark = if cursor.one_of(b" ") { b" " } else { b"-" };
    if mark == b"-" {
        cursor.one_of(mark).then_some(())?;
    }
    loop {
        let group = cursor.digits(1, 4)?;
        number.extend_from_slice(group);
        let before = cursor.clone();
        if group.len() < 4 || number.len() >= 19 || !cursor.one_of(mark) || cursor.clone().digits(1, 4).is_none() {
            *cursor = before;
            return Some(());
        }
    }
}

/// Luhn's check (ISO/IEC 7812-1, annex B).
fn passes_luhn(digits: &[u8]) -> bool {
    let value = |(place, digit): (usize, &u8)| {
        let digit = u32::from(digit - b'0');
        match place % 2 {
            0 => digit,
            _ if digit > 4 => digit * 2 - 9,
            _ => digit * 2,
        }
    };
    digits.iter().rev().enumerate().map(value).sum::<u32>() % 10 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_give_way() {
        // Test numbers that payment networks publish.
        for number in ["4111111111111111", "5555 5555 5555 4444", "3782-8224-6310-005", "6200000000000000003"] {
            let cleaned = clean(&format!("卡号{number}，"), "CARD").text.into_owned();
            assert_eq!(cleaned == "卡号CARD，", passes_luhn(&number.replace([' ', '-'], "").into_bytes()), "{number}");
        }
        assert_eq!(clean("4111111111111111", "CARD").text, "CARD");
        assert_eq!(clean("5555 5555 5555 4444", "CARD").text, "CARD");
    }

    #[test]
    fn other_numbers_stay() {
        for text in ["4111111111111112", "1700000000000", "41111111", "2019 2020 2021", "4111 1111 1111 1111 1111 1"] {
            assert_eq!(clean(text, "CARD"), Edited::same(text));
        }
    }
}

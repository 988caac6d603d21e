//! Step `id_numbers`: identity numbers of the People's Republic of China (GB 11643-1999, 18 characters) whose date is
//! one and whose check character is right give way to a placeholder.

use super::digits::{self, Cursor};
use super::edit::Edited;
use super::profile::Profile;

const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];

/// Whether the step may change a text with these bytes.
pub fn applies(profile: &Profile) -> bool {
    profile.has_digit()
}

/// Takes the step.
pub fn clean<'a>(text: &'a str, placeholder: &str) -> Edited<'a> {
    digits::replace(text, placeholder, number)
}

fn number(bytes: &[u8]) -> Option<usize> {
    let mut cursor = Cursor::new(bytes);
    let digits = cursor.first_digits(17)?;
    let check = bytes.get(17)?.to_ascii_uppercase();
    (is_date(digits.get(6..14)?) && check == check_character(digits)).then_some(18)
}

fn is_date(digits: &[u8]) -> bool {
    let number = |range: std::ops::Range<usize>| {
        digits.get(range).unwrap_or_default().iter().fold(0_u32, |sum, digit| sum * 10 + u32::from(digit - b'0'))
    };
    (1880..=2100).contains(&number(0..4)) && (1..=12).contains(&number(4..6)) && (1..=31).contains(&number(6..8))
}

/// ISO 7064 MOD 11-2.
fn check_character(digits: &[u8]) -> u8 {
    let sum: u32 = digits.iter().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    b"10X98765432".get(sum as usize % 11).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_with_a_right_checksum_gives_way() {
        // The example of the standard's own text, and one with X.
        for number in ["11010519491231002X", "440524188001010014", "11010519491231002x"] {
            assert_eq!(clean(&format!("身份证{number}。"), "ID").text, "身份证ID。");
        }
    }

    #[test]
    fn other_numbers_stay() {
        for text in ["110105194912310021", "440524188013010014", "11010519491231002X9", "1234567890"] {
            assert_eq!(clean(text, "ID"), Edited::same(text));
        }
    }
}

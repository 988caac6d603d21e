//! Step `phones`: telephone numbers give way to a placeholder: Chinese mobile and fixed lines, 400 and 800 numbers,
//! international ones with `+`, North American ones.

use super::digits::{self, Cursor};
use super::edit::Edited;
use super::profile::Profile;

/// Whether the step may change a text with these bytes.
pub fn applies(profile: &Profile) -> bool {
    profile.has_digit()
}

/// Takes the step.
pub fn clean<'a>(text: &'a str, placeholder: &str) -> Edited<'a> {
    digits::replace(text, placeholder, phone)
}

fn phone(bytes: &[u8]) -> Option<usize> {
    let kinds: [fn(&mut Cursor<'_>) -> Option<()>; 6] =
        [international, mobile, landline, service, north_american, in_parentheses];
    kinds.into_iter().find_map(|kind| {
        let mut cursor = Cursor::new(bytes);
        kind(&mut cursor).map(|()| cursor.at())
    })
}

/// `13812345678`, `138 1234 5678`, `138-1234-5678`, `86-13812345678`.
fn mobile(cursor: &mut Cursor<'_>) -> Option<()> {
    let mut with_country = cursor.clone();
    if with_country.literal(b"86").is_some() {
        with_country.one_of(b" -");
        if mobile_number(&mut with_country).is_some() {
            *cursor = with_country;
            return Some(());
        }
    }
    mobile_number(cursor)
}

fn mobile_number(cursor: &mut Cursor<'_>) -> Option<()> {
    let start = cursor.first_digits(3)?;
    if !matches!(start, [b'1', b'3'..=b'9', _]) {
        return None;
    }
    if cursor.one_of(b" -") {
        cursor.digits(4, 4)?;
        cursor.one_of(b" -").then_some(())?;
        return cursor.digits(4, 4).map(|_| ());
    }
    cursor.digits(8, 8).map(|_| ())
}

/// `010-12345678`, `0755-1234567`, `010-12345678-801`.
fn landline(cursor: &mut Cursor<'_>) -> Option<()> {
    cursor.clone().literal(b"0")?;
    cursor.digits(3, 4)?;
    cursor.one_of(b" -").then_some(())?;
    cursor.digits(7, 8)?;
    extension(cursor);
    Some(())
}

fn extension(cursor: &mut Cursor<'_>) {
    let mut longer = cursor.clone();
    if longer.one_of(b"-") && longer.digits(1, 6).is_some() {
        *cursor = longer;
    }
}

/// `400-123-4567`, `400-1234-567`, `4001234567`.
fn service(cursor: &mut Cursor<'_>) -> Option<()> {
    let start = cursor.first_digits(3)?;
    if start != b"400" && start != b"800" {
        return None;
    }
    if !cursor.one_of(b" -") {
        return cursor.digits(7, 7).map(|_| ());
    }
    let first = cursor.digits(3, 7)?.len();
    if first == 7 {
        return Some(());
    }
    cursor.one_of(b" -").then_some(())?;
    cursor.digits(7 - first, 7 - first).map(|_| ())
}

/// `+86 138 1234 5678`, `+1 (212) 555-0123`, `+442071234567`: 8 to 15 digits after the plus (E.164).
fn international(cursor: &mut Cursor<'_>) -> Option<()> {
    cursor.literal(b"+")?;
    let mut count = cursor.digits(1, 15)?.len();
    let mut end = cursor.clone();
    while count < 15 {
        cursor.one_of(b" -.");
        let open = cursor.one_of(b"(");
        let Some(group) = cursor.digits(2, 11) else { break };
        if open && !cursor.one_of(b")") {
            break;
        }
        count += group.len();
        end = cursor.clone();
    }
    *cursor = end;
    (8..=15).contains(&count).then_some(())
}

/// `212-555-0123`, `212.555.0123`.
fn north_american(cursor: &mut Cursor<'_>) -> Option<()> {
    cursor.digits(3, 3)?;
    let mark = if cursor.one_of(b"-") { b"-" } else { b"." };
    if mark == b"." {
        cursor.one_of(mark).then_some(())?;
    }
    cursor.digits(3, 3)?;
    cursor.one_of(mark).then_some(())?;
    cursor.digits(4, 4).map(|_| ())
}

/// `(010) 12345678`, `(212) 555-0123`.
fn in_parentheses(cursor: &mut Cursor<'_>) -> Option<()> {
    cursor.literal(b"(")?;
    let area = cursor.digits(3, 4)?;
    cursor.literal(b")")?;
    cursor.one_of(b" -");
    if area.starts_with(b"0") {
        cursor.digits(7, 8)?;
        extension(cursor);
        return Some(());
    }
    cursor.digits(3, 3)?;
    cursor.one_of(b" -.").then_some(())?;
    cursor.digits(4, 4).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_give_way() {
        for number in [
            "13812345678",
            "138 1234 5678",
            "138-1234-5678",
            "+86 13812345678",
            "86-13812345678",
            "010-12345678",
            "0755-1234567-801",
            "(010) 12345678",
            "400-123-4567",
            "4001234567",
            "+1 (212) 555-0123",
            "+442071234567",
            "212-555-0123",
            "(212) 555-0123",
        ] {
            assert_eq!(clean(&format!("电话：{number}。"), "TEL").text, "电话：TEL。", "{number}");
        }
    }

    #[test]
    fn other_numbers_stay() {
        for text in ["12345678901", "138123456789", "2024-01-01", "3.14159265", "1-800", "a13812345678", "+1", "020-1"]
        {
            assert_eq!(clean(text, "TEL"), Edited::same(text));
        }
    }
}

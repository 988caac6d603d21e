//! Step `units`: units that are one character (㎡, ㎏, ℃, ％) become the letters they stand for.

use super::chars::char_at;
use super::edit::{Edit, Edited};
use super::profile::Profile;

/// Whether the step may change a text with these bytes.
pub fn applies(profile: &Profile) -> bool {
    profile.has_any(&[0xe2, 0xe3, 0xef])
}

/// Takes the step.
pub fn clean(text: &str) -> Edited<'_> {
    let mut edit = Edit::new(text);
    let mut at = 0;
    while let Some(step) = text.as_bytes().get(at..).and_then(|rest| memchr::memchr3(0xe2, 0xe3, 0xef, rest)) {
        at += step;
        let Some(found) = char_at(text, at) else { break };
        let end = at + found.len_utf8();
        if let Some(letters) = letters(found) {
            edit.replace(at..end, letters);
        }
        at = end;
    }
    edit.finish()
}

fn letters(c: char) -> Option<&'static str> {
    Some(match c {
        '％' => "%",
        '℃' => "°C",
        '℉' => "°F",
        '№' => "No.",
        'Å' => "Å",
        'Ω' => "Ω",
        '㎜' => "mm",
        '㎝' => "cm",
        '㎞' => "km",
        '㎡' => "m²",
        '㎠' => "cm²",
        '㎟' => "mm²",
        '㎢' => "km²",
        '㎥' => "m³",
        '㎤' => "cm³",
        '㎣' => "mm³",
        '㎦' => "km³",
        '㎎' => "mg",
        '㎏' => "kg",
        '㏄' => "cc",
        '㎖' => "ml",
        '㎗' => "dl",
        '㎘' => "kl",
        '㎍' => "μg",
        '㎛' => "μm",
        '㎚' => "nm",
        '㎐' => "Hz",
        '㎑' => "kHz",
        '㎒' => "MHz",
        '㎓' => "GHz",
        '㎅' => "KB",
        '㎆' => "MB",
        '㎇' => "GB",
        '㎾' => "kW",
        '㎿' => "MW",
        '㎸' => "kV",
        '㎃' => "mA",
        '㎩' => "Pa",
        '㎪' => "kPa",
        '㎫' => "MPa",
        '㎈' => "cal",
        '㎉' => "kcal",
        '㏑' => "ln",
        '㏒' => "log",
        '㏈' => "dB",
        '㎳' => "ms",
        '㎲' => "μs",
        '㎧' => "m/s",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_becomes_its_letters() {
        assert_eq!(clean("面积120㎡，25℃，50％，3㎏").text, "面积120m²，25°C，50%，3kg");
        assert_eq!(clean("一、二。（三）"), Edited::same("一、二。（三）"));
    }
}

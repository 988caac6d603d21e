//! The detector that needs no model: scripts first, trigrams of `whatlang` where a script has several languages.
//!
//! The score is a share times a probability: how much of the text (its letters by weight, and the marks that make a
//! text code) the label accounts for, times how sure the label is among the languages of its script. So Chinese with
//! much English in it, or prose with code, scores lower than either alone, as fastText's does.

use whatlang::Lang;

/// Version of the method, as it stands in a dataset's configuration.
pub(in crate::measure) const NAME: &str = "embedded-1";

/// Most letters that trigrams are counted in: more change nothing but the time.
const SAMPLE_LETTERS_MAX: usize = 1_200;
/// Windows of the text from which the sample is taken.
const SAMPLE_WINDOWS: usize = 4;
/// Share of kana among kana and Han from which a text is Japanese.
const KANA_SHARE_MIN: f64 = 0.1;
/// Below it, unaccented Latin text is taken for English: identifiers, names, single words.
const CONFIDENCE_MIN: f64 = 0.25;

/// A script, or several that one language mixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    /// Several languages: trigrams decide.
    Latin,
    Cyrillic,
    Arabic,
    Hebrew,
    Devanagari,
    Han,
    Kana,
    /// One language: index into [`SINGLE`].
    Single(u8),
}

const MULTIPLE: [Script; 7] =
    [Script::Latin, Script::Cyrillic, Script::Arabic, Script::Hebrew, Script::Devanagari, Script::Han, Script::Kana];

/// Scripts that one language has nearly to itself: first and last code point, label.
const SINGLE: [(u32, u32, &str); 19] = [
    (0x0370, 0x03ff, "el"),
    (0x0531, 0x058f, "hy"),
    (0x0980, 0x09ff, "bn"),
    (0x0a00, 0x0a7f, "pa"),
    (0x0a80, 0x0aff, "gu"),
    (0x0b00, 0x0b7f, "or"),
    (0x0b80, 0x0bff, "ta"),
    (0x0c00, 0x0c7f, "te"),
    (0x0c80, 0x0cff, "kn"),
    (0x0d00, 0x0d7f, "ml"),
    (0x0d80, 0x0dff, "si"),
    (0x0e00, 0x0e7f, "th"),
    (0x0e80, 0x0eff, "lo"),
    (0x0f00, 0x0fff, "bo"),
    (0x1000, 0x109f, "my"),
    (0x10a0, 0x10ff, "ka"),
    (0x1200, 0x137f, "am"),
    (0x1780, 0x17ff, "km"),
    (0xac00, 0xd7a3, "ko"),
];

const SLOTS: usize = MULTIPLE.len() + SINGLE.len();

impl Script {
    fn slot(self) -> usize {
        match self {
            Script::Single(index) => MULTIPLE.len() + usize::from(index),
            script => MULTIPLE.iter().position(|known| *known == script).unwrap_or_default(),
        }
    }

    fn of_slot(slot: usize) -> Script {
        MULTIPLE.get(slot).copied().unwrap_or(Script::Single((slot.max(MULTIPLE.len()) - MULTIPLE.len()) as u8))
    }

    /// How many Latin letters say as much as one of this script.
    fn weight(self) -> u64 {
        match self {
            Script::Han => 3,
            Script::Kana | Script::Single(18) => 2,
            _ => 1,
        }
    }

    fn of(c: char) -> Option<Script> {
        let code = u32::from(c);
        if c.is_ascii() {
            return c.is_ascii_alphabetic().then_some(Script::Latin);
        }
        match code {
            0x3005..=0x3007 | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x323af => {
                Some(Script::Han)
            }
            0x3040..=0x30ff | 0x31f0..=0x31ff | 0xff66..=0xff9f => Some(Script::Kana),
            0xc0..=0x24f | 0x1e00..=0x1eff if code != 0xd7 && code != 0xf7 => Some(Script::Latin),
            0x400..=0x52f => Some(Script::Cyrillic),
            0x590..=0x5ff => Some(Script::Hebrew),
            0x600..=0x6ff | 0x750..=0x77f | 0xfb50..=0xfdff | 0xfe70..=0xfefc => Some(Script::Arabic),
            0x900..=0x97f => Some(Script::Devanagari),
            _ => {
                let index = SINGLE.iter().position(|(first, last, _)| (*first..=*last).contains(&code))?;
                Some(Script::Single(index as u8))
            }
        }
    }
}

/// What the scripts of a text say.
#[derive(Debug, Clone, Copy)]
struct Histogram {
    letters: [u64; SLOTS],
    /// Marks that code has and prose has not.
    code_marks: u64,
}

fn histogram(text: &str) -> Histogram {
    let mut ascii = [0_u64; 128];
    let mut found = Histogram { letters: [0; SLOTS], code_marks: 0 };
    for c in text.chars() {
        if let Some(count) = ascii.get_mut(c as usize) {
            *count += 1;
        } else if let Some(letters) = Script::of(c).and_then(|script| found.letters.get_mut(script.slot())) {
            *letters += 1;
        }
    }
    for (code, count) in ascii.into_iter().enumerate() {
        let c = char::from(code as u8);
        if c.is_ascii_alphabetic() {
            found.letters[0] += count;
        }
        found.code_marks += if "{}[]()<>=_;|\\/*&$#@^~`+".contains(c) { count } else { 0 };
    }
    found
}

/// The language of a text and how sure that is, 0 to 1; an empty label and 0 where the text has no letters.
pub(in crate::measure) fn detect(text: &str) -> (&'static str, f64) {
    let found = histogram(text);
    let weight = |script: Script| found.letters.get(script.slot()).copied().unwrap_or_default() * script.weight();
    let total: u64 = (0..SLOTS).map(|slot| weight(Script::of_slot(slot))).sum();
    let chinese_or_japanese = weight(Script::Han) + weight(Script::Kana);
    let groups = (0..SLOTS).map(Script::of_slot).filter(|script| *script != Script::Kana);
    let weighed =
        groups.map(|script| (script, if script == Script::Han { chinese_or_japanese } else { weight(script) }));
    let Some((script, most)) = weighed.reduce(|best, next| if next.1 > best.1 { next } else { best }) else {
        return ("", 0.0);
    };
    if most == 0 {
        return ("", 0.0);
    }
    // A mark or two in prose is no code; beyond one in ten letters they count against the label.
    let code = found.code_marks.saturating_sub(total / 10);
    let share = most as f64 / (total + code) as f64;
    let (label, sure) = within(script, text, &found);
    (label, share * sure)
}

/// The language within a script, and how sure that is.
fn within(script: Script, text: &str, found: &Histogram) -> (&'static str, f64) {
    let letters = |script: Script| found.letters.get(script.slot()).copied().unwrap_or_default();
    match script {
        Script::Single(index) => {
            let label = SINGLE.get(usize::from(index)).map_or("", |(_, _, label)| label);
            (label, few(letters(script), 1.0))
        }
        Script::Han | Script::Kana => {
            let (han, kana) = (letters(Script::Han), letters(Script::Kana));
            let share = kana as f64 / (han + kana).max(1) as f64;
            match share >= KANA_SHARE_MIN {
                true => ("ja", few(han + kana, 1.0)),
                false => ("zh", few(han + kana, 1.0 - share)),
            }
        }
        script => by_trigrams(script, text, letters(script)),
    }
}

/// A few letters make nothing sure: with n letters an unseen alternative keeps 1 of n + 3 chances.
fn few(letters: u64, sure: f64) -> f64 {
    sure * (letters as f64 + 2.0) / (letters as f64 + 3.0)
}

fn by_trigrams(script: Script, text: &str, letters: u64) -> (&'static str, f64) {
    let sample = sample(script, text);
    let is_ascii = sample.is_ascii();
    let info = whatlang::detect(&sample);
    let (label, confidence) = info.map_or(("", 0.0), |info| (label_of(info.lang()), info.confidence()));
    if script == Script::Latin && is_ascii && confidence < CONFIDENCE_MIN {
        return ("en", few(letters, CONFIDENCE_MIN));
    }
    (label, few(letters, calibrated(confidence)))
}

/// What whatlang calls confidence, as the share of labels that were right where it was said: see docs/RESULTS.md.
fn calibrated(confidence: f64) -> f64 {
    0.35 + 0.63 * confidence.clamp(0.0, 1.0)
}

/// Words of one script, from windows spread over the text.
fn sample(script: Script, text: &str) -> String {
    let mut sample = String::with_capacity(SAMPLE_LETTERS_MAX * 2);
    let window_letters = SAMPLE_LETTERS_MAX / SAMPLE_WINDOWS;
    let step = (text.len() / SAMPLE_WINDOWS).max(1);
    let mut end = 0;
    for window in 0..SAMPLE_WINDOWS {
        let from = (window * step).max(end);
        let start = (from..from + 4).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        let mut letters = 0;
        for (at, c) in text.get(start..).unwrap_or_default().char_indices() {
            end = start + at + c.len_utf8();
            if Script::of(c) == Some(script) {
                sample.push(c);
                letters += 1;
            } else if c == '\'' || is_mark(c) {
                sample.push(c);
            } else if !sample.ends_with(' ') {
                sample.push(' ');
                if letters >= window_letters {
                    break;
                }
            }
        }
    }
    sample
}

/// Combining marks belong to the word: vowel signs of Devanagari, points of Hebrew and Arabic.
fn is_mark(c: char) -> bool {
    matches!(u32::from(c), 0x300..=0x36f)
}

/// ISO 639-1 where there is one, as fastText's lid.176 labels languages; else ISO 639-3.
fn label_of(lang: Lang) -> &'static str {
    match lang {
        Lang::Epo => "eo",
        Lang::Eng => "en",
        Lang::Rus => "ru",
        Lang::Cmn => "zh",
        Lang::Spa => "es",
        Lang::Por => "pt",
        Lang::Ita => "it",
        Lang::Ben => "bn",
        Lang::Fra => "fr",
        Lang::Deu => "de",
        Lang::Ukr => "uk",
        Lang::Kat => "ka",
        Lang::Ara => "ar",
        Lang::Hin => "hi",
        Lang::Jpn => "ja",
        Lang::Heb => "he",
        Lang::Yid => "yi",
        Lang::Pol => "pl",
        Lang::Amh => "am",
        Lang::Jav => "jv",
        Lang::Kor => "ko",
        Lang::Nob => "no",
        Lang::Dan => "da",
        Lang::Swe => "sv",
        Lang::Fin => "fi",
        Lang::Tur => "tr",
        Lang::Nld => "nl",
        Lang::Hun => "hu",
        Lang::Ces => "cs",
        Lang::Ell => "el",
        Lang::Bul => "bg",
        Lang::Bel => "be",
        Lang::Mar => "mr",
        Lang::Kan => "kn",
        Lang::Ron => "ro",
        Lang::Slv => "sl",
        Lang::Hrv => "hr",
        Lang::Srp => "sr",
        Lang::Mkd => "mk",
        Lang::Lit => "lt",
        Lang::Lav => "lv",
        Lang::Est => "et",
        Lang::Tam => "ta",
        Lang::Vie => "vi",
        Lang::Urd => "ur",
        Lang::Tha => "th",
        Lang::Guj => "gu",
        Lang::Uzb => "uz",
        Lang::Pan => "pa",
        Lang::Aze => "az",
        Lang::Ind => "id",
        Lang::Tel => "te",
        Lang::Pes => "fa",
        Lang::Mal => "ml",
        Lang::Ori => "or",
        Lang::Mya => "my",
        Lang::Nep => "ne",
        Lang::Sin => "si",
        Lang::Khm => "km",
        Lang::Tuk => "tk",
        Lang::Aka => "ak",
        Lang::Zul => "zu",
        Lang::Sna => "sn",
        Lang::Afr => "af",
        Lang::Lat => "la",
        Lang::Slk => "sk",
        Lang::Cat => "ca",
        Lang::Tgl => "tl",
        Lang::Hye => "hy",
        other => other.code(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_by_script_and_by_trigrams() {
        for (text, label) in [
            ("今天天气很好，我们去公园散步吧。", "zh"),
            ("今日はとても良い天気ですね。公園へ行きましょう。", "ja"),
            ("오늘은 날씨가 정말 좋네요. 공원에 갑시다.", "ko"),
            ("The weather is lovely today, so we are going to walk in the park.", "en"),
            ("Heute ist das Wetter sehr schön, deshalb gehen wir im Park spazieren.", "de"),
            ("Сегодня очень хорошая погода, и мы идём гулять в парк.", "ru"),
            ("Ο καιρός είναι πολύ καλός σήμερα.", "el"),
            ("วันนี้อากาศดีมาก", "th"),
        ] {
            let (found, score) = detect(text);
            assert_eq!(found, label, "{text}");
            assert!((0.5..=1.0).contains(&score), "{text}: {score}");
        }
    }

    #[test]
    fn mixed_text_scores_lower_than_either_language() {
        let (chinese, english) =
            ("我们把数据写进一个文件，然后再读出来。", "We write the data to a file and read it back.");
        let (label, mixed) = detect(&format!("{chinese}{english}"));
        assert!(["zh", "en"].contains(&label));
        assert!(mixed < detect(chinese).1 && mixed < detect(english).1);
    }

    #[test]
    fn code_scores_low_and_a_comment_in_it_decides() {
        let code = "fn main() { let x: Vec<u8> = vec![1]; for i in 0..x.len() { y[i] += x[i] * 2; } }";
        assert!(detect(code).1 < 0.5, "{:?}", detect(code));
        let commented = format!("// 把每个字节乘以二，再加到结果里，长度不变，溢出时回绕，调用者要自己检查。\n{code}");
        assert_eq!(detect(&commented).0, "zh");
    }

    #[test]
    fn nothing_to_read_has_no_language() {
        assert_eq!(detect(""), ("", 0.0));
        assert_eq!(detect("12 + 34 = 46 ……"), ("", 0.0));
    }
}

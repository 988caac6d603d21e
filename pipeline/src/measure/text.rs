//! Everything that is measured of one text, family by family, as far as columns ask for it.

use schemas::measure::QualityColumn as Column;

use super::c4::{self, C4};
use super::char_repetition;
use super::characters::{self, CharacterCounts};
use super::classes::Classes;
use super::fineweb::{self, Fineweb};
use super::gopher::{self, GopherScratch};
use super::grams::{Frequencies, Grams};
use super::language::FastTextScratch;
use super::measures::Options;
use super::word_statistics::{self, WordOptions, WordScratch, WordStatistics};

/// A measured value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    /// A count.
    Int(u64),
    /// A share, a mean or a score; finite.
    Float(f64),
    /// A label.
    Text(&'a str),
}

/// Which families the columns of a run need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Families {
    characters: bool,
    char_repetition: bool,
    words: bool,
    word_repetition: bool,
    flagged: bool,
    gopher_words: bool,
    gopher_repetition: bool,
    fineweb: bool,
    c4: bool,
    language: bool,
    perplexity: bool,
}

impl Families {
    /// The families of some columns.
    pub fn of(columns: &[Column]) -> Families {
        let mut families = Families::default();
        columns.iter().for_each(|column| families.add(*column));
        families
    }

    fn add(&mut self, column: Column) {
        match column {
            Column::CharRepRatio => (self.characters, self.char_repetition) = (true, true),
            Column::NumWords => self.words = true,
            Column::WordRepRatio => (self.words, self.word_repetition) = (true, true),
            Column::FlaggedWordsRatio => (self.words, self.flagged) = (true, true),
            Column::FinewebNewLineRatio => (self.fineweb, self.gopher_words) = (true, true),
            Column::GopherNWords
            | Column::GopherMeanWordLength
            | Column::GopherHashRatio
            | Column::GopherEllipsisRatio
            | Column::GopherBulletLineFrac
            | Column::GopherEllipsisLineFrac
            | Column::GopherAlphaWordFrac
            | Column::GopherStopWords => self.gopher_words = true,
            Column::FinewebNLines
            | Column::FinewebLinePunctRatio
            | Column::FinewebShortLineRatio
            | Column::FinewebCharDupRatio => self.fineweb = true,
            Column::C4NSentences | Column::C4LoremIpsum | Column::C4CurlyBracket | Column::C4KeptLineFrac => {
                self.c4 = true;
            }
            Column::Lang | Column::LangScore => self.language = true,
            Column::Perplexity => self.perplexity = true,
            column if column.group() == "gopher" => {
                (self.characters, self.gopher_words, self.gopher_repetition) = (true, true, true);
            }
            _ => self.characters = true,
        }
    }
}

/// What a thread keeps from text to text.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    grams: Grams,
    frequencies: Frequencies,
    words: WordScratch,
    gopher: GopherScratch,
    fasttext: FastTextScratch,
}

/// What was measured of one text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TextMeasures<'a> {
    characters: CharacterCounts,
    char_repetition: f64,
    words: WordStatistics,
    quality: gopher::Quality,
    repetition: gopher::Repetition,
    fineweb: Fineweb,
    c4: C4,
    language: (&'a str, f64),
    perplexity: f64,
}

/// Measures a text.
pub(super) fn measure<'a>(
    text: &str,
    families: Families,
    options: &'a Options,
    scratch: &mut Scratch,
) -> TextMeasures<'a> {
    let classes = Classes::get(options.special);
    let mut found = TextMeasures::default();
    let Scratch { grams, frequencies, words, gopher, fasttext } = scratch;
    if families.characters {
        found.characters = characters::count(text, classes);
    }
    if families.char_repetition {
        found.char_repetition = char_repetition::ratio(text, found.characters.chars, grams, frequencies);
    }
    if families.words {
        let flagged = families.flagged.then_some(&options.flagged);
        let options = WordOptions { how: &options.words, classes, repetition: families.word_repetition, flagged };
        found.words = word_statistics::measure(text, options, words, grams, frequencies);
    }
    if families.gopher_words {
        found.quality = gopher.quality(text, &options.gopher_words, classes);
    }
    if families.gopher_repetition {
        found.repetition = gopher.repetition(text, classes, grams);
    }
    if families.fineweb {
        found.fineweb = fineweb::measure(text, classes, grams);
    }
    if families.c4 {
        found.c4 = c4::measure(text, classes);
    }
    if families.language {
        found.language = options.detector.detect(text, fasttext);
    }
    if let Some(model) = options.language_model.as_ref().filter(|_| families.perplexity) {
        found.perplexity = model.perplexity(text, &options.perplexity_words, classes);
    }
    grams.shrink();
    gopher.shrink();
    found
}

fn share(part: u64, whole: u64) -> Value<'static> {
    Value::Float(if whole == 0 { 0.0 } else { part as f64 / whole as f64 })
}

impl<'a> TextMeasures<'a> {
    /// The value of a column.
    pub fn value(&self, column: Column) -> Value<'a> {
        let characters = &self.characters;
        match column {
            Column::AlnumRatio => share(characters.alnum, characters.chars),
            Column::AvgLineLength => share(characters.chars, characters.lines),
            Column::MaxLineLength => Value::Int(characters.longest_line),
            Column::CharRepRatio => Value::Float(self.char_repetition),
            Column::WordRepRatio => Value::Float(self.words.repetition),
            Column::SpecialCharRatio => share(characters.special, characters.chars),
            Column::NumWords => Value::Int(self.words.words),
            Column::FlaggedWordsRatio => Value::Float(self.words.flagged),
            Column::NChars => Value::Int(characters.chars),
            Column::NLines => Value::Int(characters.lines),
            Column::NSentences => Value::Int(characters.sentences),
            Column::CjkRatio => share(characters.cjk, characters.chars),
            Column::NewlineRatio => share(characters.line_feeds, characters.chars),
            Column::NoSentenceEndRatio => share(characters.open_lines, characters.filled_lines),
            column => self.filter_value(column),
        }
    }

    /// Columns of the well-known filters.
    fn filter_value(&self, column: Column) -> Value<'a> {
        let (quality, fineweb, c4) = (&self.quality, &self.fineweb, &self.c4);
        match column {
            Column::GopherNWords => Value::Int(quality.words),
            Column::GopherMeanWordLength => Value::Float(quality.mean_word_length),
            Column::GopherHashRatio => Value::Float(quality.hash_ratio),
            Column::GopherEllipsisRatio => Value::Float(quality.ellipsis_ratio),
            Column::GopherBulletLineFrac => Value::Float(quality.bullet_lines),
            Column::GopherEllipsisLineFrac => Value::Float(quality.ellipsis_lines),
            Column::GopherAlphaWordFrac => Value::Float(quality.alpha_words),
            Column::GopherStopWords => Value::Int(quality.stop_words),
            Column::FinewebNLines => Value::Int(fineweb.lines),
            Column::FinewebLinePunctRatio => Value::Float(fineweb.punctuated),
            Column::FinewebShortLineRatio => Value::Float(fineweb.short),
            Column::FinewebCharDupRatio => Value::Float(fineweb.duplicate_chars),
            Column::FinewebNewLineRatio => share(fineweb.line_feeds, quality.all_words),
            Column::C4NSentences => Value::Int(c4.sentences),
            Column::C4LoremIpsum => Value::Int(c4.lorem_ipsum),
            Column::C4CurlyBracket => Value::Int(c4.curly_bracket),
            Column::C4KeptLineFrac => share(c4.kept_lines, c4.lines),
            Column::Lang => Value::Text(self.language.0),
            Column::LangScore => Value::Float(self.language.1),
            Column::Perplexity => Value::Float(self.perplexity),
            column => self.repetition_value(column),
        }
    }

    fn repetition_value(&self, column: Column) -> Value<'a> {
        let (repetition, chars) = (&self.repetition, self.characters.chars);
        let [top_2, top_3, top_4] = repetition.top;
        let [dup_5, dup_6, dup_7, dup_8, dup_9, dup_10] = repetition.dup;
        match column {
            Column::GopherDupParaFrac => Value::Float(repetition.paragraphs.elements),
            Column::GopherDupParaCharFrac => share(repetition.paragraphs.chars, chars),
            Column::GopherDupLineFrac => Value::Float(repetition.lines.elements),
            Column::GopherDupLineCharFrac => share(repetition.lines.chars, chars),
            Column::GopherTop2gramCharFrac => share(top_2, chars),
            Column::GopherTop3gramCharFrac => share(top_3, chars),
            Column::GopherTop4gramCharFrac => share(top_4, chars),
            Column::GopherDup5gramCharFrac => share(dup_5, chars),
            Column::GopherDup6gramCharFrac => share(dup_6, chars),
            Column::GopherDup7gramCharFrac => share(dup_7, chars),
            Column::GopherDup8gramCharFrac => share(dup_8, chars),
            Column::GopherDup9gramCharFrac => share(dup_9, chars),
            _ => share(dup_10, chars),
        }
    }
}

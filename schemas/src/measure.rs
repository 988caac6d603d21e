//! The quality columns that `[measure]` can compute: names, types, what each says of a text.
//!
//! One table for flags, configuration, filters and documents. A name says whose definition it follows: the first group
//! is Data-Juicer's, `gopher_`, `fineweb_` and `c4_` are datatrove's. A measure of an empty text is 0; so is a share
//! of nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a quality column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeasureType {
    /// A count.
    Int64,
    /// A share, a mean or a score.
    Float64,
    /// A label.
    Utf8,
}

macro_rules! quality_columns {
    ($($variant:ident $name:literal $kind:ident $group:literal $doc:literal,)*) => {
        /// A quality column. Lengths are counted in code points.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[non_exhaustive]
        pub enum QualityColumn {
            $(#[doc = $doc] #[serde(rename = $name)] $variant,)*
        }

        impl QualityColumn {
            /// Every column, in the order of the documents.
            pub const ALL: &'static [QualityColumn] = &[$(QualityColumn::$variant,)*];

            /// The name of the column.
            pub const fn name(self) -> &'static str {
                match self { $(QualityColumn::$variant => $name,)* }
            }

            /// What the column holds.
            pub const fn measure_type(self) -> MeasureType {
                match self { $(QualityColumn::$variant => MeasureType::$kind,)* }
            }

            /// The group by which it can be asked for together with its like.
            pub const fn group(self) -> &'static str {
                match self { $(QualityColumn::$variant => $group,)* }
            }

            /// What it says of a text.
            pub const fn about(self) -> &'static str {
                match self { $(QualityColumn::$variant => $doc,)* }
            }
        }
    };
}

quality_columns! {
    AlnumRatio "alnum_ratio" Float64 "basic" "Share of characters that are letters or numbers (Python's `isalnum`).",
    AvgLineLength "avg_line_length" Float64 "basic" "Characters, line ends included, over lines (Python's `splitlines`).",
    MaxLineLength "max_line_length" Int64 "basic" "Characters of the longest line.",
    CharRepRatio "char_rep_ratio" Float64 "basic" "Share of the most frequent character 10-grams: of the k most frequent, k the root of their number.",
    WordRepRatio "word_rep_ratio" Float64 "basic" "Share of word 10-grams that occur more than once; words in lower case.",
    SpecialCharRatio "special_char_ratio" Float64 "basic" "Share of characters that are punctuation, digits, symbols, white space or emoji.",
    NumWords "num_words" Int64 "basic" "Words, special characters stripped, empty ones dropped.",
    FlaggedWordsRatio "flagged_words_ratio" Float64 "flagged" "Share of words that stand in the list `flagged_words`.",
    NChars "n_chars" Int64 "basic" "Characters.",
    NLines "n_lines" Int64 "basic" "Lines (Python's `splitlines`).",
    NSentences "n_sentences" Int64 "basic" "Sentences: runs of text with a letter or number, ended by a terminal mark or a line end.",
    CjkRatio "cjk_ratio" Float64 "basic" "Share of characters that are Han, kana or hangul.",
    NewlineRatio "newline_ratio" Float64 "basic" "Share of characters that are line feeds.",
    GopherNWords "gopher_n_words" Int64 "gopher" "Words that are not only punctuation.",
    GopherMeanWordLength "gopher_mean_word_length" Float64 "gopher" "Mean length of these words.",
    GopherHashRatio "gopher_hash_ratio" Float64 "gopher" "Hash signs over words.",
    GopherEllipsisRatio "gopher_ellipsis_ratio" Float64 "gopher" "Ellipses over words.",
    GopherBulletLineFrac "gopher_bullet_line_frac" Float64 "gopher" "Share of lines that start with a bullet or a hyphen.",
    GopherEllipsisLineFrac "gopher_ellipsis_line_frac" Float64 "gopher" "Share of lines that end with an ellipsis.",
    GopherAlphaWordFrac "gopher_alpha_word_frac" Float64 "gopher" "Share of words with a letter.",
    GopherStopWords "gopher_stop_words" Int64 "gopher" "How many of the, be, to, of, and, that, have, with occur.",
    GopherDupParaFrac "gopher_dup_para_frac" Float64 "gopher" "Share of paragraphs that occurred before.",
    GopherDupParaCharFrac "gopher_dup_para_char_frac" Float64 "gopher" "Their characters over all.",
    GopherDupLineFrac "gopher_dup_line_frac" Float64 "gopher" "Share of lines that occurred before.",
    GopherDupLineCharFrac "gopher_dup_line_char_frac" Float64 "gopher" "Their characters over all.",
    GopherTop2gramCharFrac "gopher_top_2gram_char_frac" Float64 "gopher" "Characters of the most frequent word 2-gram over all.",
    GopherTop3gramCharFrac "gopher_top_3gram_char_frac" Float64 "gopher" "Characters of the most frequent word 3-gram over all.",
    GopherTop4gramCharFrac "gopher_top_4gram_char_frac" Float64 "gopher" "Characters of the most frequent word 4-gram over all.",
    GopherDup5gramCharFrac "gopher_dup_5gram_char_frac" Float64 "gopher" "Characters of word 5-grams that occurred before, over all.",
    GopherDup6gramCharFrac "gopher_dup_6gram_char_frac" Float64 "gopher" "Characters of word 6-grams that occurred before, over all.",
    GopherDup7gramCharFrac "gopher_dup_7gram_char_frac" Float64 "gopher" "Characters of word 7-grams that occurred before, over all.",
    GopherDup8gramCharFrac "gopher_dup_8gram_char_frac" Float64 "gopher" "Characters of word 8-grams that occurred before, over all.",
    GopherDup9gramCharFrac "gopher_dup_9gram_char_frac" Float64 "gopher" "Characters of word 9-grams that occurred before, over all.",
    GopherDup10gramCharFrac "gopher_dup_10gram_char_frac" Float64 "gopher" "Characters of word 10-grams that occurred before, over all.",
    FinewebNLines "fineweb_n_lines" Int64 "fineweb" "Lines that are not blank; lines end at line feeds.",
    FinewebLinePunctRatio "fineweb_line_punct_ratio" Float64 "fineweb" "Share of these lines that end with a terminal mark.",
    FinewebShortLineRatio "fineweb_short_line_ratio" Float64 "fineweb" "Share of these lines of at most 30 characters.",
    FinewebCharDupRatio "fineweb_char_dup_ratio" Float64 "fineweb" "Characters of these lines that occurred before, over all but line feeds.",
    FinewebNewLineRatio "fineweb_new_line_ratio" Float64 "fineweb" "Line feeds over words.",
    C4NSentences "c4_n_sentences" Int64 "c4" "Sentences of the lines that C4 keeps.",
    C4LoremIpsum "c4_lorem_ipsum" Int64 "c4" "Lines for whose `lorem ipsum` C4 drops the document.",
    C4CurlyBracket "c4_curly_bracket" Int64 "c4" "Lines for whose curly bracket C4 drops the document.",
    C4KeptLineFrac "c4_kept_line_frac" Float64 "c4" "Share of lines that C4 keeps.",
    NoSentenceEndRatio "no_sentence_end_ratio" Float64 "basic" "Share of lines that are not blank and do not end with a terminal mark.",
    Lang "lang" Utf8 "language" "Language of the text, ISO 639-1; empty where it has no letters.",
    LangScore "lang_score" Float64 "language" "Confidence of `lang`, 0 to 1.",
    Perplexity "perplexity" Float64 "perplexity" "How surprised the language model is by the text, per word; 1 decimal.",
}

impl QualityColumn {
    /// The columns that a name asks for: one column, or all of a group.
    ///
    /// # Errors
    /// The nearest known name, where nothing is called so.
    pub fn named(name: &str) -> Result<Vec<QualityColumn>, &'static str> {
        let called = |column: &&QualityColumn| column.name() == name || column.group() == name;
        let found: Vec<QualityColumn> = Self::ALL.iter().filter(called).copied().collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let shared = |known: &str| known.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
        Err(Self::ALL.iter().map(|column| column.name()).max_by_key(|known| shared(known)).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_no_group_is_called_like_a_column() {
        let mut names: Vec<&str> = QualityColumn::ALL.iter().map(|column| column.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), QualityColumn::ALL.len());
        assert!(
            QualityColumn::ALL.iter().all(|column| column.group() == column.name() || !names.contains(&column.group()))
        );
    }

    #[test]
    fn a_group_stands_for_its_columns_and_a_wrong_name_gets_the_nearest() {
        assert_eq!(QualityColumn::named("n_lines").unwrap(), [QualityColumn::NLines]);
        assert_eq!(QualityColumn::named("c4").unwrap().len(), 4);
        assert_eq!(QualityColumn::named("alnum_ration"), Err("alnum_ratio"));
    }
}

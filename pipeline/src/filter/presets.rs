//! Filters by a name: each is a list of SQL conditions over quality columns, and nothing else.
//!
//! A preset is data. What `--preset NAME` does, `--where` does with the conditions that `pipeline preset NAME` prints.
//! The name carries a version (`gopher-1`), which a dataset's `config.toml` keeps: the conditions of a version never
//! change, so that the file means the same to every later program. Another threshold is another version, in a table
//! entry of its own; the plain name means the last one.

use schemas::config::{self, Measure};
use schemas::measure::QualityColumn;

use super::conjunct;
use super::names::names_in;

/// A condition, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// SQL, true for documents that stay.
    pub sql: &'static str,
    /// What it asks of a text.
    pub about: &'static str,
    /// Who chose the threshold.
    pub source: &'static str,
}

/// A filter with a name.
#[derive(Debug, PartialEq, Eq)]
pub struct Preset {
    /// The name without the version.
    pub name: &'static str,
    /// The name with the version.
    pub version: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// All of them hold for a document that stays.
    pub conditions: &'static [Condition],
}

const fn condition(sql: &'static str, about: &'static str, source: &'static str) -> Condition {
    Condition { sql, about, source }
}

const NOTEBOOK: &str = "the notebook's `len(content) > 512`";
const GOPHER: &str = "Rae et al. 2021, A.1.1";
const GOPHER_TABLE: &str = "Rae et al. 2021, table A1";
const C4: &str = "Raffel et al. 2020, 2.2";
const FINEWEB: &str = "Penedo et al. 2024, 3.6";
const JUICER: &str = "Data-Juicer's default";
const OURS: &str = "ours";

/// Every preset, in the order in which they are listed.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "notebook",
        version: "notebook-1",
        about: "What the tutorial notebook keeps: short texts.",
        conditions: &[condition("n_chars <= 512", "at most 512 characters", NOTEBOOK)],
    },
    Preset {
        name: "gopher",
        version: "gopher-1",
        about: "Gopher's quality and repetition filters, for English web pages (its stop words are English).",
        conditions: &[
            condition("gopher_n_words >= 50", "at least 50 words", GOPHER),
            condition("gopher_n_words <= 100000", "at most 100000 words", GOPHER),
            condition("gopher_mean_word_length >= 3", "words of at least 3 characters on average", GOPHER),
            condition("gopher_mean_word_length <= 10", "words of at most 10 characters on average", GOPHER),
            condition("gopher_hash_ratio <= 0.1", "at most one # to 10 words", GOPHER),
            condition("gopher_ellipsis_ratio <= 0.1", "at most one ellipsis to 10 words", GOPHER),
            condition("gopher_bullet_line_frac <= 0.9", "at most 90 % of lines start with a bullet", GOPHER),
            condition("gopher_ellipsis_line_frac <= 0.3", "at most 30 % of lines end with an ellipsis", GOPHER),
            condition("gopher_alpha_word_frac >= 0.8", "at least 80 % of words have a letter", GOPHER),
            condition("gopher_stop_words >= 2", "at least 2 of the, be, to, of, and, that, have, with", GOPHER),
            condition("gopher_dup_para_frac <= 0.3", "at most 30 % of paragraphs occurred before", GOPHER_TABLE),
            condition("gopher_dup_para_char_frac <= 0.2", "with at most 20 % of characters", GOPHER_TABLE),
            condition("gopher_dup_line_frac <= 0.3", "at most 30 % of lines occurred before", GOPHER_TABLE),
            condition("gopher_dup_line_char_frac <= 0.2", "with at most 20 % of characters", GOPHER_TABLE),
            condition("gopher_top_2gram_char_frac <= 0.2", "the commonest 2 words: at most 20 %", GOPHER_TABLE),
            condition("gopher_top_3gram_char_frac <= 0.18", "the commonest 3 words: at most 18 %", GOPHER_TABLE),
            condition("gopher_top_4gram_char_frac <= 0.16", "the commonest 4 words: at most 16 %", GOPHER_TABLE),
            condition("gopher_dup_5gram_char_frac <= 0.15", "5 words that occurred before: at most 15 %", GOPHER_TABLE),
            condition("gopher_dup_6gram_char_frac <= 0.14", "6 words that occurred before: at most 14 %", GOPHER_TABLE),
            condition("gopher_dup_7gram_char_frac <= 0.13", "7 words that occurred before: at most 13 %", GOPHER_TABLE),
            condition("gopher_dup_8gram_char_frac <= 0.12", "8 words that occurred before: at most 12 %", GOPHER_TABLE),
            condition("gopher_dup_9gram_char_frac <= 0.11", "9 words that occurred before: at most 11 %", GOPHER_TABLE),
            condition(
                "gopher_dup_10gram_char_frac <= 0.1",
                "10 words that occurred before: at most 10 %",
                GOPHER_TABLE,
            ),
        ],
    },
    Preset {
        name: "c4",
        version: "c4-1",
        about: "C4's page filter, for English web pages; texts stay whole, where C4 also cuts lines.",
        conditions: &[
            condition("c4_lorem_ipsum = 0", "no line with lorem ipsum", C4),
            condition("c4_curly_bracket = 0", "no line with a curly bracket", C4),
            condition("c4_n_sentences >= 5", "at least 5 sentences in the lines that C4 keeps", C4),
        ],
    },
    Preset {
        name: "fineweb",
        version: "fineweb-1",
        about: "The filters FineWeb adds to Gopher's and C4's, for web pages of many lines.",
        // A text without a line has no line that ends well, so the first one drops it.
        conditions: &[
            condition("fineweb_line_punct_ratio >= 0.12", "at least 12 % of lines end with a terminal mark", FINEWEB),
            condition("fineweb_short_line_ratio <= 0.67", "at most 67 % of lines have 30 characters or less", FINEWEB),
            condition("fineweb_char_dup_ratio <= 0.01", "lines that occurred before: at most 1 %", FINEWEB),
            condition("fineweb_new_line_ratio <= 0.3", "at most 3 line feeds to 10 words", FINEWEB),
        ],
    },
    Preset {
        name: "industry-zh",
        version: "industry-zh-1",
        about: "Chinese rows with Data-Juicer's columns, as IndustryCorpus has them; columns that are missing are computed.",
        // Words are not counted: between spaces, a Chinese text has one or two.
        conditions: &[
            condition("lang = 'zh'", "Chinese", OURS),
            condition("lang_score >= 0.8", "surely so", JUICER),
            condition("n_chars >= 10", "at least 10 characters", JUICER),
            condition("avg_line_length >= 10", "lines of at least 10 characters on average", JUICER),
            condition("alnum_ratio >= 0.25", "at least a quarter letters and numbers", JUICER),
            condition("special_char_ratio <= 0.25", "at most a quarter marks, digits, spaces and symbols", JUICER),
            condition("char_rep_ratio <= 0.5", "at most half of it the commonest 10 characters in a row", JUICER),
            condition("word_rep_ratio <= 0.5", "at most half of it 10 words that occur twice", JUICER),
            condition(
                "(flagged_words_ratio IS NULL OR flagged_words_ratio <= 0.045)",
                "at most 4.5 % flagged words, where the column or a list is given",
                JUICER,
            ),
            condition(
                "(perplexity IS NULL OR perplexity <= 1500)",
                "no surprise to the language model, where the column or a model is given",
                JUICER,
            ),
        ],
    },
];

/// The preset of a name, with or without its version.
///
/// # Errors
/// The names there are, where none is called so.
pub fn find(name: &str) -> Result<&'static Preset, String> {
    let called = |preset: &&Preset| preset.version == name || preset.name == name;
    PRESETS.iter().rfind(called).ok_or_else(|| names().join(", "))
}

/// The names in a list separated by commas.
pub fn names_of(names: &str) -> impl Iterator<Item = &str> {
    names.split(',').map(str::trim)
}

/// The presets of a list of names; those there are not are left out.
pub fn of_config(filter: &config::Filter) -> Vec<&'static Preset> {
    filter.preset.iter().flat_map(|names| names_of(names)).filter_map(|name| find(name).ok()).collect()
}

/// The names without versions, each once.
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
    names.dedup();
    names
}

/// A filter as a person would write it: the conditions of its preset, then its own.
pub fn expression(filter: &config::Filter) -> Option<String> {
    let presets: Vec<String> = of_config(filter).into_iter().map(Preset::sql).collect();
    let own = filter.where_sql.as_deref().map(|sql| match conjunct::split(sql).as_slice() {
        [one] if !presets.is_empty() => format!("({one})"),
        _ => sql.to_owned(),
    });
    let parts: Vec<String> = presets.into_iter().chain(own).collect();
    (!parts.is_empty()).then(|| parts.join(" AND "))
}

impl Preset {
    /// The conditions as one expression.
    pub fn sql(&self) -> String {
        self.conditions.iter().map(|condition| condition.sql).collect::<Vec<_>>().join(" AND ")
    }

    /// The columns it looks at that can be computed: `n_chars` is always there, and a column that needs a list or a
    /// model is computed where one is given.
    pub fn columns(&self, measure: &Measure) -> Vec<QualityColumn> {
        let names = names_in(&self.sql());
        let can = |column: &QualityColumn| match column {
            QualityColumn::NChars => false,
            QualityColumn::FlaggedWordsRatio => measure.flagged_words.is_some(),
            QualityColumn::Perplexity => measure.perplexity_model.is_some(),
            _ => true,
        };
        let named = |column: &QualityColumn| names.iter().any(|name| name == column.name());
        QualityColumn::ALL.iter().copied().filter(named).filter(can).collect()
    }
}

#[cfg(test)]
#[path = "presets_tests.rs"]
mod tests;

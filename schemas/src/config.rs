//! `config.toml`: everything that decides the bytes of a dataset, and nothing else.
//!
//! The copy in a dataset is canonical (every key, in this order), and its sha256 is the manifest's `config_hash`.
//! Threads, memory, folders and progress are not here: they are [`Machine`], and leave no trace in a dataset.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dtype::Dtype;
use crate::measure::QualityColumn;

/// The configuration of `pipeline run`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How lines become documents.
    pub read: Read,
    /// What is known of inputs: licence and origin.
    pub sources: Vec<Source>,
    /// How text is cleaned.
    pub clean: Clean,
    /// Which quality columns are computed.
    pub measure: Measure,
    /// Columns that tell which group of words a text is about: a file of words, one a line, for each value of each
    /// column. In a dataset's copy their sha256.
    pub terms: BTreeMap<String, BTreeMap<String, String>>,
    /// Which documents stay.
    pub filter: Filter,
    /// Which benchmarks no document may hold a passage of.
    #[serde(skip_serializing_if = "Decontaminate::is_off")]
    pub decontaminate: Decontaminate,
    /// Which documents are the same.
    pub dedup: Dedup,
    /// Which versions are made of documents.
    pub augment: Augment,
    /// How much there is of each kind of documents.
    pub mix: Mix,
    /// Which pieces of documents the corpus holds once.
    #[serde(skip_serializing_if = "Passages::is_off")]
    pub passages: Passages,
    /// How text becomes token ids.
    pub tokenize: Tokenize,
    /// Which documents are held out.
    pub split: Split,
    /// In which order documents are written.
    pub order: Order,
    /// Which files are written.
    pub output: Output,
    /// How the dataset was made from others; written by merge, remove and retokenize, refused in a run's own settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub derive: Option<Derive>,
    /// How this machine runs it; not part of the dataset's identity.
    #[serde(skip_serializing)]
    pub machine: Machine,
}

/// How a dataset was made from others. The other settings are those of the first of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Derive {
    /// What was done.
    pub step: DeriveStep,
    /// `manifest_hash` of each dataset it was made from, in order.
    pub from: Vec<String>,
    /// remove: sha256 of the list of ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<String>,
}

/// What was done to make a dataset from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeriveStep {
    /// Several were joined.
    Merge,
    /// Documents were taken out of one.
    Remove,
    /// One was encoded anew.
    Retokenize,
}

/// How lines become documents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Read {
    /// Column that holds the text.
    pub text_column: String,
    /// Column that holds the document's id; `id` if present where not given.
    pub id_column: Option<String>,
    /// Joins fields into the text, `{title}\n{content}`; nested ones by dots. Replaces `text_column`.
    pub text_template: Option<String>,
    /// `auto`, `utf-8`, `utf-16`, `gb18030` or `big5`.
    pub encoding: Encoding,
    /// Longest line in bytes; a longer one is invalid (`line_too_long`).
    pub max_line_bytes: u64,
    /// Deepest nesting of arrays and objects; a deeper line is invalid (`depth`).
    pub max_depth: u32,
    /// `NaN`, `Infinity` and `-Infinity` become null instead of invalidating the line.
    pub accept_nan: bool,
    /// Largest tolerated share of invalid lines; above it nothing is committed. None: 1.0 for lines, and a damaged
    /// stream commits with `complete: false`.
    pub max_invalid: Option<f64>,
    /// Text files: a document a `file` or a `line`.
    pub text_files: TextFiles,
    /// Inputs without a declared licence (`sources`) are refused.
    pub require_license: bool,
}

impl Default for Read {
    fn default() -> Self {
        Read {
            text_column: "text".to_owned(),
            id_column: None,
            text_template: None,
            encoding: Encoding::Auto,
            max_line_bytes: 64 << 20,
            max_depth: 128,
            accept_nan: false,
            max_invalid: None,
            text_files: TextFiles::File,
            require_license: false,
        }
    }
}

/// Character encoding of text inputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// UTF-8, or UTF-16 where a byte order mark says so.
    #[default]
    Auto,
    /// UTF-8.
    #[serde(rename = "utf-8")]
    Utf8,
    /// UTF-16, byte order by its mark, little-endian without one.
    #[serde(rename = "utf-16")]
    Utf16,
    /// GB 18030, and so GBK and GB 2312.
    Gb18030,
    /// Big5 with the HKSCS extension.
    Big5,
}

/// What one `.txt` or `.md` file holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TextFiles {
    /// One document.
    #[default]
    File,
    /// One document a line.
    Line,
}

/// What is known of inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Path of an input as the manifest has it, or a pattern with `*`; the first entry that fits counts.
    pub path: String,
    /// Licence of its text, an SPDX identifier where there is one: column `license` where a document has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Where it comes from: column `origin` where a document has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// How text is cleaned, before it is measured and filtered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Clean {
    /// Steps, in the order in which they are taken; taken again until the text stays as it is.
    pub steps: Vec<CleanStep>,
    /// File of phrases, one a line: a line of text that contains one is removed by step `boilerplate`. In a dataset's
    /// copy its sha256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boilerplate: Option<String>,
    /// File of words, one a line, for each category of step `flagged_words`. In a dataset's copy their sha256.
    pub flagged_words: BTreeMap<String, String>,
    /// What stands for what was taken out.
    pub placeholders: Placeholders,
}

/// What stands for what cleaning takes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Placeholders {
    /// Step `urls`.
    pub url: String,
    /// Step `emails`.
    pub email: String,
    /// Step `phones`.
    pub phone: String,
    /// Step `ips`.
    pub ip: String,
    /// Step `id_numbers`.
    pub id_number: String,
    /// Step `bank_cards`.
    pub bank_card: String,
    /// Step `flagged_words`.
    pub flagged_word: String,
}

impl Default for Placeholders {
    fn default() -> Self {
        let named = str::to_owned;
        Placeholders {
            url: String::new(),
            email: named("<EMAIL>"),
            phone: named("<PHONE>"),
            ip: named("<IP>"),
            id_number: named("<ID_NUMBER>"),
            bank_card: named("<BANK_CARD>"),
            flagged_word: named("***"),
        }
    }
}

/// One step of cleaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CleanStep {
    /// UTF-8 that was read as Latin-1 or Windows-1252 becomes what it was.
    Mojibake,
    /// Unicode normalization form C.
    Nfc,
    /// Unicode normalization form KC, which also folds ligatures, circled numbers and widths.
    Nfkc,
    /// Control, zero-width and direction characters go.
    Controls,
    /// HTML becomes text: entities are decoded, tags, comments, scripts and styles go.
    Html,
    /// Markdown becomes text.
    Markdown,
    /// Full-width letters, digits and symbols become ASCII, half-width kana full; Chinese punctuation stays.
    Width,
    /// All full-width ASCII becomes ASCII, punctuation too.
    Halfwidth,
    /// ASCII punctuation after a Chinese character becomes full-width.
    ZhPunctuation,
    /// Commas between thousands go.
    Numbers,
    /// One-character units become letters.
    Units,
    /// Traditional characters become simplified ones.
    Simplified,
    /// Simplified characters become traditional ones.
    Traditional,
    /// URLs go.
    Urls,
    /// E-mail addresses become a placeholder.
    Emails,
    /// Chinese identity numbers with a right checksum become a placeholder.
    IdNumbers,
    /// Numbers of bank cards that pass the Luhn check become a placeholder.
    BankCards,
    /// Phone numbers, Chinese and international, become a placeholder.
    Phones,
    /// IPv4 and IPv6 addresses become a placeholder.
    Ips,
    /// Words of the user's lists become a placeholder.
    FlaggedWords,
    /// Lines of navigation, copyright and sharing notices go, and lines with the user's phrases.
    Boilerplate,
    /// Lines of advertisement go.
    Advertisements,
    /// What follows the last whole sentence goes.
    CutEnd,
    /// Piled-up punctuation becomes one mark.
    Punctuation,
    /// White space is folded: spaces in a row, ends of lines, blank lines in a row, other line ends.
    Whitespace,
    /// One sentence a line.
    Sentences,
}

impl CleanStep {
    /// Every step, in the order in which sets of steps take them.
    pub const ALL: [CleanStep; 26] = [
        CleanStep::Mojibake,
        CleanStep::Nfc,
        CleanStep::Nfkc,
        CleanStep::Controls,
        CleanStep::Html,
        CleanStep::Markdown,
        CleanStep::Width,
        CleanStep::Halfwidth,
        CleanStep::ZhPunctuation,
        CleanStep::Numbers,
        CleanStep::Units,
        CleanStep::Simplified,
        CleanStep::Traditional,
        CleanStep::Urls,
        CleanStep::Emails,
        CleanStep::IdNumbers,
        CleanStep::BankCards,
        CleanStep::Phones,
        CleanStep::Ips,
        CleanStep::FlaggedWords,
        CleanStep::Boilerplate,
        CleanStep::Advertisements,
        CleanStep::CutEnd,
        CleanStep::Punctuation,
        CleanStep::Whitespace,
        CleanStep::Sentences,
    ];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            CleanStep::Mojibake => "mojibake",
            CleanStep::Nfc => "nfc",
            CleanStep::Nfkc => "nfkc",
            CleanStep::Controls => "controls",
            CleanStep::Html => "html",
            CleanStep::Markdown => "markdown",
            CleanStep::Width => "width",
            CleanStep::Halfwidth => "halfwidth",
            CleanStep::ZhPunctuation => "zh_punctuation",
            CleanStep::Numbers => "numbers",
            CleanStep::Units => "units",
            CleanStep::Simplified => "simplified",
            CleanStep::Traditional => "traditional",
            CleanStep::Urls => "urls",
            CleanStep::Emails => "emails",
            CleanStep::IdNumbers => "id_numbers",
            CleanStep::BankCards => "bank_cards",
            CleanStep::Phones => "phones",
            CleanStep::Ips => "ips",
            CleanStep::FlaggedWords => "flagged_words",
            CleanStep::Boilerplate => "boilerplate",
            CleanStep::Advertisements => "advertisements",
            CleanStep::CutEnd => "cut_end",
            CleanStep::Punctuation => "punctuation",
            CleanStep::Whitespace => "whitespace",
            CleanStep::Sentences => "sentences",
        }
    }
}

/// Which quality columns are computed, and with what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Measure {
    /// The columns. One that the source has is kept where it is not null.
    pub columns: Vec<QualityColumn>,
    /// Computes columns that the source has, too.
    pub recompute: bool,
    /// What a word is for `num_words`, `word_rep_ratio` and `flagged_words_ratio`.
    pub words: Words,
    /// What a word is for the columns `gopher_` and `fineweb_`.
    pub gopher_words: Words,
    /// Which special characters count.
    pub special_characters: SpecialCharacters,
    /// List of flagged words, one a line; in a dataset's copy its sha256.
    pub flagged_words: Option<String>,
    /// Two neighbouring words, joined, are looked up in the list, too: for languages written without spaces.
    pub flagged_pairs: bool,
    /// fastText classifier (`.bin`, `.ftz`) that tells `lang` and `lang_score`; in a dataset's copy its sha256.
    /// `embedded-1`, or none: the detector in the program.
    pub lang_model: Option<String>,
    /// Language model of `perplexity`: ARPA, or a KenLM binary of unquantised probing tables or an unquantised trie; in
    /// a dataset's copy its sha256.
    pub perplexity_model: Option<String>,
    /// What a word is for `perplexity`: what it was when the model was trained.
    pub perplexity_words: Words,
    /// SentencePiece model (`.model`, unigram or BPE) whose pieces are the words called `sentencepiece`; in a dataset's
    /// copy its sha256.
    pub sentencepiece_model: Option<String>,
}

impl Default for Measure {
    fn default() -> Self {
        Measure {
            columns: Vec::new(),
            recompute: false,
            words: Words::Whitespace,
            gopher_words: Words::Punctuation,
            special_characters: SpecialCharacters::Compatible,
            flagged_words: None,
            flagged_pairs: false,
            lang_model: None,
            perplexity_model: None,
            perplexity_words: Words::Whitespace,
            sentencepiece_model: None,
        }
    }
}

/// What a word is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Words {
    /// What lies between spaces, tabs and line feeds.
    #[default]
    Whitespace,
    /// What lies between white space; punctuation at its ends is a word of its own.
    Punctuation,
    /// The same; moreover every Chinese, Japanese or Korean character is a word.
    Characters,
    /// The pieces of the SentencePiece model `sentencepiece_model`.
    Sentencepiece,
}

/// Which special characters count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SpecialCharacters {
    /// Data-Juicer's list as it is, with three Chinese characters that stand in it by mistake.
    #[default]
    Compatible,
    /// The list without these three.
    Corrected,
}

/// Which documents stay.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Filters by their names (`pipeline preset` lists them), separated by commas: conditions that stand before `where`,
    /// and the measures they need. With its version (`gopher-1`), as in a dataset's copy, a name means the same to every
    /// later program.
    pub preset: Option<String>,
    /// A Polars SQL expression over the columns; documents for which it is true stay.
    #[serde(rename = "where")]
    pub where_sql: Option<String>,
    /// What happens to a document for which an expression is NULL.
    pub nulls: Nulls,
    /// Longest text in code points; a longer one is dropped (`max_chars`).
    pub max_chars: Option<u64>,
    /// Column of the address that `block_domains` and `block_urls` look at; `url` where not given.
    pub url_column: Option<String>,
    /// File of domains, one a line: documents from one, or from a domain below it, are dropped. In a dataset's copy, as
    /// for the other lists, its sha256.
    pub block_domains: Option<String>,
    /// File of addresses, one a line: documents from one are dropped. Scheme, `www.`, fragment and a slash at the end do
    /// not count; an address that ends with `*` is the beginning of others.
    pub block_urls: Option<String>,
    /// File of words, one a line: documents with one are dropped.
    pub block_keywords: Option<String>,
    /// File of words, one a line: documents without any are dropped.
    pub require_keywords: Option<String>,
    /// Licences: documents whose column `license` has another, or none, are dropped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_licenses: Vec<String>,
    /// Inputs, by path or by a pattern with `*`: documents of others are dropped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_sources: Vec<String>,
}

/// What happens to a document for which a filter expression is NULL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Nulls {
    /// It is dropped under the rule `null:COLUMN`.
    #[default]
    Drop,
    /// It stays.
    Keep,
    /// The run fails, naming the document.
    Error,
}

/// Which benchmarks no document may hold a passage of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Decontaminate {
    /// Files of benchmark records, of any input format: every string in them counts. In a dataset's copy
    /// `NAME@sha256:HASH`.
    pub benchmarks: Vec<String>,
    /// Units of a passage; a unit is what it is in a shingle.
    pub ngram: u32,
}

impl Default for Decontaminate {
    fn default() -> Self {
        Decontaminate { benchmarks: Vec::new(), ngram: 13 }
    }
}

impl Decontaminate {
    fn is_off(&self) -> bool {
        self.benchmarks.is_empty()
    }
}

/// Which documents are the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dedup {
    /// How duplicates are found.
    pub method: DedupMethod,
    /// minhash: least Jaccard similarity of two duplicates' shingles.
    pub threshold: f64,
    /// minhash: units of a shingle; a unit is a word, or a character where a script puts no spaces between words.
    pub shingle: u32,
    /// minhash: whether pairs that share a match key are confirmed by their shingles.
    pub verify: bool,
    /// minhash: what becomes of documents that are linked.
    pub cluster: Cluster,
    /// Which duplicate stays: `first`, `longest`, `COLUMN asc` or `COLUMN desc`.
    pub keep: String,
    /// What exact duplicates may differ in.
    pub normalize: Vec<Normalize>,
    /// Folders of earlier datasets: a document that one of them holds, by its `keys/`, is dropped. In a dataset's copy
    /// `NAME@sha256:MANIFEST_HASH`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub against: Vec<String>,
}

impl Default for Dedup {
    fn default() -> Self {
        Dedup {
            method: DedupMethod::Exact,
            threshold: 0.8,
            shingle: 5,
            verify: true,
            cluster: Cluster::Star,
            keep: "first".to_owned(),
            normalize: Vec::new(),
            against: Vec::new(),
        }
    }
}

/// What becomes of documents that are linked by near-duplicate pairs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cluster {
    /// A document goes only where it has a pair with one that stays.
    #[default]
    Star,
    /// Of all documents that pairs link, near or far, one stays.
    Component,
}

/// What exact duplicates may differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Normalize {
    /// Upper and lower case.
    Case,
    /// How much white space stands between words, at the beginning and at the end.
    Whitespace,
    /// Punctuation; signs that carry meaning (+, =, <) still count.
    Punctuation,
    /// Full-width and ASCII forms of a character.
    Width,
}

/// How duplicates are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DedupMethod {
    /// Not at all.
    None,
    /// Equal 128-bit content hashes.
    #[default]
    Exact,
    /// Those, and documents whose shingles are similar, found by their signatures.
    Minhash,
}

/// Which versions are made of the documents of the training side that stay, each marked in the column `generated_by`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Dictionary of synonyms, a line `word<TAB>synonym<TAB>synonym`: a version with words replaced. In a dataset's copy
    /// its sha256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synonyms: Option<String>,
    /// Share of the words of the dictionary that are replaced.
    pub synonym_fraction: f64,
    /// A version with the sentences of each paragraph in another order.
    pub shuffle_sentences: bool,
    /// Program and arguments: it reads `{"id", "text"}` a line and writes `{"id", "text"}` a line for each, in order.
    pub command: Vec<String>,
    /// Seed of what is chosen.
    pub seed: u64,
}

impl Default for Augment {
    fn default() -> Self {
        Augment { synonyms: None, synonym_fraction: 0.3, shuffle_sentences: false, command: Vec::new(), seed: 0 }
    }
}

/// How much there is of each kind of documents: documents are left out, or repeated, by a hash of their text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mix {
    /// Column whose values are weighed; `source` is the path of the input, whose keys may be patterns with `*`.
    pub by: Option<String>,
    /// shares: tokens in all; as many as there are without repeating a document where not given.
    pub total_tokens: Option<u64>,
    /// Most times a document occurs.
    pub max_copies: u32,
    /// Seed of the hash that chooses documents.
    pub seed: u64,
    /// Writes this share of the documents only: one of `subset_steps`.
    pub subset: Option<f64>,
    /// Shares of the documents, ascending: a dataset of one begins with the dataset of the one before.
    pub subset_steps: Vec<f64>,
    /// How often a document of a value occurs, on average: 0.5 leaves out half of them, 2 repeats each once. `*` is all
    /// other values: 1 where not given.
    pub weights: BTreeMap<String, f64>,
    /// Most tokens of a value. `*` is all other values: all there are where not given.
    pub tokens: BTreeMap<String, u64>,
    /// Share of the tokens of a value, relative to the others. `*` is all other values: none where not given.
    pub shares: BTreeMap<String, f64>,
}

impl Default for Mix {
    fn default() -> Self {
        Mix {
            by: None,
            total_tokens: None,
            max_copies: 16,
            seed: 0,
            subset: None,
            subset_steps: vec![0.1, 0.3, 1.0],
            weights: BTreeMap::new(),
            tokens: BTreeMap::new(),
            shares: BTreeMap::new(),
        }
    }
}

/// Which pieces of documents the corpus holds once: copies of a passage are cut from the documents that dedup kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Passages {
    /// What a passage is.
    pub unit: PassageUnit,
    /// Copies that stay in the whole corpus: the first ones.
    pub copies: u32,
    /// A passage of more copies than that goes everywhere; none: the first copies always stay.
    pub everywhere: Option<u32>,
    /// line, paragraph: fewest code points of one that is looked at.
    pub chars_min: u32,
    /// substring: units of a run; a unit is what it is in a shingle.
    pub ngram: u32,
}

impl Default for Passages {
    fn default() -> Self {
        Passages { unit: PassageUnit::None, copies: 1, everywhere: None, chars_min: 20, ngram: 50 }
    }
}

impl Passages {
    fn is_off(&self) -> bool {
        self.unit == PassageUnit::None
    }
}

/// What a passage is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PassageUnit {
    /// Nothing is cut.
    #[default]
    None,
    /// A line.
    Line,
    /// Lines up to a blank one.
    Paragraph,
    /// A run of units, wherever it begins.
    Substring,
}

/// How text becomes token ids.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tokenize {
    /// Path of `tokenizer.json`; in a dataset's copy its sha256.
    pub tokenizer: String,
    /// Token written before each document: a token, or `none`. Read from `tokenizer_config.json` where not given.
    pub bos: Option<String>,
    /// Token written after each document: a token, or `none`. Read from `tokenizer_config.json` where not given.
    pub eos: Option<String>,
    /// Width of a token id.
    pub dtype: Dtype,
    /// Text that looks like a special token becomes that token.
    pub allow_special: bool,
}

/// Which documents are held out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Split {
    /// Share of documents that go to the validation side.
    pub val_fraction: f64,
    /// Seed of the hash that chooses the side.
    pub seed: u64,
    /// Column whose value, instead of the text, chooses the side: what belongs together stays together.
    pub by: Option<String>,
}

impl Default for Split {
    fn default() -> Self {
        Split { val_fraction: 0.005, seed: 0, by: None }
    }
}

/// In which order documents are written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Order {
    /// By a hash of (seed, input position, offset) instead of input order.
    pub shuffle: bool,
    /// Seed of that hash.
    pub seed: u64,
}

/// Which files are written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Output {
    /// Most tokens in a shard; a document that is longer has a shard of its own.
    pub shard_tokens: u64,
    /// Whether `data/` is written.
    pub parquet: bool,
    /// Whether `keys/` is written: what a later run needs to drop documents that this dataset holds.
    pub keys: bool,
}

impl Default for Output {
    fn default() -> Self {
        Output { shard_tokens: 100_000_000, parquet: true, keys: true }
    }
}

/// How this machine runs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Machine {
    /// Threads; None: all cores.
    pub threads: Option<usize>,
    /// Most resident memory, such as `2GiB`.
    pub memory: String,
    /// Folder of task files; None: `run` in the dataset.
    pub work_dir: Option<String>,
    /// Bytes of plain input a read task takes, such as `64MiB`; a whole number of 64 MiB blocks, which the input
    /// hash is made of. Never seen in the output.
    pub task_bytes: String,
    /// How `pipeline launch` asks an engine.
    pub launch: Launch,
}

/// How `pipeline launch` asks an engine to execute tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Launch {
    /// Jobs a stage is cut into; None: as many as there are read tasks, at most 256.
    pub jobs: Option<usize>,
    /// Threads of a job; None: 1.
    pub cpus: Option<usize>,
    /// How often a job that fails is tried again.
    pub retries: u32,
    /// Slurm: partition.
    pub partition: Option<String>,
    /// Slurm: time limit of a job.
    pub time: Option<String>,
    /// Slurm: further options of sbatch, such as `--account=text`.
    pub options: Vec<String>,
}

impl Default for Launch {
    fn default() -> Self {
        Launch { jobs: None, cpus: None, retries: 3, partition: None, time: None, options: Vec::new() }
    }
}

impl Default for Machine {
    fn default() -> Self {
        Machine {
            threads: None,
            memory: "2GiB".to_owned(),
            work_dir: None,
            task_bytes: "256MiB".to_owned(),
            launch: Launch::default(),
        }
    }
}

/// JSON Schema of `config.toml`, as checked in under `schemas/json/`.
pub fn json_schema() -> serde_json::Value {
    serde_json::to_value(schemars::schema_for!(Config)).unwrap_or_default()
}

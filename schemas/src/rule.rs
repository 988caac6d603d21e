//! Why a line is not in the output: the names that stand in the ledger, in `rejects/` and in `why`.

use serde::{Deserialize, Serialize};

/// Stage under which lines that never became a document are recorded.
pub const STAGE_READ: &str = "read";
/// Stage of cleaning; its rule `empty` drops documents without text.
pub const STAGE_CLEAN: &str = "clean";
/// Stage of quality filters.
pub const STAGE_FILTER: &str = "filter";
/// Stage of decontamination; a rule is the name of a benchmark's file.
pub const STAGE_DECONTAMINATE: &str = "decontaminate";
/// Stage of deduplication.
pub const STAGE_DEDUP: &str = "dedup";
/// Stage of mixing; its other rules are `COLUMN=VALUE`.
pub const STAGE_MIX: &str = "mix";
/// Stage of taking documents out of a committed dataset.
pub const STAGE_REMOVE: &str = "remove";

/// Rule of the clean stage: nothing is left of the text.
pub const RULE_EMPTY: &str = "empty";
/// Rule of the clean stage: the steps do not come to rest on the text.
pub const RULE_UNSTABLE: &str = "unstable";
/// Rule of `--max-chars`.
pub const RULE_MAX_CHARS: &str = "max_chars";
/// Rule of documents taken out by a list of ids.
pub const RULE_IDS: &str = "ids";
/// Rule of exact duplicates.
pub const RULE_EXACT: &str = "exact";
/// Rule of near-duplicates.
pub const RULE_NEAR: &str = "near";

/// Rule of documents beyond the subset that is written.
pub const RULE_SUBSET: &str = "subset";

/// Why a line is invalid: one variant a way in which a line can be damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InvalidRule {
    /// The bytes are not UTF-8 (or not the declared encoding).
    BadUtf8,
    /// The line is not one JSON object, strictly (RFC 8259, no duplicate keys, no lone surrogates).
    JsonSyntax,
    /// Arrays and objects are nested deeper than `--max-depth`.
    Depth,
    /// The line is longer than `--max-line-bytes`.
    LineTooLong,
    /// The row is not a row of its table: a quote is not closed, or it has more or fewer cells than the header.
    CsvSyntax,
    /// The record has no header that tells its length, or ends before it.
    WarcSyntax,
    /// The page is not well-formed XML.
    XmlSyntax,
    /// The text column is absent or null.
    TextMissing,
    /// The text column is not a string.
    TextType,
    /// A column used in `--where` has a value of another type.
    ColumnType,
    /// The compressed stream ends before its end mark.
    StreamTruncated,
    /// The compressed stream is damaged.
    StreamCorrupt,
}

impl InvalidRule {
    /// Every rule, in the order in which they are documented.
    pub const ALL: [InvalidRule; 12] = [
        InvalidRule::BadUtf8,
        InvalidRule::JsonSyntax,
        InvalidRule::Depth,
        InvalidRule::LineTooLong,
        InvalidRule::CsvSyntax,
        InvalidRule::WarcSyntax,
        InvalidRule::XmlSyntax,
        InvalidRule::TextMissing,
        InvalidRule::TextType,
        InvalidRule::ColumnType,
        InvalidRule::StreamTruncated,
        InvalidRule::StreamCorrupt,
    ];

    /// The name in ledger and rejects.
    pub const fn name(self) -> &'static str {
        match self {
            InvalidRule::BadUtf8 => "bad_utf8",
            InvalidRule::JsonSyntax => "json_syntax",
            InvalidRule::Depth => "depth",
            InvalidRule::LineTooLong => "line_too_long",
            InvalidRule::CsvSyntax => "csv_syntax",
            InvalidRule::WarcSyntax => "warc_syntax",
            InvalidRule::XmlSyntax => "xml_syntax",
            InvalidRule::TextMissing => "text_missing",
            InvalidRule::TextType => "text_type",
            InvalidRule::ColumnType => "column_type",
            InvalidRule::StreamTruncated => "stream_truncated",
            InvalidRule::StreamCorrupt => "stream_corrupt",
        }
    }

    /// Whether the rule tells of a damaged stream, which makes the dataset incomplete.
    pub const fn is_stream(self) -> bool {
        matches!(self, InvalidRule::StreamTruncated | InvalidRule::StreamCorrupt)
    }
}

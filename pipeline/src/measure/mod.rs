//! Quality columns: measures of a text, computed where the source has none.
//!
//! ```text
//! Records -> Measure::apply -> the same records, with fields for every column asked for
//!   characters        one pass: classes of code points, lines, sentences
//!   char_repetition   character 10-grams
//!   word_statistics   refined words, word 10-grams, flagged words
//!   gopher, fineweb, c4   the statistics of the well-known filters
//!   language          an embedded detector, fastText models
//!   perplexity        n-gram models: ARPA, KenLM binaries
//! ```
//!
//! Definitions are those of the project that made a column known, traps included, to the last digit: Data-Juicer for
//! the unprefixed ones, datatrove for the others ([`schemas::measure::QualityColumn`] lists them). A value is put into
//! the records as if the source had had it, so filters, Parquet, rejects and reports need to know nothing of this.
//!
//! Counts are integers and every ratio is one division of two of them, so a value is the same on any machine.

mod c4;
mod char_repetition;
mod characters;
mod classes;
mod error;
mod fineweb;
mod gopher;
mod grams;
mod language;
mod lines;
mod measures;
mod model_file;
mod perplexity;
mod sentencepiece;
mod splitter;
mod tables;
mod text;
mod word_statistics;
mod words;

pub use error::Error;
pub use measures::Measures;
pub(crate) use perplexity::word_hash;
pub use splitter::Splitter;

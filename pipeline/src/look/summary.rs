//! What a dataset holds, at a glance: from its manifest and the footer of one Parquet file.

use arrow::datatypes::DataType;
use schemas::columns::RESERVED;
use schemas::ledger::Ledger;
use schemas::manifest::{DocumentCounts, Split, TokenizerEntry};
use serde::Serialize;
use shards::dataset::Dataset;

use super::Error;
use super::rows::RowFile;

/// A dataset at a glance.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The folder as it was given.
    pub folder: String,
    /// False where a damaged input stream ended early.
    pub complete: bool,
    /// Version of the layout.
    pub format_version: u32,
    /// Version of the tool that wrote it.
    pub tool_version: String,
    /// sha256 of the configuration.
    pub config_hash: String,
    /// sha256 of the manifest's content: the identity of the dataset.
    pub manifest_hash: String,
    /// The vocabulary.
    pub tokenizer: TokenizerEntry,
    /// `u16` or `u32`.
    pub dtype: &'static str,
    /// The inputs together.
    pub inputs: Inputs,
    /// Where every line went.
    pub ledger: Ledger,
    /// The rules that took most lines, largest first.
    pub top_rules: Vec<RuleCount>,
    /// Documents by origin.
    pub documents: DocumentCounts,
    /// The training side.
    pub train: Side,
    /// The validation side.
    pub val: Side,
    /// Columns of `data/` that the input or a measure gave; empty without `data/`.
    pub columns: Vec<ColumnSummary>,
    /// Files and bytes of the dataset, the manifest not counted.
    pub files: Files,
}

/// The inputs together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inputs {
    /// How many.
    pub files: u64,
    /// Bytes as stored (compressed where they are).
    pub bytes: u64,
}

/// Files and their bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Files {
    /// How many.
    pub count: u64,
    /// Bytes of all.
    pub bytes: u64,
}

/// One side of the split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// Documents.
    pub documents: u64,
    /// Tokens, BOS and EOS included.
    pub tokens: u64,
    /// Bytes of the `.bin` files.
    pub bytes: u64,
    /// Shards.
    pub shards: u64,
    /// Mean length; None without documents.
    pub tokens_per_document: Option<f64>,
}

/// Lines that one rule took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleCount {
    /// `read` for invalid lines, else the stage that dropped.
    pub stage: String,
    /// The rule.
    pub rule: String,
    /// Lines.
    pub lines: u64,
}

/// A column of `data/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnSummary {
    /// Its name.
    pub name: String,
    /// Its type, as Arrow's other implementations write it.
    #[serde(rename = "type")]
    pub type_name: String,
}

/// Summarises a dataset.
///
/// # Errors
/// Where the footer of the first Parquet file cannot be read.
pub fn summary(dataset: &Dataset) -> Result<Summary, Error> {
    let manifest = dataset.manifest();
    Ok(Summary {
        folder: dataset.dir().display().to_string(),
        complete: manifest.complete,
        format_version: manifest.format_version,
        tool_version: manifest.tool_version.clone(),
        config_hash: manifest.config_hash.clone(),
        manifest_hash: manifest.manifest_hash.clone(),
        tokenizer: manifest.tokenizer.clone(),
        dtype: manifest.dtype.name(),
        inputs: Inputs {
            files: manifest.inputs.len() as u64,
            bytes: manifest.inputs.iter().map(|input| input.bytes).sum(),
        },
        ledger: manifest.ledger.clone(),
        top_rules: top_rules(&manifest.ledger),
        documents: manifest.documents.clone(),
        train: side(dataset, Split::Train),
        val: side(dataset, Split::Val),
        columns: columns(dataset)?,
        files: Files { count: manifest.files.len() as u64, bytes: manifest.files.iter().map(|file| file.bytes).sum() },
    })
}

fn side(dataset: &Dataset, split: Split) -> Side {
    let entry = dataset.manifest().splits.get(split);
    Side {
        documents: entry.documents,
        tokens: entry.tokens,
        bytes: entry.tokens * dataset.manifest().dtype.token_bytes() as u64,
        shards: entry.shards.len() as u64,
        tokens_per_document: (entry.documents > 0).then(|| entry.tokens as f64 / entry.documents as f64),
    }
}

/// Rules by the lines they took, largest first, equal ones by name.
pub fn top_rules(ledger: &Ledger) -> Vec<RuleCount> {
    let count = |stage: &str, (rule, lines): (&String, &u64)| RuleCount {
        stage: stage.to_owned(),
        rule: rule.clone(),
        lines: *lines,
    };
    let invalid = ledger.invalid.iter().map(|entry| count(schemas::rule::STAGE_READ, entry));
    let dropped = ledger.dropped.iter().flat_map(|(stage, rules)| rules.iter().map(|entry| count(stage, entry)));
    let mut rules: Vec<RuleCount> = invalid.chain(dropped).collect();
    rules.sort_by(|left, right| (right.lines, &left.stage, &left.rule).cmp(&(left.lines, &right.stage, &right.rule)));
    rules
}

fn columns(dataset: &Dataset) -> Result<Vec<ColumnSummary>, Error> {
    let Some(entry) = Split::ALL.iter().find_map(|split| dataset.data_files(*split).next()) else {
        return Ok(Vec::new());
    };
    let file = RowFile::open(&dataset.dir().join(&entry.path))?;
    let fields = file.schema().fields().iter().filter(|field| !RESERVED.contains(&field.name().as_str()));
    Ok(fields
        .map(|field| ColumnSummary { name: field.name().clone(), type_name: type_name(field.data_type()) })
        .collect())
}

/// The name of a type as Arrow's other implementations write it: `string`, `double`, `list<element: uint16>`.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "string".to_owned(),
        DataType::Boolean => "bool".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::List(element) => format!("list<{}: {}>", element.name(), type_name(element.data_type())),
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::testing::{Doc, Shape, dataset, dataset_shaped};

    #[test]
    fn a_summary_counts_both_sides_and_names_the_columns() {
        let made = dataset(&[Doc::new("a", "one"), Doc::new("b", "three").val(), Doc::blank()]);
        let summary = summary(&made.open()).unwrap();
        assert_eq!((summary.train.documents, summary.train.tokens, summary.train.bytes), (1, 5, 10));
        assert_eq!(summary.val.tokens_per_document, Some(7.0));
        assert_eq!(summary.columns, [ColumnSummary { name: "score".to_owned(), type_name: "double".to_owned() }]);
    }

    #[test]
    fn rules_come_largest_first() {
        let mut ledger = Ledger::default();
        ledger.invalidate("json_syntax", 2);
        ledger.drop("filter", "max_chars", 5);
        ledger.drop("dedup", "exact", 2);
        let rules: Vec<String> = top_rules(&ledger).into_iter().map(|count| count.rule).collect();
        assert_eq!(rules, ["max_chars", "exact", "json_syntax"]);
    }

    #[test]
    fn a_dataset_without_parquet_has_a_summary() {
        let made = dataset_shaped(&[Doc::new("a", "one")], Shape { parquet: false, ..Shape::default() });
        assert_eq!(summary(&made.open()).unwrap().columns, []);
    }
}

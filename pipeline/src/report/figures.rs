//! `report.json`: the figures of a dataset, from which `report.html` draws. A function of inputs and configuration: no
//! times, no rates.

use std::collections::BTreeMap;

use schemas::config;
use schemas::ledger::Ledger;
use schemas::manifest::{DocumentCounts, Manifest, Splits};
use serde::{Deserialize, Serialize};

use super::columns::{ColumnSketches, N_CHARS, N_TOKENS};
use super::examples::{Reason, Reasons};
use super::mixture::Mixture;
use super::shares::{Share, Shares};
use super::sketch::Sketch;
use crate::clean::Counts;
use crate::filter::presets::expression;
use crate::filter::{Threshold, thresholds_of};

/// Version of the layout of `report.json`.
pub const REPORT_VERSION: u32 = 1;

/// Bars of a distribution.
const BINS: usize = 40;
/// Values of a grouping column that are shown one by one.
const VALUES_SHOWN: usize = 20;

/// The figures of a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// [`REPORT_VERSION`].
    pub report_version: u32,
    /// Version of the tool.
    pub tool_version: String,
    /// Inputs and their bytes.
    pub inputs: Inputs,
    /// Where every line went.
    pub ledger: Ledger,
    /// Rows of `data/`.
    pub documents: DocumentCounts,
    /// The two sides.
    pub splits: Splits,
    /// The conditions of the filter, as written.
    pub filter: Option<String>,
    /// What each step of cleaning changed, in the order of the names.
    pub cleaned: Counts,
    /// Columns of numbers.
    pub numbers: Vec<NumberColumn>,
    /// Columns by which one can group.
    pub groups: Vec<GroupColumn>,
    /// What mixing made of the values of its column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix: Option<Mixture>,
    /// Why lines were rejected, the most frequent reason first.
    pub rejects: Vec<Reason>,
}

/// The inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// How many.
    pub files: u64,
    /// Bytes as stored.
    pub bytes: u64,
}

/// A column of numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NumberColumn {
    /// Its name.
    pub name: String,
    /// Documents of the dataset.
    pub kept: Summary,
    /// Rejected documents.
    pub rejected: Summary,
    /// Whether the bars are wider towards large values.
    pub logarithmic: bool,
    /// The bars; values beyond the first and last are counted in them.
    pub bins: Vec<Bin>,
    /// What the filter compares it with.
    pub thresholds: Vec<Threshold>,
}

/// A distribution in a few numbers; quantiles are right to 3 %.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Rows with a value.
    pub count: u64,
    /// Rows without.
    pub nulls: u64,
    /// Smallest value.
    pub min: Option<f64>,
    /// Largest value.
    pub max: Option<f64>,
    /// Mean.
    pub mean: Option<f64>,
    /// Quantiles by percent: 1, 5, 25, 50, 75, 95, 99.
    pub quantiles: BTreeMap<u8, f64>,
}

/// A bar.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Smallest value.
    pub from: f64,
    /// Next bar's smallest.
    pub to: f64,
    /// Documents of the dataset.
    pub kept: u64,
    /// Rejected documents.
    pub rejected: u64,
}

/// A column by which one can group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupColumn {
    /// Its name.
    pub name: String,
    /// How many values it has among the documents of the dataset.
    pub distinct: u64,
    /// Entropy of the documents' shares, in bits.
    pub entropy_bits: f64,
    /// The most it could be with as many values.
    pub entropy_bits_max: f64,
    /// The largest shares.
    pub values: Vec<Group>,
    /// All others together.
    pub others: Group,
}

/// Rows of one value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The value.
    pub value: String,
    /// Documents of the dataset.
    pub documents: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Rejected documents.
    pub rejected: u64,
}

/// What the stages kept of the rows.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Of the documents of the dataset.
    pub kept: ColumnSketches,
    /// Of rejected documents.
    pub rejected: ColumnSketches,
    /// Why they were rejected.
    pub reasons: Reasons,
    /// What cleaning changed.
    pub cleaned: Counts,
    /// What mixing made of the values of its column.
    pub mix: Option<Mixture>,
}

impl Figures {
    /// The figures of a dataset that is about to be committed; `manifest` has its counts.
    pub fn new(manifest: &Manifest, filter: &config::Filter, gathered: Gathered) -> Figures {
        let thresholds = thresholds_of(filter);
        let Gathered { kept, rejected, reasons, cleaned, mix } = gathered;
        let mut rejects = reasons.0;
        rejects.sort_by_key(|reason| std::cmp::Reverse(reason.count));
        Figures {
            report_version: REPORT_VERSION,
            tool_version: manifest.tool_version.clone(),
            inputs: Inputs {
                files: manifest.inputs.len() as u64,
                bytes: manifest.inputs.iter().map(|input| input.bytes).sum(),
            },
            ledger: manifest.ledger.clone(),
            documents: manifest.documents.clone(),
            splits: manifest.splits.clone(),
            filter: expression(filter),
            cleaned,
            numbers: number_columns(&kept, &rejected, &thresholds),
            groups: group_columns(&kept, &rejected),
            mix,
            rejects,
        }
    }
}

fn number_columns(kept: &ColumnSketches, rejected: &ColumnSketches, thresholds: &[Threshold]) -> Vec<NumberColumn> {
    let absent = Sketch::default();
    let column = |name: &String| {
        let of = |sketches: &ColumnSketches| sketches.numbers.get(name).cloned().unwrap_or_else(|| absent.clone());
        let (kept, rejected) = (of(kept), of(rejected));
        let (logarithmic, bins) = bins(&kept, &rejected);
        let thresholds = thresholds.iter().filter(|threshold| threshold.column == *name).cloned().collect();
        let (kept, rejected) = (summary(&kept), summary(&rejected));
        NumberColumn { name: name.clone(), kept, rejected, logarithmic, bins, thresholds }
    };
    let first = [N_TOKENS, N_CHARS].map(str::to_owned);
    let mut names: Vec<&String> = kept.numbers.keys().chain(rejected.numbers.keys()).collect();
    names.sort_by_key(|name| (!first.contains(name), *name));
    names.dedup();
    names.into_iter().map(column).collect()
}

fn summary(sketch: &Sketch) -> Summary {
    let quantile = |percent: u8| Some((percent, sketch.quantile(f64::from(percent) / 100.0)?));
    Summary {
        count: sketch.count,
        nulls: sketch.nulls,
        min: sketch.min,
        max: sketch.max,
        mean: sketch.mean(),
        quantiles: [1, 5, 25, 50, 75, 95, 99].into_iter().filter_map(quantile).collect(),
    }
}

/// Bars from the hundredth to the last hundredth of all values; logarithmic where the largest would hide the rest.
fn bins(kept: &Sketch, rejected: &Sketch) -> (bool, Vec<Bin>) {
    let mut all = kept.clone();
    all.merge(rejected);
    let bounds = (all.quantile(0.005), all.quantile(0.995), all.quantile(0.5), all.min);
    let (Some(low), Some(high), Some(middle), Some(min)) = bounds else { return (false, Vec::new()) };
    let logarithmic = low > 0.0 && min >= 0.0 && high > 8.0 * middle.max(low);
    let low = if !logarithmic && min >= 0.0 && low < high / 4.0 { 0.0 } else { low };
    if high <= low {
        let bin = Bin { from: low, to: low, kept: kept.count, rejected: rejected.count };
        return (false, vec![bin]);
    }
    let edge = |index: usize| {
        let share = index as f64 / BINS as f64;
        if logarithmic { low * libm::exp2(share * libm::log2(high / low)) } else { low + share * (high - low) }
    };
    let mut bins: Vec<Bin> =
        (0..BINS).map(|index| Bin { from: edge(index), to: edge(index + 1), kept: 0, rejected: 0 }).collect();
    let last = bins.len() - 1;
    let mut count = |sketch: &Sketch, add: fn(&mut Bin, u64)| {
        for (value, rows) in sketch.buckets() {
            let index = bins.partition_point(|bin| bin.to <= value).min(last);
            if let Some(bin) = bins.get_mut(index) {
                add(bin, rows);
            }
        }
    };
    count(kept, |bin, rows| bin.kept += rows);
    count(rejected, |bin, rows| bin.rejected += rows);
    (logarithmic, bins)
}

fn group_columns(kept: &ColumnSketches, rejected: &ColumnSketches) -> Vec<GroupColumn> {
    let few = |(_, shares): &(&String, &Shares)| !shares.too_many && !shares.values.is_empty();
    let groups = |(name, shares): (&String, &Shares)| group_column(name, shares, rejected.values.get(name));
    // A column of which every document has its own value groups nothing.
    let groups = kept.values.iter().filter(few).map(groups);
    groups.filter(|column| column.distinct < 20 || column.distinct * 4 <= kept.rows).collect()
}

fn group_column(name: &str, shares: &Shares, rejected: Option<&Shares>) -> GroupColumn {
    let lost = |value: &str| rejected.and_then(|shares| shares.values.get(value)).map_or(0, |share| share.documents);
    let group = |(value, share): (&String, &Share)| Group {
        value: value.clone(),
        documents: share.documents,
        tokens: share.tokens,
        rejected: lost(value),
    };
    let gone =
        rejected.into_iter().flat_map(|shares| &shares.values).filter(|(value, _)| !shares.values.contains_key(*value));
    let gone = gone.map(|(value, share)| Group { value: value.clone(), rejected: share.documents, ..Group::default() });
    let mut groups: Vec<Group> = shares.values.iter().map(group).chain(gone).collect();
    groups.sort_by(|left, right| {
        let key = |group: &Group| (group.documents, group.rejected);
        key(right).cmp(&key(left)).then_with(|| left.value.cmp(&right.value))
    });
    let mut others = Group::default();
    for group in groups.iter().skip(VALUES_SHOWN) {
        others.documents += group.documents;
        others.tokens += group.tokens;
        others.rejected += group.rejected;
    }
    groups.truncate(VALUES_SHOWN);
    let distinct = shares.values.len() as u64;
    GroupColumn {
        name: name.to_owned(),
        distinct,
        entropy_bits: shares.entropy_bits(),
        entropy_bits_max: libm::log2(distinct as f64),
        values: groups,
        others,
    }
}

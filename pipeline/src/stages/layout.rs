//! What the read stage found: chunks, first lines of parts, columns. Later stages rank themselves by it.

use std::collections::HashMap;
use std::path::PathBuf;

use schemas::columns::{COLUMNS_MAX, Column, ColumnType, Kinds, dataset_name};
use schemas::ledger::Ledger;
use serde::{Deserialize, Serialize};

use super::cut;
use super::read::{self, ReadDone};
use crate::augment::{GENERATED_BY, GENERATED_BY_FIELD};
use crate::derive::Derived;
use crate::engine::run::Run;
use crate::error::Error;

/// A piece of a part's output, about 64 MiB of text: the unit of the stages after read.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Chunk {
    /// The part it comes from.
    pub part: u32,
    /// Its number within the part.
    pub number: u32,
    /// Documents that passed the filters.
    pub rows: u32,
    /// Rejected lines.
    pub rejects: u32,
}

impl Chunk {
    /// Its rows as later stages have them: without the passages that were cut. `index` is its position in the layout.
    pub fn rows_file(&self, run: &Run, index: usize) -> PathBuf {
        match run.passages {
            Some(_) => run.task_file(cut::NAME, index, "rows"),
            None => self.file(run, "rows"),
        }
    }

    /// One of its task files.
    pub fn file(&self, run: &Run, name: &str) -> PathBuf {
        run.task_file(read::NAME, self.part as usize, &format!("{:04}.{name}", self.number))
    }
}

/// What the read stage found.
#[derive(Debug)]
pub struct Layout {
    /// Every chunk, in input order.
    pub chunks: Vec<Chunk>,
    /// First line of each part within its input.
    pub line_bases: Vec<u64>,
    /// Lines of each input.
    pub input_lines: Vec<u64>,
    /// Hash of each input.
    pub input_hashes: Vec<String>,
    /// Source columns, in order of first appearance.
    pub columns: Vec<Column>,
    /// Whether there are more columns than that.
    pub extra: bool,
    /// Counts of the read stage.
    pub ledger: Ledger,
}

impl Layout {
    /// Adds up the markers of the read stage.
    pub(crate) fn load(run: &Run) -> Result<Layout, Error> {
        if let Some(derived) = &run.plan.derived {
            return Layout::of_datasets(run, derived);
        }
        let mut layout = Layout {
            chunks: Vec::new(),
            line_bases: Vec::new(),
            input_lines: vec![0; run.plan.inputs.len()],
            input_hashes: Vec::new(),
            columns: Vec::new(),
            extra: false,
            ledger: Ledger::default(),
        };
        let mut digests: Vec<Vec<u128>> = vec![Vec::new(); run.plan.inputs.len()];
        let mut union = ColumnUnion::default();
        for (rank, part) in run.plan.parts.iter().enumerate() {
            let done: ReadDone = run.marker(read::NAME, rank)?;
            if let (Some(lines), Some(blocks)) = (layout.input_lines.get_mut(part.input), digests.get_mut(part.input)) {
                layout.line_bases.push(*lines);
                *lines += done.lines;
                blocks.extend(done.block_hashes.iter().filter_map(|hash| u128::from_str_radix(hash, 16).ok()));
            }
            layout.chunks.extend(done.chunks);
            layout.ledger.merge(&done.ledger);
            union.merge(&done.columns);
        }
        layout.input_hashes = digests.iter().map(|blocks| shards::blockhash::combine(blocks)).collect();
        (layout.columns, layout.extra) = union.columns();
        if run.augment.is_on() {
            mark_generated(&mut layout.columns);
        }
        Ok(layout)
    }

    /// Of datasets: lines and names are what they were, and the ledger is theirs but for what was taken out.
    fn of_datasets(run: &Run, derived: &Derived) -> Result<Layout, Error> {
        let mut layout = Layout {
            chunks: Vec::new(),
            line_bases: vec![0; run.plan.parts.len()],
            input_lines: derived.inputs.iter().map(|input| input.lines).collect(),
            input_hashes: derived.inputs.iter().map(|input| input.hash.clone()).collect(),
            columns: Vec::new(),
            extra: false,
            ledger: derived.ledger.clone(),
        };
        let mut union = ColumnUnion::default();
        for rank in 0..run.plan.parts.len() {
            let done: ReadDone = run.marker(read::NAME, rank)?;
            layout.chunks.extend(done.chunks);
            layout.ledger.kept = layout.ledger.kept.saturating_sub(done.ledger.dropped_total());
            for (stage, rules) in &done.ledger.dropped {
                rules.iter().for_each(|(rule, count)| layout.ledger.drop(stage, rule, *count));
            }
            union.merge(&done.columns);
        }
        let column = |(name, kinds): (String, Kinds)| {
            let (source_name, column_type) = (name.clone(), kinds.column_type());
            Column { source_name, name, column_type }
        };
        layout.columns = union.into_seen().into_iter().map(column).collect();
        Ok(layout)
    }
}

/// Adds the column that says how a document was made; a source column so called gives way.
fn mark_generated(columns: &mut Vec<Column>) {
    for column in columns.iter_mut().filter(|column| column.name == GENERATED_BY) {
        column.name = format!("source_{GENERATED_BY}");
    }
    let (source_name, name) = (GENERATED_BY_FIELD.to_owned(), GENERATED_BY.to_owned());
    columns.push(Column { source_name, name, column_type: ColumnType::String });
}

/// Names and kinds over all parts, in order of first appearance.
#[derive(Debug, Default)]
pub struct ColumnUnion {
    names: Vec<String>,
    kinds: HashMap<String, Kinds>,
}

impl ColumnUnion {
    /// Adds what the next part saw.
    pub fn merge(&mut self, seen: &[(String, Kinds)]) {
        for (name, kinds) in seen {
            match self.kinds.get_mut(name) {
                Some(known) => known.merge(*kinds),
                None => {
                    self.names.push(name.clone());
                    self.kinds.insert(name.clone(), *kinds);
                }
            }
        }
    }

    /// Names and kinds, in order.
    pub fn into_seen(self) -> Vec<(String, Kinds)> {
        let ColumnUnion { names, kinds } = self;
        names
            .into_iter()
            .map(|name| (kinds.get(&name).copied().unwrap_or_default(), name))
            .map(|(k, n)| (n, k))
            .collect()
    }

    /// The columns of the dataset, and whether there are more.
    fn columns(&self) -> (Vec<Column>, bool) {
        let column = |name: &String| Column {
            source_name: name.clone(),
            name: self.free_name(name),
            column_type: self.kinds.get(name).copied().unwrap_or_default().column_type(),
        };
        let columns = self.names.iter().take(COLUMNS_MAX).map(column).collect();
        (columns, self.names.len() > COLUMNS_MAX)
    }

    /// `tokens` becomes `source_tokens`, or `source_source_tokens` where the source has that one too.
    fn free_name(&self, name: &str) -> String {
        let mut free = dataset_name(name);
        while free != name && self.kinds.contains_key(&free) {
            free = format!("source_{free}");
        }
        free
    }
}

//! The duplicates stage: one task a file of `duplicates/`; every member of a cluster, in input order, those of earlier
//! datasets last.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringBuilder};
use arrow::record_batch::RecordBatch;
use schemas::columns::duplicates_schema;
use schemas::manifest::FileEntry;
use schemas::rule::{RULE_EXACT, RULE_NEAR};
use serde::{Deserialize, Serialize};
use shards::parquet::DataFile;

use super::groups::{self, GroupsDone, GroupsStage};
use super::read::no_such_rank;
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::spill::frame::FrameReader;
use crate::spill::groups::{Member, decode};
use crate::spill::losers::Likeness;

/// Name of the stage, and of its folder in the dataset.
pub const NAME: &str = "duplicates";

const FILE_ROWS: u64 = 1_000_000;
const ROW_GROUP_ROWS: usize = 16_384;

/// The duplicates stage.
pub struct DuplicatesStage;

/// What a duplicates task says of itself: its file.
#[derive(Debug, Serialize, Deserialize)]
pub struct DuplicatesDone {
    /// The Parquet file.
    pub file: FileEntry,
}

impl Stage for DuplicatesStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ranks(&self, run: &Run) -> Result<usize, Error> {
        Ok(counts(run)?.iter().sum::<u64>().div_ceil(FILE_ROWS) as usize)
    }

    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error> {
        let counts = counts(run)?;
        let members: u64 = counts.iter().sum();
        let files = members.div_ceil(FILE_ROWS) as usize;
        if rank >= files {
            return Err(no_such_rank(NAME, rank, files));
        }
        let first = rank as u64 * FILE_ROWS;
        let rows = (members - first).min(FILE_ROWS);
        let path = format!("{NAME}/{NAME}-{rank:05}-of-{files:05}.parquet");
        let folder = run.plan.dataset.join(NAME);
        std::fs::create_dir_all(&folder).map_err(|error| Error::io("create", &folder, error))?;
        let mut file = DataFile::create(run.plan.dataset.join(&path), Arc::new(duplicates_schema()), Vec::new())?;
        let encoder = file.encoder();
        let mut stream = Stream::from(run, &counts, first)?;
        let mut left = rows as usize;
        while left > 0 {
            run.interrupt.check()?;
            let group = stream.take(left.min(ROW_GROUP_ROWS))?;
            left -= group.len();
            file.append(encoder.encode(&batch(run, &group)?)?)?;
        }
        let digest = file.finish()?;
        let entry = FileEntry { path, bytes: digest.bytes, documents: Some(rows), tokens: None, sha256: digest.sha256 };
        run.mark_done(NAME, rank, &DuplicatesDone { file: entry })
    }
}

/// The files of `duplicates/`.
pub(super) fn files(run: &Run) -> Result<Vec<FileEntry>, Error> {
    let ranks = 0..DuplicatesStage.ranks(run)?;
    ranks.map(|rank| Ok(run.marker::<DuplicatesDone>(NAME, rank)?.file)).collect()
}

/// Members of each chunk and of each file of an earlier dataset.
fn counts(run: &Run) -> Result<Vec<u64>, Error> {
    let ranks = 0..GroupsStage.ranks(run)?;
    ranks.map(|rank| Ok(run.marker::<GroupsDone>(groups::NAME, rank)?.members)).collect()
}

/// Members of all chunks, from one on.
struct Stream<'a> {
    run: &'a Run,
    next_chunk: usize,
    frames: Option<FrameReader>,
    members: std::vec::IntoIter<Member>,
}

impl<'a> Stream<'a> {
    fn from(run: &'a Run, counts: &[u64], first: u64) -> Result<Self, Error> {
        let (mut next_chunk, mut skip) = (0, first);
        while let Some(count) = counts.get(next_chunk).filter(|count| **count <= skip) {
            skip -= count;
            next_chunk += 1;
        }
        let mut stream = Stream { run, next_chunk, frames: None, members: Vec::new().into_iter() };
        for _ in 0..skip {
            stream.next()?;
        }
        Ok(stream)
    }

    fn next(&mut self) -> Result<Option<Member>, Error> {
        loop {
            if let Some(member) = self.members.next() {
                return Ok(Some(member));
            }
            let Some(frames) = &mut self.frames else {
                if self.next_chunk >= GroupsStage.ranks(self.run)? {
                    return Ok(None);
                }
                self.frames = Some(FrameReader::open(&self.run.task_file(groups::NAME, self.next_chunk, "members"))?);
                self.next_chunk += 1;
                continue;
            };
            match frames.next_frame()? {
                Some(payload) => self.members = decode(&payload).ok_or_else(|| frames.undecodable())?.into_iter(),
                None => self.frames = None,
            }
        }
    }

    fn take(&mut self, count: usize) -> Result<Vec<Member>, Error> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            let member = self.next()?.ok_or_else(|| Error::Inconsistent {
                what: "members of clusters".to_owned(),
                expected: count.to_string(),
                found: taken.len().to_string(),
            })?;
            taken.push(member);
        }
        Ok(taken)
    }
}

fn batch(run: &Run, members: &[Member]) -> Result<RecordBatch, Error> {
    let [mut ids, mut sources, mut rules, mut datasets] = std::array::from_fn(|_| StringBuilder::new());
    for member in members {
        ids.append_value(&member.doc_id);
        sources.append_value(&member.source);
        let dataset = member.dataset.and_then(|dataset| run.plan.against.get(dataset as usize));
        datasets.append_option(dataset.map(|earlier| earlier.name.as_str()));
        rules.append_option(member.likeness.map(rule));
    }
    let clusters = members.iter().map(|member| member.cluster as i64);
    let lines = members.iter().map(|member| member.line as i64);
    let offsets = members.iter().map(|member| member.byte_offset.map(|offset| offset as i64));
    let kept: Vec<bool> = members.iter().map(|member| member.likeness.is_none()).collect();
    let similarities = members.iter().map(|member| member.likeness.and_then(Likeness::similarity));
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(clusters)),
        Arc::new(ids.finish()),
        Arc::new(sources.finish()),
        Arc::new(Int64Array::from_iter_values(lines)),
        Arc::new(offsets.collect::<Int64Array>()),
        Arc::new(BooleanArray::from(kept)),
        Arc::new(rules.finish()),
        Arc::new(similarities.collect::<Float64Array>()),
        Arc::new(datasets.finish()),
    ];
    Ok(RecordBatch::try_new(Arc::new(duplicates_schema()), arrays)?)
}

/// The rule under which a duplicate is dropped.
pub(super) fn rule(likeness: Likeness) -> &'static str {
    match likeness {
        Likeness::Exact => RULE_EXACT,
        Likeness::Near(_) | Likeness::Unverified => RULE_NEAR,
    }
}

//! The groups stage: one task a chunk, then one a file of an earlier dataset; its members of clusters, kept and dropped, on their way to `duplicates/`.
//!
//! File: `RANK.members`.

use serde::{Deserialize, Serialize};

use super::against::{self, Lookup, Name};
use super::losers::{keepers_of, losers_of};
use super::read::no_such_rank;
use super::table::doc_id;
use super::walk::Walk;
use super::write::{id_name, place_name};
use crate::engine::run::Run;
use crate::engine::stage::Stage;
use crate::error::Error;
use crate::spill::frame::FrameWriter;
use crate::spill::groups::{self, Member};
use crate::spill::losers::{Likeness, chunk_and_row, number};

/// Name of the stage.
pub const NAME: &str = "groups";

const FRAME_MEMBERS: usize = 1 << 12;

/// The groups stage.
pub struct GroupsStage;

/// What a groups task says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct GroupsDone {
    /// Members it wrote.
    pub members: u64,
}

impl Stage for GroupsStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ranks(&self, run: &Run) -> Result<usize, Error> {
        Ok(run.layout()?.chunks.len() + against::count(run))
    }

    fn execute(&self, run: &Run, rank: usize) -> Result<(), Error> {
        let layout = run.layout()?;
        let Some(chunk) = layout.chunks.get(rank) else { return earlier(run, rank) };
        let bases = first_documents(run)?;
        let line_base = layout.line_bases.get(chunk.part as usize).copied().unwrap_or_default();
        let found = roles(run, rank)?;
        let rows: Vec<u32> = found.iter().map(|role| role.row).collect();
        let mut roles = found.iter().peekable();
        let mut members = FrameWriter::create(&run.task_file(NAME, rank, "members"))?;
        let (mut walk, mut left) = (Walk::new(run, chunk)?, &rows[..]);
        while let Some(frame) = walk.next_with(&mut left)? {
            run.interrupt.check()?;
            let first_row = frame.first_row;
            let block = frame.decode()?;
            let id = id_name(run, &block);
            let mut payload = Vec::new();
            for (row, parts) in (first_row..).zip(&block.rows) {
                let Some(role) = roles.next_if(|role| role.row == row) else { continue };
                let origin = parts.origin;
                let line = line_base + origin.line + 1;
                let source = run.plan.inputs.get(origin.input as usize).map_or("", |input| input.label.as_str());
                let (home, kept) = chunk_and_row(role.cluster);
                let base = bases.get(home as usize).copied().unwrap_or_default();
                groups::put(
                    &mut payload,
                    &Member {
                        cluster: base + u64::from(kept),
                        doc_id: doc_id(&block, parts, id, || place_name(source, line, &origin)),
                        dataset: None,
                        source: source.to_owned(),
                        line,
                        byte_offset: origin.byte_offset,
                        likeness: role.likeness,
                    },
                );
            }
            members.push(&payload)?;
        }
        members.finish()?;
        run.mark_done(NAME, rank, &GroupsDone { members: rows.len() as u64 })
    }
}

/// The documents of a file of an earlier dataset that others go for.
fn earlier(run: &Run, rank: usize) -> Result<(), Error> {
    let (own, ranks) = (run.layout()?.chunks.len(), GroupsStage.ranks(run)?);
    if rank >= ranks {
        return Err(no_such_rank(NAME, rank, ranks));
    }
    let base = first_documents(run)?.get(rank).copied().unwrap_or_default();
    let rows = keepers_of(run, rank)?;
    let mut names = Lookup::names(run);
    let mut members = FrameWriter::create(&run.task_file(NAME, rank, "members"))?;
    for group in rows.chunks(FRAME_MEMBERS) {
        run.interrupt.check()?;
        let mut payload = Vec::new();
        for row in group {
            let name = names.name(rank - own, *row)?;
            let cluster = base + u64::from(*row);
            let dataset = Some(name.dataset as u32);
            let Name { doc_id, source, line, byte_offset, .. } = name;
            groups::put(&mut payload, &Member { cluster, doc_id, dataset, source, line, byte_offset, likeness: None });
        }
        members.push(&payload)?;
    }
    members.finish()?;
    run.mark_done(NAME, rank, &GroupsDone { members: rows.len() as u64 })
}

/// A row and what it is in its cluster.
struct Role {
    row: u32,
    /// Number of the kept document.
    cluster: u64,
    likeness: Option<Likeness>,
}

/// The roles of a chunk's rows, in order of rows: those that go and those that others go for.
fn roles(run: &Run, chunk: usize) -> Result<Vec<Role>, Error> {
    let losers = losers_of(run, chunk)?.into_iter();
    let losers =
        losers.map(|loser| Role { row: loser.row, cluster: loser.keeper.number, likeness: Some(loser.likeness) });
    let keepers = keepers_of(run, chunk)?.into_iter();
    let keepers = keepers.map(|row| Role { row, cluster: number(chunk as u32, row), likeness: None });
    let mut roles: Vec<Role> = losers.chain(keepers).collect();
    roles.sort_unstable_by_key(|role| role.row);
    Ok(roles)
}

/// Documents before each chunk: how a document is counted whatever the chunks are. Those of earlier datasets follow.
fn first_documents(run: &Run) -> Result<Vec<u64>, Error> {
    let mut next = 0;
    let own = run.layout()?.chunks.iter().map(|chunk| u64::from(chunk.rows));
    let before = own.chain(against::files(run).map(|(_, file)| file.documents)).map(|documents| {
        next += documents;
        next - documents
    });
    Ok(before.collect())
}

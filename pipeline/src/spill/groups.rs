//! Members of clusters on their way to `duplicates/`: one record a document, in input order.

use super::wire::{Cursor, put_bytes, put_u32, put_u64};
use crate::spill::losers::Likeness;

const NONE: u64 = u64::MAX;
const OWN: u32 = u32::MAX;
const KEPT: u8 = 0;
const EXACT: u8 = 1;
const NEAR: u8 = 2;
const UNVERIFIED: u8 = 3;

/// A document that has a duplicate or is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Number of the kept document of its cluster among the documents that dedup saw, from 0.
    pub cluster: u64,
    /// Its id.
    pub doc_id: String,
    /// Position of the earlier dataset that holds it; None where it is one of the run's own.
    pub dataset: Option<u32>,
    /// Its input.
    pub source: String,
    /// Line of its input, from 1.
    pub line: u64,
    /// Offset in the decompressed stream; None for Parquet.
    pub byte_offset: Option<u64>,
    /// What it has in common with the kept document; None where it is that document.
    pub likeness: Option<Likeness>,
}

/// Appends a member to the payload of a frame.
pub fn put(out: &mut Vec<u8>, member: &Member) {
    put_u64(out, member.cluster);
    put_bytes(out, member.doc_id.as_bytes());
    put_u32(out, member.dataset.unwrap_or(OWN));
    put_bytes(out, member.source.as_bytes());
    put_u64(out, member.line);
    put_u64(out, member.byte_offset.unwrap_or(NONE));
    let (kind, bits) = match member.likeness {
        None => (KEPT, 0),
        Some(Likeness::Exact) => (EXACT, 0),
        Some(Likeness::Near(bits)) => (NEAR, bits),
        Some(Likeness::Unverified) => (UNVERIFIED, 0),
    };
    out.push(kind);
    put_u64(out, bits);
}

/// The members of a payload; None where it is not one.
pub fn decode(payload: &[u8]) -> Option<Vec<Member>> {
    let mut cursor = Cursor::new(payload);
    let mut members = Vec::new();
    while let Some(cluster) = cursor.u64() {
        let (doc_id, dataset) = (cursor.string()?, Some(cursor.u32()?).filter(|dataset| *dataset != OWN));
        let (source, line) = (cursor.string()?, cursor.u64()?);
        let byte_offset = Some(cursor.u64()?).filter(|offset| *offset != NONE);
        let (kind, bits) = (cursor.byte()?, cursor.u64()?);
        let likeness = match kind {
            KEPT => None,
            EXACT => Some(Likeness::Exact),
            NEAR => Some(Likeness::Near(bits)),
            UNVERIFIED => Some(Likeness::Unverified),
            _ => return None,
        };
        members.push(Member { cluster, doc_id, dataset, source, line, byte_offset, likeness });
    }
    Some(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_back() {
        let member = |likeness: Option<Likeness>| Member {
            cluster: 9,
            doc_id: "河".to_owned(),
            dataset: likeness.map(|_| 3),
            source: "a.jsonl".to_owned(),
            line: 2,
            byte_offset: likeness.map(|_| 77),
            likeness,
        };
        let members = [None, Some(Likeness::Exact), Some(Likeness::Near(5)), Some(Likeness::Unverified)].map(member);
        let mut payload = Vec::new();
        members.iter().for_each(|member| put(&mut payload, member));
        assert_eq!(decode(&payload).unwrap(), members);
        assert_eq!(decode(&payload[..payload.len() - 1]), None);
    }
}

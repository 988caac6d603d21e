//! Where the documents of a shard start, for windows that ask again and again.
//!
//! Every 128th start is kept in memory, which is an eighth of a byte for a token's worth of ordinary text, and finds
//! the stretch of the index that a window needs in one read. Sides of a few million documents keep all starts: a window
//! then costs a search in memory.

use std::ops::Range;

use shards::shard::ShardReader;

use crate::error::Result;

/// Documents of a stretch.
const STRETCH: usize = 128;

/// Starts that the shards of a side together may keep in memory: 64 MiB.
pub(super) const STARTS_MAX: u64 = 8 << 20;

/// The starts of a shard's documents.
#[derive(Debug)]
pub(super) struct Starts {
    /// Start of every document that is the first of its stretch.
    stretches: Vec<u64>,
    /// Every start, where they are kept.
    all: Option<Vec<u64>>,
}

impl Starts {
    /// Reads a shard's index, and checks every entry on the way.
    ///
    /// # Errors
    /// Where it cannot be read, or an entry lies.
    pub(super) fn read(shard: &ShardReader, keep_all: bool) -> Result<Starts> {
        let (mut stretches, mut all) = (Vec::new(), keep_all.then(Vec::new));
        for (number, span) in shard.spans_from(0).enumerate() {
            let start = span?.token_offset;
            if number % STRETCH == 0 {
                stretches.push(start);
            }
            if let Some(all) = &mut all {
                all.push(start);
            }
        }
        Ok(Starts { stretches, all })
    }

    /// Appends the offsets at which documents start inside a window of the shard, ascending, each once.
    ///
    /// # Errors
    /// Where the index cannot be read.
    pub(super) fn inside(&self, shard: &ShardReader, window: Range<u64>, found: &mut Vec<u64>) -> Result<()> {
        // The last stretch that starts before the window; one that starts with it may follow empty documents.
        let stretch = self.stretches.partition_point(|start| *start < window.start).saturating_sub(1);
        let document = stretch * STRETCH;
        let Some(all) = &self.all else {
            return Ok(shard.index().starts_from(document as u64, window, found)?);
        };
        let rest = all.get(document..).unwrap_or_default();
        let near = rest.get(..STRETCH.min(rest.len())).unwrap_or_default();
        let from = near.partition_point(|start| *start < window.start);
        // An empty document shares its start with the next.
        for start in rest[from..].iter().take_while(|start| **start < window.end) {
            if found.last() != Some(start) {
                found.push(*start);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use schemas::dtype::Dtype;
    use schemas::manifest::Split;
    use shards::shard::ShardWriter;

    use super::*;

    /// Documents of 0 to 6 tokens, many stretches of them.
    fn shard(folder: &std::path::Path) -> ShardReader {
        let mut writer = ShardWriter::create(folder, Split::Train, 0, Dtype::U16).unwrap();
        for number in 0..1500u64 {
            let empty = number.is_multiple_of(97) || (600..900).contains(&number);
            let tokens = if empty { 0 } else { crate::rng::bits(1, 2, number) % 7 };
            writer.push_document(&vec![0; 2 * tokens as usize]).unwrap();
        }
        let [bin, _] = writer.finish().unwrap();
        ShardReader::open(folder, &bin.path).unwrap()
    }

    #[test]
    fn starts_are_those_of_a_scan_in_memory_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let shard = shard(folder.path());
        let spans: Vec<_> = shard.spans_from(0).map(|span| span.unwrap()).filter(|span| span.n_tokens > 0).collect();
        let [kept, searched] = [true, false].map(|all| Starts::read(&shard, all).unwrap());
        for first in 0..shard.tokens() - 60 {
            let window = first..first + 60;
            let expected: Vec<u64> = spans.iter().map(|s| s.token_offset).filter(|at| window.contains(at)).collect();
            for starts in [&kept, &searched] {
                let mut found = Vec::new();
                starts.inside(&shard, window.clone(), &mut found).unwrap();
                assert_eq!(found, expected, "{window:?}");
            }
        }
    }
}

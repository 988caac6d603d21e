//! Embedding's backward pass, prepared on the host: rows sorted by id, and cut into pieces that blocks sum.
//!
//! The host knows the ids before the device does, and a counting sort of a micro-batch takes less time than its copy;
//! so the device needs neither atomics nor a sort, and its sums have one order.

/// Rows a block sums: enough to pay for a block, few enough that the commonest id does not hold up the rest.
const PIECE_ROWS: usize = 64;

/// The rows of a micro-batch by id.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SortedRows {
    /// Rows, ordered by id, then by row.
    pub order: Vec<u32>,
    /// Where each piece starts in `order`, and the end.
    pub pieces: Vec<u32>,
    /// For each piece its id where it is the only one of its id, else V + its number among the others.
    pub targets: Vec<u32>,
    /// Ids of several pieces.
    pub split_ids: Vec<u32>,
    /// Where the pieces of each of them start among the pieces that are not alone, and the end.
    pub split_starts: Vec<u32>,
}

impl SortedRows {
    /// The most pieces that are not alone in their id, of `rows` rows.
    pub fn split_pieces_max(rows: usize) -> usize {
        // An id of r > 64 rows has at most r / 64 + 1 <= r / 32 pieces.
        rows.div_ceil(PIECE_ROWS / 2)
    }

    /// Sorts the rows of `ids`, each below `vocabulary`.
    pub fn new(ids: &[u32], vocabulary: usize) -> SortedRows {
        let mut ends = vec![0u32; vocabulary + 1];
        for &id in ids {
            ends[id as usize + 1] += 1;
        }
        for id in 0..vocabulary {
            ends[id + 1] += ends[id];
        }
        let mut next = ends.clone();
        let mut order = vec![0u32; ids.len()];
        for (row, &id) in ids.iter().enumerate() {
            order[next[id as usize] as usize] = row as u32;
            next[id as usize] += 1;
        }
        let mut sorted = SortedRows { order, split_starts: vec![0], ..SortedRows::default() };
        for id in 0..vocabulary {
            sorted.cut(id as u32, ends[id], ends[id + 1], vocabulary as u32);
        }
        sorted.pieces.push(ids.len() as u32);
        sorted
    }

    /// Cuts the rows of one id.
    fn cut(&mut self, id: u32, first: u32, end: u32, vocabulary: u32) {
        let pieces = (end - first).div_ceil(PIECE_ROWS as u32);
        for piece in 0..pieces {
            self.pieces.push(first + piece * PIECE_ROWS as u32);
            let number = self.split_starts.last().copied().unwrap_or(0) + piece;
            self.targets.push(if pieces == 1 { id } else { vocabulary + number });
        }
        if pieces > 1 {
            self.split_ids.push(id);
            self.split_starts.push(self.split_starts.last().copied().unwrap_or(0) + pieces);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_piece_of_its_id() {
        let ids: Vec<u32> = (0..1000u32).map(|i| if i % 3 == 0 { 7 } else { i * i % 11 }).collect();
        let sorted = SortedRows::new(&ids, 12);
        let mut seen = vec![0; ids.len()];
        for (piece, &target) in sorted.targets.iter().enumerate() {
            let rows = &sorted.order[sorted.pieces[piece] as usize..sorted.pieces[piece + 1] as usize];
            assert!((1..=PIECE_ROWS).contains(&rows.len()) && rows.is_sorted());
            let number = target.checked_sub(12);
            let owner = |number: u32| sorted.split_starts.partition_point(|&start| start <= number) - 1;
            let id = number.map_or(target, |number| sorted.split_ids[owner(number)]);
            rows.iter().for_each(|&row| seen[row as usize] += usize::from(ids[row as usize] == id));
        }
        assert_eq!(seen, vec![1; ids.len()]);
        assert!(*sorted.split_starts.last().unwrap() as usize <= SortedRows::split_pieces_max(ids.len()));
    }
}

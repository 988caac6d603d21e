//! What an export reads: the tokens of a shard in pieces, the documents of a side with their ids, the rows of a side.

use arrow::array::RecordBatch;
use schemas::manifest::Split;
use shards::dataset::Dataset;
use shards::shard::ShardReader;

use super::Error;
use crate::look::cell;
use crate::look::rows::{RowFile, Rows};

/// Tokens read at once.
const PIECE_TOKENS: u64 = 1 << 19;

/// Hands the tokens `from..end` of a shard to `write`, little-endian, piece by piece.
///
/// # Errors
/// Where the shard cannot be read, or what `write` says.
pub fn copy_tokens(
    shard: &ShardReader,
    from: u64,
    end: u64,
    mut write: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut buffer = vec![0; PIECE_TOKENS.min(end.saturating_sub(from)) as usize * shard.dtype().token_bytes()];
    let mut position = from;
    while position < end {
        let tokens = PIECE_TOKENS.min(end - position);
        let piece = buffer.get_mut(..tokens as usize * shard.dtype().token_bytes()).unwrap_or_default();
        shard.read_at(position, piece)?;
        write(piece)?;
        position += tokens;
    }
    Ok(())
}

/// A document of a shard.
#[derive(Debug)]
pub struct Document<'a> {
    /// Its id; `train-00000/12` in a dataset without `data/`.
    pub id: &'a str,
    /// Its ids, BOS and EOS included, little-endian.
    pub tokens: &'a [u8],
    /// How many.
    pub n_tokens: u64,
}

/// Hands every document of a side to `each`, in order. Memory is that of the longest document.
///
/// # Errors
/// Where a file cannot be read, `data/` has other documents than the shards, or what `each` says.
pub fn for_each_document(
    dataset: &Dataset,
    split: Split,
    mut each: impl FnMut(&Document<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut ids = Ids::of(dataset, split);
    let mut tokens = Vec::new();
    for (number, shard) in dataset.shards(split).enumerate() {
        let shard = shard?;
        for span in shard.spans_from(0) {
            let span = span?;
            shard.read_document(span, &mut tokens)?;
            let id = ids.next(number, span.document, span.n_tokens)?;
            each(&Document { id: &id, tokens: &tokens, n_tokens: span.n_tokens })?;
        }
    }
    Ok(())
}

/// The ids of a side's documents, from `data/` where there is one.
struct Ids<'a> {
    dataset: &'a Dataset,
    split: Split,
    files: std::vec::IntoIter<String>,
    rows: Option<Rows>,
    batch: Option<RecordBatch>,
    row: usize,
    has_data: bool,
}

impl<'a> Ids<'a> {
    fn of(dataset: &'a Dataset, split: Split) -> Ids<'a> {
        let files: Vec<String> = dataset.data_files(split).map(|entry| entry.path.clone()).collect();
        let has_data = !files.is_empty();
        Ids { dataset, split, files: files.into_iter(), rows: None, batch: None, row: 0, has_data }
    }

    fn next(&mut self, shard: usize, document: u64, n_tokens: u64) -> Result<String, Error> {
        if !self.has_data {
            return Ok(format!("{}-{shard:05}/{document}", self.split.name()));
        }
        let place = || format!("document {document} of {} shard {shard}", self.split.name());
        let mismatch = |found: String| {
            let path = self.dataset.dir().to_owned();
            Error::Mismatch { path, place: place(), expected: format!("a row of {n_tokens} tokens"), found }
        };
        while self.batch.as_ref().is_none_or(|batch| self.row >= batch.num_rows()) {
            match self.rows.as_mut().and_then(Iterator::next) {
                Some(batch) => (self.batch, self.row) = (Some(batch?), 0),
                None => {
                    let Some(path) = self.files.next() else { return Err(mismatch("no row".to_owned())) };
                    let file = RowFile::open(&self.dataset.dir().join(path))?;
                    self.rows = Some(file.stream(Some(&["doc_id", "n_tokens"]))?);
                }
            }
        }
        let row = self.row;
        self.row += 1;
        let found = self.batch.as_ref().and_then(|batch| {
            Some((cell::text(batch, row, "doc_id")?.to_owned(), cell::integer(batch, row, "n_tokens")?))
        });
        match found {
            Some((id, tokens)) if u64::try_from(tokens) == Ok(n_tokens) => Ok(id),
            Some((id, tokens)) => Err(mismatch(format!("{id} of {tokens} tokens"))),
            None => Err(mismatch("a row without doc_id or n_tokens".to_owned())),
        }
    }
}

/// Columns of `data/` that say where a row lies, not what it holds.
const PLACE_COLUMNS: [&str; 8] =
    ["source", "line", "byte_offset", "copy", "tokens", "n_tokens", "shard", "token_offset"];

/// The columns that a text format writes: `doc_id`, `text`, then the columns of the input.
///
/// # Errors
/// Where a footer cannot be read; a dataset without `data/`.
pub fn text_columns(dataset: &Dataset) -> Result<Vec<String>, Error> {
    crate::look::document::require_data(dataset, "a text format")?;
    let Some(entry) = Split::ALL.iter().find_map(|split| dataset.data_files(*split).next()) else {
        return Ok(vec!["doc_id".to_owned(), "text".to_owned()]);
    };
    let file = RowFile::open(&dataset.dir().join(&entry.path))?;
    let names = file.schema().fields().iter().map(|field| field.name().clone());
    Ok(names.filter(|name| !PLACE_COLUMNS.contains(&name.as_str())).collect())
}

/// Hands the rows of a side to `each`, in order, with the columns named.
///
/// # Errors
/// Where a file cannot be read, or what `each` says.
pub fn for_each_row(
    dataset: &Dataset,
    split: Split,
    columns: &[&str],
    mut each: impl FnMut(&RecordBatch, usize) -> Result<(), Error>,
) -> Result<u64, Error> {
    let mut rows = 0;
    for entry in dataset.data_files(split) {
        let file = RowFile::open(&dataset.dir().join(&entry.path))?;
        for batch in file.stream(Some(columns))? {
            let batch = batch?;
            (0..batch.num_rows()).try_for_each(|row| each(&batch, row))?;
            rows += batch.num_rows() as u64;
        }
    }
    Ok(rows)
}

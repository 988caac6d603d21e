//! datatrove and nanotron: `SIDE/00000.ds`, ids as little-endian u16 or u32; `.ds.index`, the cumulative document ends in
//! tokens as u64; `.ds.metadata`, three lines for people: tokenizer and bytes of a token, tokens, tokens in short.

use schemas::manifest::Split;
use shards::dataset::Dataset;
use shards::shard::ShardReader;

use super::output::{Output, Pattern};
use super::source::copy_tokens;
use super::{Error, Request};

pub(super) fn patterns(side: &str) -> Vec<Pattern> {
    [".ds", ".ds.index", ".ds.metadata"].iter().map(|after| Pattern::numbered(&format!("{side}/"), after)).collect()
}

pub(super) fn write(dataset: &Dataset, request: &Request, output: &mut Output) -> Result<(), Error> {
    for side in &request.sides {
        for (number, shard) in dataset.shards(*side).enumerate() {
            write_shard(dataset, *side, number, &shard?, output)?;
        }
    }
    output.note(format!(
        "read with DatatroveFolderDataset(DIR/train, seq_len, token_size={})",
        dataset.manifest().dtype.token_bytes()
    ));
    Ok(())
}

fn write_shard(
    dataset: &Dataset,
    side: Split,
    number: usize,
    shard: &ShardReader,
    output: &mut Output,
) -> Result<(), Error> {
    let name = format!("{}/{number:05}.ds", side.name());
    let mut file = output.create(&name)?;
    copy_tokens(shard, 0, shard.tokens(), |piece| Ok(file.append(piece)?))?;
    output.commit(&name, file)?;

    let index_name = format!("{name}.index");
    let mut index = output.create(&index_name)?;
    for span in shard.spans_from(0) {
        index.append(&span?.token_end().to_le_bytes())?;
    }
    output.commit(&index_name, index)?;

    let tokenizer = format!("sha256:{}", dataset.manifest().tokenizer.hash);
    let tokens = shard.tokens();
    let lines = format!("{tokenizer}|{}\n{tokens}\n{}", shard.dtype().token_bytes(), short_count(tokens));
    output.write(&format!("{name}.metadata"), lines.as_bytes())?;
    output.count(shard.documents(), tokens);
    Ok(())
}

/// Three digits and a metric prefix before T for tokens: `12.3 MT`.
fn short_count(tokens: u64) -> String {
    let mut scaled = tokens as f64;
    let mut prefixes = ["", "k", "M", "G", "T", "P"].iter().peekable();
    while scaled >= 1000.0 && prefixes.len() > 1 {
        scaled /= 1000.0;
        prefixes.next();
    }
    let decimals = if scaled < 10.0 { 2 } else { usize::from(scaled < 100.0) };
    format!("{scaled:.decimals$} {}T", prefixes.peek().unwrap_or(&&""))
}

#[cfg(test)]
mod tests {
    use schemas::dtype::Dtype;

    use super::super::testing::{le_u16, le_u32, sample, sample_ids, to};
    use super::*;
    use crate::export::{Format, export};

    #[test]
    fn the_index_cuts_each_file_into_its_documents() {
        for dtype in [Dtype::U16, Dtype::U32] {
            let (made, out) = sample(dtype);
            export(&made.open(), &to(Format::Datatrove, out.path())).unwrap();
            let mut documents = Vec::new();
            for number in 0..2 {
                let path = out.path().join(format!("train/{number:05}.ds"));
                let bytes = std::fs::read(&path).unwrap();
                let ids = if dtype == Dtype::U16 { le_u16(&bytes) } else { le_u32(&bytes) };
                let index = std::fs::read(path.with_extension("ds.index")).unwrap();
                let mut start = 0;
                for end in index.chunks_exact(8).map(|end| u64::from_le_bytes(end.try_into().unwrap()) as usize) {
                    documents.push(ids[start..end].to_vec());
                    start = end;
                }
                assert_eq!(start, ids.len());
            }
            assert_eq!(documents, sample_ids(Split::Train));
        }
    }

    #[test]
    fn counts_are_shortened_to_three_digits() {
        let shortened: Vec<String> = [0, 42, 999, 1234, 12_345_678, 999_999_999_999].map(short_count).into();
        assert_eq!(shortened, ["0.00 T", "42.0 T", "999 T", "1.23 kT", "12.3 MT", "1000 GT"]);
    }
}

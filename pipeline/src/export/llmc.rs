//! llm.c: a header of 256 little-endian i32 (magic, version, token count, zeros), then the ids, u16 under the magic of
//! its GPT-2 files, u32 under that of its Llama 3 files.
//!
//! The held-out side is numbered first, as llm.c's own scripts do: `NAME_val_000000.bin`, `NAME_train_000001.bin`.
//! Its loader wants every file to hold at least one batch, so a side is cut into files of nearly equal length and
//! none is a small rest; a document may be cut. Its scripts put the end-of-text token before each document; here it
//! stands where the dataset has it, which makes no difference to a stream.

use schemas::dtype::Dtype;
use schemas::manifest::{MANIFEST_FILE, Split};
use shards::commit::AtomicFile;
use shards::dataset::Dataset;

use super::output::Output;
use super::source::copy_tokens;
use super::{Error, Request};

const HEADER_INTS: usize = 256;
/// The header counts tokens as i32.
const SHARD_TOKENS_MAX: u64 = i32::MAX as u64;

pub(super) fn write(dataset: &Dataset, request: &Request, output: &mut Output) -> Result<(), Error> {
    if !(1..=SHARD_TOKENS_MAX).contains(&request.shard_tokens) {
        return Err(Error::DoesNotFit {
            path: dataset.dir().join(MANIFEST_FILE),
            place: "--shard-tokens".into(),
            format: "llm.c",
            expected: format!("1 to {SHARD_TOKENS_MAX} tokens in a file").into(),
            found: request.shard_tokens.to_string().into(),
            hint: "100000000 is what its own scripts use",
        });
    }
    let mut first_number = 0;
    for side in [Split::Val, Split::Train] {
        let tokens = dataset.manifest().splits.get(side).tokens;
        let files = tokens.div_ceil(request.shard_tokens);
        if request.sides.contains(&side) {
            let cut = Cut { name: format!("{}_{}", request.name, side.name()), first_number, files, tokens };
            write_side(dataset, side, &cut, output)?;
            output.count(dataset.manifest().splits.get(side).documents, tokens);
        }
        first_number += files;
    }
    Ok(())
}

/// How a side is cut into files.
struct Cut {
    name: String,
    first_number: u64,
    files: u64,
    tokens: u64,
}

impl Cut {
    /// Where file `number` ends, in tokens from the start of the side: lengths differ by at most one.
    fn end(&self, number: u64) -> u64 {
        let (each, rest) = (self.tokens / self.files, self.tokens % self.files);
        (number + 1) * each + (number + 1).min(rest)
    }

    fn file_name(&self, number: u64) -> String {
        format!("{}_{:06}.bin", self.name, self.first_number + number)
    }
}

fn write_side(dataset: &Dataset, side: Split, cut: &Cut, output: &mut Output) -> Result<(), Error> {
    let (mut number, mut position) = (0, 0);
    let mut open: Option<AtomicFile> = None;
    for shard in dataset.shards(side) {
        let shard = shard?;
        let mut from = 0;
        while from < shard.tokens() {
            let end = cut.end(number);
            let mut file = match open.take() {
                Some(file) => file,
                None => start(output, cut, number, dataset.manifest().dtype, end - position)?,
            };
            let tokens = (end - position).min(shard.tokens() - from);
            copy_tokens(&shard, from, from + tokens, |piece| Ok(file.append(piece)?))?;
            (from, position) = (from + tokens, position + tokens);
            if position == end {
                output.commit(&cut.file_name(number), file)?;
                number += 1;
            } else {
                open = Some(file);
            }
        }
    }
    Ok(())
}

fn start(output: &Output, cut: &Cut, number: u64, dtype: Dtype, tokens: u64) -> Result<AtomicFile, Error> {
    let mut file = output.create(&cut.file_name(number))?;
    file.append(&header(dtype, tokens))?;
    Ok(file)
}

fn header(dtype: Dtype, tokens: u64) -> Vec<u8> {
    let (magic, version) = match dtype {
        Dtype::U16 => (20_240_520_i32, 1_i32),
        Dtype::U32 => (20_240_801, 7),
    };
    let tokens = i32::try_from(tokens).unwrap_or(i32::MAX); // bounded by SHARD_TOKENS_MAX
    let mut header: Vec<u8> = [magic, version, tokens].iter().flat_map(|int| int.to_le_bytes()).collect();
    header.resize(HEADER_INTS * 4, 0);
    header
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::testing::{le_u16, le_u32, sample, sample_ids, to};
    use super::*;
    use crate::export::{Format, export};

    /// Magic, version and ids of a file, checked as llm.c's loader checks it.
    fn read(path: &Path) -> (u32, u32, Vec<u32>) {
        let bytes = std::fs::read(path).unwrap();
        let header = le_u32(&bytes[..1024]);
        assert!(header[3..].iter().all(|int| *int == 0));
        let ids = if header[0] == 20_240_520 { le_u16(&bytes[1024..]) } else { le_u32(&bytes[1024..]) };
        assert_eq!(ids.len(), header[2] as usize);
        (header[0], header[1], ids)
    }

    #[test]
    fn files_are_numbered_from_val_and_nearly_equal() {
        let (made, out) = sample(Dtype::U16);
        let written = export(&made.open(), &Request { shard_tokens: 10, ..to(Format::LlmC, out.path()) }).unwrap();
        let names: Vec<&str> = written.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(
            names,
            ["data_val_000000.bin", "data_train_000001.bin", "data_train_000002.bin", "data_train_000003.bin"]
        );
        let train: Vec<Vec<u32>> = names[1..].iter().map(|name| read(&out.path().join(name)).2).collect();
        assert_eq!(train.iter().map(Vec::len).collect::<Vec<usize>>(), [8, 7, 7]);
        assert_eq!(train.concat(), sample_ids(Split::Train).concat());
        assert_eq!(read(&out.path().join(names[0])), (20_240_520, 1, sample_ids(Split::Val).concat()));
    }

    #[test]
    fn wide_ids_get_the_header_of_llama_3() {
        let (made, out) = sample(Dtype::U32);
        export(&made.open(), &to(Format::LlmC, out.path())).unwrap();
        let (magic, version, ids) = read(&out.path().join("data_train_000001.bin"));
        assert_eq!((magic, version, ids), (20_240_801, 7, sample_ids(Split::Train).concat()));
    }

    #[test]
    fn train_alone_keeps_its_numbers() {
        let (made, out) = sample(Dtype::U16);
        let written =
            export(&made.open(), &Request { sides: vec![Split::Train], ..to(Format::LlmC, out.path()) }).unwrap();
        assert_eq!(written.files[0].path, "data_train_000001.bin");
    }

    #[test]
    fn more_tokens_than_the_header_can_count_are_refused() {
        let (made, out) = sample(Dtype::U16);
        let error =
            export(&made.open(), &Request { shard_tokens: 1 << 31, ..to(Format::LlmC, out.path()) }).unwrap_err();
        assert!(error.to_string().contains("--shard-tokens"), "{error}");
    }
}

//! nanoGPT: `train.bin` and `val.bin`, token ids as little-endian u16 and nothing else.
//!
//! With `--single-file` one `pretrain_data.bin` of the training documents, then the held-out ones: what minimind's
//! pretraining script reads.

use schemas::dtype::Dtype;
use schemas::manifest::{MANIFEST_FILE, Split};
use shards::commit::AtomicFile;
use shards::dataset::Dataset;

use super::output::Output;
use super::source::copy_tokens;
use super::{Error, Request};

/// The one file of `--single-file`.
pub const SINGLE_FILE: &str = "pretrain_data.bin";

pub(super) fn write(dataset: &Dataset, request: &Request, output: &mut Output) -> Result<(), Error> {
    refuse_wide(dataset)?;
    if request.single_file {
        let mut file = output.create(SINGLE_FILE)?;
        request.sides.iter().try_for_each(|side| append_side(dataset, *side, &mut file, output))?;
        return output.commit(SINGLE_FILE, file).map(drop);
    }
    for side in &request.sides {
        let name = format!("{}.bin", side.name());
        let mut file = output.create(&name)?;
        append_side(dataset, *side, &mut file, output)?;
        output.commit(&name, file)?;
    }
    Ok(())
}

fn refuse_wide(dataset: &Dataset) -> Result<(), Error> {
    let found = dataset.manifest().dtype;
    if found == Dtype::U16 {
        return Ok(());
    }
    Err(Error::DoesNotFit {
        path: dataset.dir().join(MANIFEST_FILE),
        place: "dtype".into(),
        format: "nanogpt",
        expected: Dtype::U16.name().into(),
        found: found.name().into(),
        hint: "llm.c, datatrove, mds and litdata take u32",
    })
}

fn append_side(dataset: &Dataset, side: Split, file: &mut AtomicFile, output: &mut Output) -> Result<(), Error> {
    for shard in dataset.shards(side) {
        let shard = shard?;
        copy_tokens(&shard, 0, shard.tokens(), |piece| Ok(file.append(piece)?))?;
        output.count(shard.documents(), shard.tokens());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{le_u16, sample, sample_ids, to};
    use super::*;
    use crate::export::{Format, export};

    #[test]
    fn each_side_is_its_ids_and_nothing_else() {
        let (made, out) = sample(Dtype::U16);
        let written = export(&made.open(), &to(Format::NanoGpt, out.path())).unwrap();
        assert_eq!(le_u16(&std::fs::read(out.path().join("train.bin")).unwrap()), sample_ids(Split::Train).concat());
        assert_eq!(le_u16(&std::fs::read(out.path().join("val.bin")).unwrap()), sample_ids(Split::Val).concat());
        assert_eq!((written.documents, written.files.len()), (5, 2));
    }

    #[test]
    fn a_single_file_holds_train_then_val() {
        let (made, out) = sample(Dtype::U16);
        let request = Request { single_file: true, ..to(Format::NanoGpt, out.path()) };
        export(&made.open(), &request).unwrap();
        let all = [sample_ids(Split::Train), sample_ids(Split::Val)].concat().concat();
        assert_eq!(le_u16(&std::fs::read(out.path().join(SINGLE_FILE)).unwrap()), all);
    }

    #[test]
    fn wide_ids_are_refused() {
        let (made, out) = sample(Dtype::U32);
        let error = export(&made.open(), &to(Format::NanoGpt, out.path())).unwrap_err().to_string();
        assert!(error.contains("takes u16, found u32"), "{error}");
    }
}

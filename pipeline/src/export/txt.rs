//! Plain text: `SIDE.txt`, the documents as they are, a blank line between two.
//!
//! For people and for tools that take running text; a document with blank lines of its own is not told apart from
//! several, so what is to be read back goes through [`super::jsonl`].

use shards::dataset::Dataset;

use super::output::Output;
use super::source::{for_each_row, text_columns};
use super::{Error, Request};
use crate::look::cell;

pub(super) fn write(dataset: &Dataset, request: &Request, output: &mut Output) -> Result<(), Error> {
    text_columns(dataset)?;
    for side in &request.sides {
        let name = format!("{}.txt", side.name());
        let mut file = output.create(&name)?;
        let documents = for_each_row(dataset, *side, &["text"], |batch, row| {
            if file.bytes_written() > 0 {
                file.append(b"\n")?;
            }
            let text = cell::text(batch, row, "text").unwrap_or_default();
            file.append(text.as_bytes())?;
            if !text.ends_with('\n') {
                file.append(b"\n")?;
            }
            Ok(())
        })?;
        output.commit(&name, file)?;
        output.count(documents, 0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::to;
    use crate::export::{Format, export};
    use crate::look::testing::{Doc, dataset};

    #[test]
    fn a_blank_line_stands_between_two_documents() {
        let made = dataset(&[Doc::new("a", "one\ntwo"), Doc::new("b", "three\n"), Doc::new("c", "four")]);
        let out = tempfile::tempdir().unwrap();
        export(&made.open(), &to(Format::Txt, out.path())).unwrap();
        assert_eq!(std::fs::read_to_string(out.path().join("train.txt")).unwrap(), "one\ntwo\n\nthree\n\nfour\n");
    }
}

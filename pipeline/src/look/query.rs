//! How a person names a line or a document: an id, `FILE:LINE`, or `FILE@OFFSET`.

use schemas::manifest::Manifest;

use super::rows::{All, Equals};

/// A line number or a byte offset in an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// From 1.
    Line(u64),
    /// In the decompressed stream, from 0.
    Offset(u64),
}

/// What was asked for. Any text may be an id, so a query that also names a place is looked up both ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    text: String,
    place: Option<Place>,
    sources: Vec<String>,
}

impl Query {
    /// Reads a query against the inputs of a dataset.
    ///
    /// An input may be named by its path in the dataset, by a longer path that ends in it, or by its last parts.
    pub fn parse(text: &str, manifest: &Manifest) -> Query {
        let named = split_number(text, ':').map(|(file, line)| (file, Place::Line(line)));
        let named = named.or_else(|| split_number(text, '@').map(|(file, offset)| (file, Place::Offset(offset))));
        let sources = named.map_or_else(Vec::new, |(file, _)| inputs_called(file, manifest));
        Query { text: text.to_owned(), place: named.map(|(_, place)| place), sources }
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The place it names, if it names one.
    pub fn place(&self) -> Option<Place> {
        self.place
    }

    /// The inputs in which that place may be.
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// The rows it means.
    pub fn alternatives(&self) -> Vec<All> {
        let by_id = vec![Equals::Text("doc_id", self.text.clone())];
        let place = self.place.map(|place| match place {
            Place::Line(line) => Equals::Integer("line", saturating(line)),
            Place::Offset(offset) => Equals::Integer("byte_offset", saturating(offset)),
        });
        let by_place = place.into_iter().flat_map(|place| {
            self.sources.iter().map(move |source| vec![Equals::Text("source", source.clone()), place.clone()])
        });
        std::iter::once(by_id).chain(by_place).collect()
    }
}

fn saturating(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn split_number(text: &str, separator: char) -> Option<(&str, u64)> {
    let (file, number) = text.rsplit_once(separator)?;
    let number = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())??;
    (!file.is_empty()).then_some((file, number))
}

fn inputs_called(file: &str, manifest: &Manifest) -> Vec<String> {
    let paths = || manifest.inputs.iter().map(|input| input.path.as_str());
    if paths().any(|path| path == file) {
        return vec![file.to_owned()];
    }
    let file = file.trim_start_matches("./");
    let ends =
        |long: &str, short: &str| long.strip_suffix(short).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'));
    paths().filter(|path| ends(path, file) || ends(file, path)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::testing::manifest_with_inputs;

    fn parsed(text: &str, inputs: &[&str]) -> (Option<Place>, Vec<String>) {
        let query = Query::parse(text, &manifest_with_inputs(inputs));
        (query.place, query.sources)
    }

    #[test]
    fn a_place_needs_a_file_and_a_number() {
        assert_eq!(parsed("a.jsonl:12", &["a.jsonl"]), (Some(Place::Line(12)), vec!["a.jsonl".to_owned()]));
        assert_eq!(parsed("a.jsonl@0", &["a.jsonl"]), (Some(Place::Offset(0)), vec!["a.jsonl".to_owned()]));
        assert_eq!(parsed("a.jsonl:x", &["a.jsonl"]), (None, vec![]));
        assert_eq!(parsed(":3", &["a.jsonl"]), (None, vec![]));
        assert_eq!(parsed("doc-7", &["a.jsonl"]), (None, vec![]));
    }

    #[test]
    fn a_number_beyond_u64_is_an_id() {
        assert_eq!(parsed("urn:99999999999999999999999", &["urn"]).0, None);
    }

    #[test]
    fn an_input_is_found_by_a_longer_path_and_by_its_name() {
        let inputs = ["en/a.jsonl", "zh/a.jsonl"];
        assert_eq!(parsed("/data/en/a.jsonl:1", &inputs).1, ["en/a.jsonl"]);
        assert_eq!(parsed("a.jsonl:1", &inputs).1, ["en/a.jsonl", "zh/a.jsonl"]);
        assert_eq!(parsed("xa.jsonl:1", &inputs).1, Vec::<String>::new());
    }

    #[test]
    fn every_query_may_be_an_id() {
        let query = Query::parse("a.jsonl:12", &manifest_with_inputs(&["a.jsonl"]));
        assert_eq!(query.alternatives()[0], [Equals::Text("doc_id", "a.jsonl:12".to_owned())]);
        assert_eq!(query.alternatives().len(), 2);
    }
}

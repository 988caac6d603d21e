//! CSV and TSV: rows, which may hold line ends inside quotes, and their cells.
//!
//! RFC 4180 with a header. Own code, because a quote that is never closed must cost its line and not the rest of the
//! file, and a row must stay within `--max-line-bytes`.

use std::collections::HashSet;
use std::sync::Arc;

use memchr::{memchr, memchr2};
use schemas::columns::Kind;
use schemas::rule::InvalidRule;

use super::block::Shape;
use super::charset::Charset;
use super::fault::Fault;
use super::items::{Begin, Finish, Splitter, What};
use super::json;

/// The columns of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    /// Names, made distinct.
    pub names: Vec<String>,
    /// `,` or tab.
    pub delimiter: u8,
}

/// Where in a row a byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    CellStart,
    Plain,
    Quoted,
    /// After a quote inside quotes: the end of the cell, or half of a doubled quote.
    AfterQuote,
}

/// Finds rows.
pub struct CsvSplitter {
    delimiter: u8,
    place: Place,
    has_header: bool,
}

impl CsvSplitter {
    /// For a delimiter.
    pub fn new(delimiter: u8) -> CsvSplitter {
        CsvSplitter { delimiter, place: Place::CellStart, has_header: false }
    }

    /// The place of the line feed that ends the row.
    fn row_end(&mut self, bytes: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            let rest = bytes.get(at..)?;
            let here = *rest.first()?;
            (self.place, at) = match (self.place, here) {
                (Place::Quoted, _) => (Place::AfterQuote, at + memchr(b'"', rest)? + 1),
                (_, b'\n') => return Some(at),
                (Place::CellStart, b'"') => (Place::Quoted, at + 1),
                (Place::AfterQuote, b'"') => (Place::Quoted, at + 1),
                (_, byte) if byte == self.delimiter => (Place::CellStart, at + 1),
                _ => {
                    self.place = Place::Plain;
                    let skipped = memchr2(b'\n', self.delimiter, rest)?;
                    (Place::Plain, at + skipped)
                }
            };
        }
    }

    fn unclosed() -> Fault {
        Fault::new(InvalidRule::CsvSyntax, "expected a closing quote within the row, found none")
    }
}

impl Splitter for CsvSplitter {
    fn begin(&mut self, bytes: &[u8], from: usize, last: bool) -> Begin {
        self.place = Place::CellStart;
        match (from < bytes.len(), last) {
            (true, _) => Begin::At(from),
            (false, false) => Begin::More(from),
            (false, true) => Begin::Nowhere,
        }
    }

    fn end(&mut self, bytes: &[u8], start: usize, from: usize, last: bool) -> Finish {
        let what = if self.has_header { What::Record } else { What::Header };
        let found = self.row_end(bytes, from);
        let (end, next) = match found {
            Some(feed) => (feed, feed + 1),
            None if !last => return Finish::More(bytes.len()),
            None if self.place == Place::Quoted
                && let Some((next, fault)) = self.resync(bytes, start) =>
            {
                return Finish::At { end: next, next, what: What::Fault(fault) };
            }
            None => (bytes.len(), bytes.len()),
        };
        self.has_header = true;
        let carriage = end > start && found.is_some() && bytes.get(end - 1) == Some(&b'\r');
        Finish::At { end: end - usize::from(carriage), next, what }
    }

    fn resync(&mut self, bytes: &[u8], start: usize) -> Option<(usize, Fault)> {
        if self.place != Place::Quoted {
            return None;
        }
        let next = memchr(b'\n', bytes.get(start..)?).map_or(bytes.len(), |feed| start + feed + 1);
        Some((next, CsvSplitter::unclosed()))
    }

    fn header(&mut self, header: &[u8], charset: Charset) -> Option<Shape> {
        let decoded = charset.decode(header).map_or_else(
            |_| String::from_utf8_lossy(header).into_owned(),
            |decoded| String::from_utf8_lossy(&decoded).into_owned(),
        );
        let mut cells = Cells::new(decoded.as_bytes(), self.delimiter);
        let mut names = Vec::new();
        while let Some(Ok(cell)) = cells.next() {
            names.push(String::from_utf8_lossy(cell).into_owned());
        }
        Some(Shape::Csv(Arc::new(Header { names: distinct(names), delimiter: self.delimiter })))
    }
}

/// Names that occur again get a number: `a`, `a_2`.
fn distinct(names: Vec<String>) -> Vec<String> {
    let mut taken: HashSet<String> = HashSet::new();
    let mut number = |name: String| {
        let candidates = std::iter::once(name.clone()).chain((2..).map(|copy| format!("{name}_{copy}")));
        let free = candidates.into_iter().find(|candidate| !taken.contains(candidate)).unwrap_or(name);
        taken.insert(free.clone());
        free
    };
    names.into_iter().map(&mut number).collect()
}

/// The cells of a row, unquoted.
pub struct Cells<'a> {
    row: &'a [u8],
    delimiter: u8,
    at: usize,
    done: bool,
    scratch: Vec<u8>,
}

impl<'a> Cells<'a> {
    /// The cells of a row without its line end.
    pub fn new(row: &'a [u8], delimiter: u8) -> Cells<'a> {
        Cells { row, delimiter, at: 0, done: false, scratch: Vec::new() }
    }

    /// The next cell; None after the last.
    pub fn next(&mut self) -> Option<Result<&[u8], Fault>> {
        if self.done {
            return None;
        }
        if self.row.get(self.at) == Some(&b'"') {
            return Some(self.quoted());
        }
        let rest = self.row.get(self.at..).unwrap_or_default();
        let length = memchr(self.delimiter, rest).unwrap_or(rest.len());
        self.done = length == rest.len();
        self.at += length + 1;
        Some(Ok(rest.get(..length).unwrap_or_default()))
    }

    fn quoted(&mut self) -> Result<&[u8], Fault> {
        self.scratch.clear();
        self.at += 1;
        loop {
            let rest = self.row.get(self.at..).unwrap_or_default();
            let Some(quote) = memchr(b'"', rest) else { return Err(CsvSplitter::unclosed()) };
            self.scratch.extend_from_slice(rest.get(..quote).unwrap_or_default());
            self.at += quote + 1;
            match self.row.get(self.at).copied() {
                Some(b'"') => {
                    self.scratch.push(b'"');
                    self.at += 1;
                }
                Some(byte) if byte != self.delimiter => {
                    let detail =
                        format!("expected a delimiter after the closing quote at byte {}, found other bytes", self.at);
                    return Err(Fault::new(InvalidRule::CsvSyntax, detail));
                }
                next => {
                    self.done = next.is_none();
                    self.at += 1;
                    return Ok(&self.scratch);
                }
            }
        }
    }
}

/// What a cell is: a number or a boolean exactly as JSON has them, null where empty, else a string.
pub fn kind(cell: &[u8]) -> Kind {
    match cell {
        b"" => Kind::Null,
        b"true" | b"false" => Kind::Bool,
        [b'-' | b'0'..=b'9', ..] => json::number_kind(cell).unwrap_or(Kind::String),
        _ => Kind::String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(row: &str) -> Result<Vec<String>, Fault> {
        let mut cells = Cells::new(row.as_bytes(), b',');
        let mut all = Vec::new();
        while let Some(cell) = cells.next() {
            all.push(String::from_utf8(cell?.to_vec()).unwrap());
        }
        Ok(all)
    }

    #[test]
    fn cells_are_unquoted() {
        assert_eq!(cells("a,,\"b,\"\"c\"\"\n\",5\" pipe").unwrap(), ["a", "", "b,\"c\"\n", "5\" pipe"]);
        assert_eq!(cells("").unwrap(), [""]);
        assert_eq!(cells("\"\",").unwrap(), ["", ""]);
    }

    #[test]
    fn damage_behind_and_inside_quotes_is_found() {
        assert_eq!(cells("\"a\"b,c").unwrap_err().rule, InvalidRule::CsvSyntax);
        assert_eq!(cells("\"a").unwrap_err().rule, InvalidRule::CsvSyntax);
    }

    #[test]
    fn a_cell_is_a_number_only_where_json_says_so() {
        let kinds = [b"".as_slice(), b"12", b"1.5", b"007", b"1e400", b"true", b"null", b"-x"].map(kind);
        let expected =
            [Kind::Null, Kind::Int, Kind::Float, Kind::String, Kind::String, Kind::Bool, Kind::String, Kind::String];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn repeated_names_are_numbered() {
        let names = ["a", "b", "a", "a_2", "a"].map(str::to_owned).to_vec();
        assert_eq!(distinct(names), ["a", "b", "a_2", "a_2_2", "a_3"]);
    }
}

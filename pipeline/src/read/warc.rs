//! Common Crawl's WARC and WET: records of `conversion`, `resource` and `response` are documents, the others none.
//!
//! WARC 1.0 and 1.1 (ISO 28500): a header of `Name: value` lines, a blank line, `Content-Length` bytes, two line ends.
//! Where a record does not begin as it must, reading goes on at the next one that does.

use memchr::memmem;
use schemas::rule::InvalidRule;

use super::fault::Fault;
use super::items::{Begin, Finish, Splitter, What};

const VERSION: &[u8] = b"WARC/1.";

/// Longest header that is looked for.
const HEADER_BYTES_MAX: usize = 64 << 10;

/// Finds records by their lengths.
#[derive(Debug, Default)]
pub struct WarcSplitter {
    /// Bytes of the record that have not been looked at, and whether it is a document.
    body: Option<(u64, bool)>,
    /// What was wrong with the beginning of the record; it lasts until the next one that begins as it must.
    lost: Option<&'static str>,
}

/// The header of a record.
pub struct Header<'a> {
    text: &'a str,
    /// Bytes of the header, blank line included.
    pub bytes: usize,
}

impl<'a> Header<'a> {
    /// The header at the start of `bytes`; None where it is not complete or not text.
    pub fn parse(bytes: &'a [u8]) -> Option<Header<'a>> {
        let head = bytes.get(..HEADER_BYTES_MAX).unwrap_or(bytes);
        let (end, skip) = match (memmem::find(head, b"\r\n\r\n"), memmem::find(head, b"\n\n")) {
            (Some(crlf), Some(lf)) if lf < crlf => (lf, 2),
            (Some(crlf), _) => (crlf, 4),
            (None, Some(lf)) => (lf, 2),
            (None, None) => return None,
        };
        let text = std::str::from_utf8(bytes.get(..end)?).ok()?;
        Some(Header { text, bytes: end + skip })
    }

    /// The value of a field, whatever the case of its name.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let fields = self.text.lines().skip(1).filter_map(|line| line.split_once(':'));
        let mut values = fields.filter(|(field, _)| field.trim().eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.trim())
    }

    /// Whether the record holds text of its own.
    fn is_document(&self) -> bool {
        matches!(self.get("WARC-Type"), Some("conversion" | "resource" | "response"))
    }
}

impl Splitter for WarcSplitter {
    fn begin(&mut self, bytes: &[u8], from: usize, last: bool) -> Begin {
        (self.body, self.lost) = (None, None);
        let rest = bytes.get(from..).unwrap_or_default();
        match rest.iter().position(|byte| !matches!(byte, b'\r' | b'\n')) {
            Some(skipped) => Begin::At(from + skipped),
            None if last => Begin::Nowhere,
            None => Begin::More(bytes.len()),
        }
    }

    fn end(&mut self, bytes: &[u8], start: usize, from: usize, last: bool) -> Finish {
        if let Some(expected) = self.lost {
            return find_next(bytes, from, last, expected);
        }
        let (rest, document) = match self.body.map_or_else(|| measure(bytes, start, last), Ok) {
            Ok(body) => body,
            Err(Unmeasured::NeedsMore) => return Finish::More(start),
            Err(Unmeasured::Broken(expected)) => {
                self.lost = Some(expected);
                return find_next(bytes, start + 1, last, expected);
            }
        };
        let here = if self.body.is_some() { from } else { start };
        let available = (bytes.len() - here) as u64;
        if available >= rest {
            let end = here + rest as usize;
            let what = if document { What::Record } else { What::Skip };
            return Finish::At { end, next: end, what };
        }
        if last {
            let detail = format!("expected {} more bytes by Content-Length, found end of file", rest - available);
            let what = What::Fault(Fault::new(InvalidRule::WarcSyntax, detail));
            return Finish::At { end: bytes.len(), next: bytes.len(), what };
        }
        self.body = Some((rest - available, document));
        Finish::More(bytes.len())
    }
}

/// Why the length of a record is not known.
enum Unmeasured {
    NeedsMore,
    Broken(&'static str),
}

/// Length of the record from `start`, and whether it is a document.
fn measure(bytes: &[u8], start: usize, last: bool) -> Result<(u64, bool), Unmeasured> {
    let record = bytes.get(start..).unwrap_or_default();
    let header = Header::parse(record);
    if !last && header.is_none() && record.len() < HEADER_BYTES_MAX {
        return Err(Unmeasured::NeedsMore);
    }
    if !record.starts_with(VERSION) {
        return Err(Unmeasured::Broken("a record that begins with WARC/1."));
    }
    let header = header.ok_or(Unmeasured::Broken("a header that ends with a blank line"))?;
    let length = header.get("Content-Length").and_then(|length| length.parse::<u64>().ok());
    let length = length.ok_or(Unmeasured::Broken("a Content-Length"))?;
    Ok((length.saturating_add(header.bytes as u64), header.is_document()))
}

/// Ends a broken record where another seems to begin.
fn find_next(bytes: &[u8], from: usize, last: bool, expected: &str) -> Finish {
    let from = from.saturating_sub(1);
    let end = match memmem::find(bytes.get(from..).unwrap_or_default(), b"\nWARC/1.") {
        Some(place) => from + place + 1,
        None if last => bytes.len(),
        None => return Finish::More(bytes.len().saturating_sub(VERSION.len()).max(from + 1)),
    };
    let fault = Fault::new(InvalidRule::WarcSyntax, format!("expected {expected}, found other bytes"));
    Finish::At { end, next: end, what: What::Fault(fault) }
}

/// A WARC record as a document: its fields, and the bytes of its text.
pub struct Record<'a> {
    /// `url`, `date`, `record_id`, `content_type`, `languages`, where the header has them.
    pub fields: Vec<(&'static str, &'a str)>,
    /// The content: for a response, that of the HTTP message.
    pub content: &'a [u8],
    /// The charset that the HTTP message names.
    pub charset: Option<&'static encoding_rs::Encoding>,
}

/// Takes a record apart.
pub fn record(bytes: &[u8]) -> Result<Record<'_>, Fault> {
    let missing = || Fault::new(InvalidRule::WarcSyntax, "expected a header that ends with a blank line, found none");
    let header = Header::parse(bytes).ok_or_else(missing)?;
    let names = [
        ("url", "WARC-Target-URI"),
        ("date", "WARC-Date"),
        ("record_id", "WARC-Record-ID"),
        ("content_type", "Content-Type"),
        ("languages", "WARC-Identified-Content-Language"),
    ];
    let fields = names.iter().filter_map(|(column, name)| Some((*column, header.get(name)?))).collect();
    let content = bytes.get(header.bytes..).unwrap_or_default();
    if header.get("WARC-Type") != Some("response") {
        return Ok(Record { fields, content, charset: None });
    }
    let http = Header::parse(content).ok_or_else(missing)?;
    let kind = http.get("Content-Type").unwrap_or_default().to_ascii_lowercase();
    let label = kind.split_once("charset=").map(|(_, label)| label.trim_matches(['"', ' ', ';']).to_owned());
    let charset = label.and_then(|label| encoding_rs::Encoding::for_label(label.as_bytes()));
    Ok(Record { fields, content: content.get(http.bytes..).unwrap_or_default(), charset })
}

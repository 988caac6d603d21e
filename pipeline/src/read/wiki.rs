//! MediaWiki XML dumps: a `<page>` is a document, with its wikitext as text.
//!
//! Pages are found by their tags, which escaped text cannot contain, so a damaged page costs that page. Redirects and
//! pages outside the main namespace are documents too; their columns `redirect` and `ns` are there to filter by.

use memchr::memmem;
use quick_xml::events::{BytesRef, Event};
use quick_xml::{Reader, XmlVersion};
use schemas::columns::Kind;
use schemas::rule::InvalidRule;

use super::fault::Fault;
use super::items::{Begin, Finish, Splitter, What};

const OPEN: &[u8] = b"<page>";
const CLOSE: &[u8] = b"</page>";

/// Finds pages.
#[derive(Debug, Default)]
pub struct PageSplitter;

impl Splitter for PageSplitter {
    fn begin(&mut self, bytes: &[u8], from: usize, last: bool) -> Begin {
        match memmem::find(bytes.get(from..).unwrap_or_default(), OPEN) {
            Some(place) => Begin::At(from + place),
            None if last => Begin::Nowhere,
            // A tag may be cut in two.
            None => Begin::More(bytes.len().saturating_sub(OPEN.len() - 1).max(from)),
        }
    }

    fn end(&mut self, bytes: &[u8], start: usize, from: usize, last: bool) -> Finish {
        if let Some(place) = memmem::find(bytes.get(from..).unwrap_or_default(), CLOSE) {
            let end = from + place + CLOSE.len();
            return Finish::At { end, next: end, what: What::Record };
        }
        if !last {
            return Finish::More(bytes.len().saturating_sub(CLOSE.len() - 1).max(start).max(from));
        }
        let fault = Fault::new(InvalidRule::XmlSyntax, "expected </page>, found end of file");
        Finish::At { end: bytes.len(), next: bytes.len(), what: What::Fault(fault) }
    }
}

/// A page: its fields in the order of the dump's schema, and its text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// `title`, `ns`, `id`, `redirect`, `timestamp`.
    pub fields: Vec<(&'static str, Kind, String)>,
    /// Wikitext of the revision; None where it was deleted or is absent.
    pub text: Option<String>,
}

/// Takes a page apart.
pub fn page(xml: &str) -> Result<Page, Fault> {
    let mut reader = Reader::from_str(xml);
    let mut page = Page::default();
    let mut path: Vec<String> = Vec::new();
    let mut content = String::new();
    loop {
        match reader.read_event().map_err(|error| xml_fault(&error.to_string()))? {
            Event::Start(tag) => {
                path.push(tag.local_name().as_ref().to_owned());
                content.clear();
            }
            Event::Empty(tag) if path == ["page"] && tag.local_name().as_ref() == "redirect" => {
                let title = tag.try_get_attribute("title").map_err(|error| xml_fault(&error.to_string()))?;
                let title = title.map(|title| title.normalized_value(XmlVersion::Implicit1_0)).transpose();
                let title = title.map_err(|error| xml_fault(&error.to_string()))?.unwrap_or_default();
                page.fields.push(("redirect", Kind::String, title.into_owned()));
            }
            Event::Empty(tag) if tag.local_name().as_ref() == "text" => page.text = page.text.or(Some(String::new())),
            Event::Text(text) => content.push_str(&text.xml10_content()),
            Event::CData(text) => content.push_str(&text),
            Event::GeneralRef(reference) => content.push(character(&reference)?),
            Event::End(_) => {
                page.take(&path, std::mem::take(&mut content));
                path.pop();
            }
            Event::Eof if path.is_empty() => return Ok(page),
            Event::Eof => return Err(xml_fault("expected the end of every element, found the end of the page")),
            _ => {}
        }
    }
}

impl Page {
    /// Takes the content of an element that ends.
    fn take(&mut self, path: &[String], content: String) {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["page", "title"] => self.fields.push(("title", Kind::String, content)),
            ["page", "ns"] => self.fields.push(("ns", integer(&content), content)),
            ["page", "id"] => self.fields.push(("id", integer(&content), content)),
            ["page", "revision", "timestamp"] => self.fields.push(("timestamp", Kind::String, content)),
            ["page", "revision", "text"] => self.text = Some(content),
            _ => {}
        }
    }
}

fn integer(content: &str) -> Kind {
    super::json::number_kind(content.as_bytes()).unwrap_or(Kind::String)
}

fn character(reference: &BytesRef<'_>) -> Result<char, Fault> {
    let named = match reference.as_ref() {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => reference.resolve_char_ref().map_err(|error| xml_fault(&error.to_string()))?,
    };
    named.ok_or_else(|| xml_fault(&format!("expected a known entity, found &{};", reference.as_ref())))
}

#[cold]
fn xml_fault(detail: &str) -> Fault {
    Fault::new(InvalidRule::XmlSyntax, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "<page><title>A &amp; B</title><ns>0</ns><id>12</id><redirect title=\"C &lt;\" /><revision><id>9</id>\
        <timestamp>2026-01-02T03:04:05Z</timestamp><text xml:space=\"preserve\">x &lt;ref&gt; &#20320;\n</text></revision></page>";

    #[test]
    fn a_page_is_taken_apart() {
        let page = page(PAGE).unwrap();
        let fields: Vec<_> = page.fields.iter().map(|(name, _, value)| (*name, value.as_str())).collect();
        let expected =
            [("title", "A & B"), ("ns", "0"), ("id", "12"), ("redirect", "C <"), ("timestamp", "2026-01-02T03:04:05Z")];
        assert_eq!(fields, expected);
        assert_eq!(page.text.as_deref(), Some("x <ref> 你\n"));
    }

    #[test]
    fn damaged_pages_are_told() {
        for damaged in ["<page><title>A</page>", "<page><title>&nope;</title></page>", "<page><title>A</title>"] {
            assert_eq!(page(damaged).unwrap_err().rule, InvalidRule::XmlSyntax, "{damaged}");
        }
    }
}

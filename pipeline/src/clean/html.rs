//! Step `html`: HTML becomes the text that a browser shows.
//!
//! Only the names of HTML elements make a tag, so `List<String>` and `a < b` stay. Entities are decoded through any
//! depth of `&amp;`; one that would make a tag (`&lt;br&gt;`) stays, because what was decoded once must not be taken
//! for a tag the next time. Scripts and styles go whole, block elements become line ends.
//!
//! Linear: what is looked for once and not found (the end of a comment, of a script, of a tag) is not looked for again.

use memchr::memmem;

use super::edit::{Edit, Edited};
use super::profile::Profile;

/// Whether the step may change a text with these bytes.
pub fn applies(profile: &Profile) -> bool {
    profile.has_any(b"<&")
}

/// Takes the step.
pub fn clean(text: &str) -> Edited<'_> {
    let mut html = Html { text, edit: Edit::new(text), ends: Ends::default() };
    let mut at = 0;
    while let Some(step) = text.as_bytes().get(at..).and_then(|rest| memchr::memchr2(b'<', b'&', rest)) {
        at += step;
        at = html.take(at).unwrap_or(at + 1);
    }
    html.edit.finish()
}

/// What is known not to come any more.
#[derive(Default)]
struct Ends {
    no_comment: bool,
    no_tag: bool,
    no_element: Vec<&'static str>,
}

struct Html<'a> {
    text: &'a str,
    edit: Edit<'a>,
    ends: Ends,
}

impl Html<'_> {
    /// Takes what begins at a byte; returns where to go on, None where it is plain text.
    fn take(&mut self, at: usize) -> Option<usize> {
        let rest = self.text.get(at..)?;
        if rest.starts_with('&') {
            return self.entity(at);
        }
        if rest.starts_with("<!--") {
            return self.comment(at);
        }
        self.tag(at)
    }

    fn entity(&mut self, at: usize) -> Option<usize> {
        let (decoded, end) = decode(self.text, at)?;
        if decoded.starts_with('<') && begins_tag(self.text.get(end..)?) {
            self.edit.replace(at..end, "&lt;");
        } else {
            self.edit.replace(at..end, &decoded);
        }
        Some(end)
    }

    fn comment(&mut self, at: usize) -> Option<usize> {
        if self.ends.no_comment {
            return None;
        }
        let Some(length) = memmem::find(self.text.as_bytes().get(at + 4..)?, b"-->") else {
            self.ends.no_comment = true;
            return None;
        };
        let end = at + 4 + length + 3;
        self.edit.remove(at..end);
        Some(end)
    }

    fn tag(&mut self, at: usize) -> Option<usize> {
        let rest = self.text.get(at + 1..)?;
        let closes = rest.starts_with('/');
        let name = element_at(rest.strip_prefix('/').unwrap_or(rest))?;
        if self.ends.no_tag {
            return None;
        }
        let end = match tag_end(self.text, at + 1 + usize::from(closes) + name.len()) {
            TagEnd::At(end) => end,
            TagEnd::Never => {
                self.ends.no_tag = true;
                return None;
            }
            TagEnd::NoTag => return None,
        };
        if !closes && RAW.contains(&name) {
            let end = self.raw_end(name, end);
            self.edit.replace(at..end, "\n");
            return Some(end);
        }
        let with = match () {
            () if BLOCK.binary_search(&name).is_ok() => "\n",
            () if CELL.contains(&name) => " ",
            () => "",
        };
        self.edit.replace(at..end, with);
        Some(end)
    }

    /// Where the content of a script or style ends, closing tag included; the end of its tag where it never does.
    fn raw_end(&mut self, name: &'static str, from: usize) -> usize {
        if self.ends.no_element.contains(&name) {
            return from;
        }
        let mut at = from;
        while let Some(step) = self.text.as_bytes().get(at..).and_then(|rest| memmem::find(rest, b"</")) {
            at += step + 2;
            let closes = self.text.get(at..).and_then(element_at) == Some(name);
            if let (true, TagEnd::At(end)) = (closes, tag_end(self.text, at + name.len())) {
                return end;
            }
        }
        self.ends.no_element.push(name);
        from
    }
}

enum TagEnd {
    /// One past its `>`.
    At(usize),
    /// The text ends first.
    Never,
    /// Another `<` comes first: this was none.
    NoTag,
}

/// The end of a tag whose attributes begin at a byte. A quote counts only after `=`.
fn tag_end(text: &str, from: usize) -> TagEnd {
    let bytes = text.as_bytes();
    let mut at = from;
    let mut after_equals = false;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'>' => return TagEnd::At(at),
            b'<' => return TagEnd::NoTag,
            b'"' | b'\'' if after_equals => match bytes.get(at..).and_then(|rest| memchr::memchr(byte, rest)) {
                Some(length) => at += length + 1,
                None => return TagEnd::Never,
            },
            _ => {}
        }
        after_equals = byte == b'=' || (after_equals && byte.is_ascii_whitespace());
    }
    TagEnd::Never
}

/// The name of the HTML element that a tag's text begins with.
fn element_at(rest: &str) -> Option<&'static str> {
    let length = element_bytes(rest);
    let ends = matches!(rest.as_bytes().get(length), Some(b'>' | b'/' | b' ' | b'\t' | b'\n' | b'\r' | 0xc));
    element_named(rest.get(..length)?).filter(|_| ends)
}

/// Bytes of the name a tag's text begins with, or one more than any element has.
fn element_bytes(rest: &str) -> usize {
    rest.bytes().take(ELEMENT_BYTES_MAX + 1).take_while(u8::is_ascii_alphanumeric).count()
}

fn element_named(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    let found = ELEMENTS.binary_search(&lower.as_str()).ok()?;
    ELEMENTS.get(found).copied()
}

/// Whether what stands behind a `<` would make it a tag, once the entity that may end its name is decoded.
fn begins_tag(rest: &str) -> bool {
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let name = rest.get(..element_bytes(rest)).unwrap_or_default();
    let before_entity = rest.as_bytes().get(name.len()) == Some(&b'&') && element_named(name).is_some();
    rest.starts_with("!--") || before_entity || element_at(rest).is_some()
}

/// Decodes the entity at a byte, through any number of `amp;`; returns its text and end.
fn decode(text: &str, at: usize) -> Option<(String, usize)> {
    let mut name_at = at + 1;
    let mut last = None;
    loop {
        let Some((decoded, end)) = named(text, name_at) else { return last };
        let is_ampersand = decoded == "&";
        last = Some((decoded, end));
        if !is_ampersand {
            return last;
        }
        name_at = end;
    }
}

/// The character of `NAME;` or `#N;` at a byte, and where it ends.
fn named(text: &str, at: usize) -> Option<(String, usize)> {
    let rest = text.as_bytes().get(at..)?;
    let length = memchr::memchr(b';', rest.get(..rest.len().min(ENTITY_BYTES_MAX))?)?;
    let name = text.get(at..at + length)?;
    let decoded = match name.strip_prefix('#') {
        Some(number) => numbered(number)?.to_string(),
        None => quick_xml::escape::resolve_html5_entity(name)?.to_owned(),
    };
    Some((decoded.replace('\u{a0}', " "), at + length + 1))
}

fn numbered(number: &str) -> Option<char> {
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).ok()?,
        None => number.parse().ok()?,
    };
    let is_control = code < 0x20 && !matches!(code, 9 | 10 | 13);
    match u8::try_from(code) {
        // HTML reads these as Windows-1252.
        Ok(byte @ 0x80..=0x9f) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(&[byte]).0.chars().next(),
        _ => char::from_u32(code).filter(|_| !is_control),
    }
}

/// The longest name of an entity has 31 letters.
const ENTITY_BYTES_MAX: usize = 33;
const ELEMENT_BYTES_MAX: usize = 10;

/// Elements whose content is not text.
const RAW: [&str; 4] = ["iframe", "script", "style", "svg"];
const CELL: [&str; 2] = ["td", "th"];

/// Elements that stand on lines of their own, sorted.
const BLOCK: [&str; 43] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "br",
    "caption",
    "center",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hr",
    "html",
    "legend",
    "li",
    "main",
    "nav",
    "ol",
    "option",
    "p",
    "pre",
    "section",
    "select",
    "summary",
    "table",
    "title",
    "tr",
    "ul",
];

/// The elements of HTML, sorted; `tag-name` and other words in angle brackets are text.
const ELEMENTS: [&str; 103] = [
    "a",
    "abbr",
    "address",
    "area",
    "article",
    "aside",
    "audio",
    "b",
    "base",
    "bdi",
    "bdo",
    "big",
    "blockquote",
    "body",
    "br",
    "button",
    "canvas",
    "caption",
    "center",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "del",
    "details",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "embed",
    "fieldset",
    "figcaption",
    "figure",
    "font",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hr",
    "html",
    "i",
    "iframe",
    "img",
    "input",
    "ins",
    "kbd",
    "label",
    "legend",
    "li",
    "link",
    "main",
    "mark",
    "meta",
    "nav",
    "nobr",
    "noscript",
    "object",
    "ol",
    "option",
    "p",
    "param",
    "picture",
    "pre",
    "q",
    "rp",
    "rt",
    "ruby",
    "s",
    "samp",
    "script",
    "section",
    "select",
    "small",
    "source",
    "span",
    "strike",
    "strong",
    "style",
    "sub",
    "summary",
    "sup",
    "svg",
    "table",
    "tbody",
    "td",
    "textarea",
    "tfoot",
    "th",
    "thead",
    "title",
    "tr",
    "tt",
    "u",
    "ul",
    "video",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted() {
        assert!(ELEMENTS.is_sorted() && BLOCK.is_sorted());
        assert!(BLOCK.iter().chain(&RAW).chain(&CELL).all(|name| ELEMENTS.contains(name)));
        assert!(ELEMENTS.iter().all(|name| name.len() <= ELEMENT_BYTES_MAX));
    }

    #[test]
    fn a_page_becomes_its_text() {
        let page = "<html><head><style>p{a:b}</style><SCRIPT>if (a<b) {x(\"</p>\")}</SCRIPT></head>\
                    <p class='a>b'>One &amp; two&nbsp;&copy;</p><!-- <p>gone</p> --><td>3</td></html>";
        let text = clean(page).text.into_owned();
        assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["One", "&", "two", "©", "3"]);
    }

    #[test]
    fn what_is_no_element_stays() {
        for text in ["a < b > c", "Vec<String>", "<EMAIL>", "x <- y", "AT&T; R&D", "<p and no end", "&#1;", "<!-- open"]
        {
            assert_eq!(clean(text), Edited::same(text));
        }
    }

    #[test]
    fn entities_are_decoded_through_any_depth() {
        assert_eq!(clean("&amp;amp;amp;quot;x&amp;quot;").text, "\"x\"");
        assert_eq!(clean("5 &lt; 6 &#x4e2d;&#20013;&#150;").text, "5 < 6 中中–");
        assert_eq!(clean("&amp;lt;br&gt;").text, "&lt;br>");
        assert_eq!(clean("&lt;br>"), Edited::same("&lt;br>"));
    }
}

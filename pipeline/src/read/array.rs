//! A `.json` file that is one array: its elements are the records.

use memchr::memchr3_iter;
use schemas::rule::InvalidRule;

use super::fault::Fault;
use super::items::{Begin, Finish, Splitter, What};

/// Finds the elements of an array.
///
/// A line feed inside a string is not JSON, so the string is taken to end there, and the element with it: an element
/// that lost its closing quote costs itself, not the rest of the file.
#[derive(Debug, Default)]
pub struct ArraySplitter {
    place: Place,
    depth: u64,
    in_string: bool,
    escaped: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    BeforeArray,
    /// An element or the end of the array may follow.
    AfterOpening,
    /// A comma or the end of the array must follow.
    AfterElement,
    /// An element must follow.
    AfterComma,
    /// An element whose string broke off: what follows may be anything.
    AfterBroken,
    AfterArray,
    Done,
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

impl Splitter for ArraySplitter {
    fn begin(&mut self, bytes: &[u8], from: usize, last: bool) -> Begin {
        let mut at = from;
        while let Some(byte) = bytes.get(at).copied() {
            match (self.place, byte) {
                (_, byte) if is_space(byte) => {}
                (Place::BeforeArray, b'[') => self.place = Place::AfterOpening,
                (Place::AfterElement | Place::AfterBroken, b',') => self.place = Place::AfterComma,
                (Place::AfterOpening | Place::AfterElement | Place::AfterBroken, b']') => {
                    self.place = Place::AfterArray
                }
                (Place::Done, _) => return Begin::Nowhere,
                _ => {
                    (self.depth, self.in_string, self.escaped) = (0, false, false);
                    return Begin::At(at);
                }
            }
            at += 1;
        }
        match self.place {
            _ if !last => Begin::More(at),
            Place::AfterArray | Place::BeforeArray | Place::Done => Begin::Nowhere,
            // The array is not closed.
            _ => Begin::At(at),
        }
    }

    fn end(&mut self, bytes: &[u8], start: usize, from: usize, last: bool) -> Finish {
        if matches!(self.place, Place::AfterArray | Place::BeforeArray) {
            return self.garbage(bytes, start, last);
        }
        if last && start == bytes.len() {
            self.place = Place::Done;
            let fault = Fault::new(InvalidRule::JsonSyntax, "expected ']' at the end of the array, found end of file");
            return Finish::At { end: start, next: start, what: What::Fault(fault) };
        }
        let mut at = from;
        while let Some(byte) = bytes.get(at).copied() {
            if self.in_string {
                at = self.string(bytes, at);
                if self.in_string {
                    continue;
                }
                if bytes.get(at) == Some(&b'\n') {
                    self.place = Place::AfterBroken;
                    return Finish::At { end: at, next: at + 1, what: What::Record };
                }
            } else {
                match byte {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b',' | b']' if self.depth == 0 => {
                        self.place = Place::AfterElement;
                        return Finish::At { end: at, next: at, what: What::Record };
                    }
                    b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
            }
            at += 1;
        }
        if !last {
            return Finish::More(at);
        }
        // An element that was cut off is the damage; one that is whole still lacks its bracket.
        let whole = self.depth == 0 && !self.in_string;
        self.place = if whole { Place::AfterElement } else { Place::Done };
        Finish::At { end: at, next: at, what: What::Record }
    }
}

impl ArraySplitter {
    /// Goes on in a string: returns the place of its end, quote or line feed, with `in_string` false; or the end of
    /// the bytes.
    fn string(&mut self, bytes: &[u8], from: usize) -> usize {
        let mut from = from;
        if std::mem::take(&mut self.escaped) && bytes.get(from) != Some(&b'\n') {
            from += 1;
        }
        let rest = bytes.get(from..).unwrap_or_default();
        let mut skipped = None;
        for place in memchr3_iter(b'"', b'\\', b'\n', rest) {
            if skipped == Some(place) {
                continue;
            }
            if rest.get(place) == Some(&b'\\') {
                if rest.get(place + 1).is_none() {
                    self.escaped = true;
                } else if rest.get(place + 1) != Some(&b'\n') {
                    skipped = Some(place + 1);
                }
                continue;
            }
            self.in_string = false;
            return from + place;
        }
        from + rest.len()
    }

    /// What stands outside the array.
    fn garbage(&mut self, bytes: &[u8], start: usize, last: bool) -> Finish {
        if !last && bytes.len() - start < 64 {
            return Finish::More(bytes.len());
        }
        let what = if self.place == Place::BeforeArray {
            "'[' at the start of the file"
        } else {
            "the end of the file after ']'"
        };
        self.place = Place::Done;
        let fault = Fault::new(InvalidRule::JsonSyntax, format!("expected {what}, found other bytes"));
        Finish::At { end: bytes.len(), next: bytes.len(), what: What::Fault(fault) }
    }
}

//! A text file that is one document.

use super::items::{Begin, Finish, Splitter, What};

/// Takes all bytes as one record.
#[derive(Debug, Default)]
pub struct WholeFile;

impl Splitter for WholeFile {
    fn begin(&mut self, bytes: &[u8], from: usize, last: bool) -> Begin {
        match (from < bytes.len(), last) {
            (true, _) => Begin::At(from),
            (false, false) => Begin::More(from),
            (false, true) => Begin::Nowhere,
        }
    }

    fn end(&mut self, bytes: &[u8], _start: usize, _from: usize, last: bool) -> Finish {
        if last {
            Finish::At { end: bytes.len(), next: bytes.len(), what: What::Record }
        } else {
            Finish::More(bytes.len())
        }
    }
}

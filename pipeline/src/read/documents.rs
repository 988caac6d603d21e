//! From one record's bytes to a document or a reason why it is none.

use std::borrow::Cow;

use schemas::columns::Kind;
use schemas::rule::InvalidRule;

use super::block::Shape;
use super::charset::Charset;
use super::csv::{self, Cells, Header};
use super::fault::Fault;
use super::json::{Parser, Text};
use super::options::Options;
use super::{warc, wiki};
use crate::record::{Document, Position, Records, Span};

/// Name under which a template finds the text of formats that have a place for it.
const TEXT_FIELD: &str = "text";

/// Makes the records of one block.
pub struct Documents<'o> {
    options: &'o Options,
    charset: Charset,
    /// The whole block has been validated.
    known_utf8: bool,
    shape: Shape,
    parser: Parser<'o>,
    records: Records,
}

/// How far the records had come before a line, to take back what a damaged one added.
struct Mark {
    arena: usize,
    fields: usize,
    names: usize,
}

impl<'o> Documents<'o> {
    /// Begins a block of `bytes` bytes.
    pub fn new(options: &'o Options, charset: Charset, known_utf8: bool, shape: Shape, bytes: usize) -> Self {
        let records = Records { arena: Vec::with_capacity(bytes), ..Records::default() };
        Documents { options, charset, known_utf8, shape, parser: Parser::new(options), records }
    }

    /// Takes the record at a span of the block.
    #[inline]
    pub fn record(&mut self, block: &[u8], span: Span, position: Position) {
        let bytes = block.get(span.start as usize..span.end as usize).unwrap_or_default();
        self.records.lines += 1;
        let mark = Mark {
            arena: self.records.arena.len(),
            fields: self.records.fields.len(),
            names: self.records.names.len(),
        };
        match self.parse(bytes, mark.fields) {
            Ok(Some(text)) => {
                let (first_field, last_field) = (mark.fields as u32, self.records.fields.len() as u32);
                self.records.documents.push(Document { position, text, first_field, last_field, raw: span });
            }
            Ok(None) => self.records.blank += 1,
            Err(fault) => {
                self.take_back(&mark);
                self.records.invalid.push(fault.into_invalid(position, bytes));
            }
        }
    }

    fn take_back(&mut self, mark: &Mark) {
        self.records.arena.truncate(mark.arena);
        self.records.fields.truncate(mark.fields);
        self.parser.forget(&mut self.records.names, mark.names);
    }

    /// The text of a record; None where it is blank.
    #[inline]
    fn parse(&mut self, bytes: &[u8], first_field: usize) -> Result<Option<Span>, Fault> {
        if bytes.len() > self.options.line_bytes_max {
            let detail = format!("expected at most {} bytes, found {}", self.options.line_bytes_max, bytes.len());
            return Err(Fault::new(InvalidRule::LineTooLong, detail));
        }
        if matches!(self.shape, Shape::Warc) {
            return self.warc(bytes, first_field).map(Some);
        }
        if self.known_utf8 {
            return self.decoded(bytes, first_field);
        }
        let line = self.charset.decode(bytes)?;
        self.decoded(&line, first_field)
    }

    #[inline]
    fn decoded(&mut self, line: &[u8], first_field: usize) -> Result<Option<Span>, Fault> {
        let blank = line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        if blank && !matches!(self.shape, Shape::Element) {
            return Ok(None);
        }
        let text = match &self.shape {
            Shape::Json | Shape::Element => self.json(line, first_field)?,
            Shape::Text | Shape::Warc => self.text(Some(line), 0, first_field)?,
            Shape::Csv(header) => self.row(&header.clone(), line, first_field)?,
            Shape::Page => self.page(line, first_field)?,
        };
        Ok(Some(text))
    }

    /// The text of a document whose format has a place for it: `fields` other fields have been pushed.
    fn text(&mut self, text: Option<&[u8]>, fields: usize, first_field: usize) -> Result<Span, Fault> {
        let Some(template) = &self.options.template else {
            let missing = || Fault::new(InvalidRule::TextMissing, "the record has no text");
            return text.ok_or_else(missing).map(|text| self.records.push_bytes(text));
        };
        if let Some(text) = text {
            self.parser.field(fields, TEXT_FIELD, Kind::String, text, &mut self.records);
        }
        template.render(&mut self.records, first_field, self.options.line_bytes_max)
    }

    fn row(&mut self, header: &Header, line: &[u8], first_field: usize) -> Result<Span, Fault> {
        let mut cells = Cells::new(line, header.delimiter);
        let mut text = None;
        let mut place = 0;
        for (found, name) in header.names.iter().enumerate() {
            let cell = cells.next().ok_or_else(|| wrong_width(header.names.len(), found))??;
            if self.options.template.is_none() && *name == self.options.text_column {
                text = Some(self.records.push_bytes(cell));
            } else {
                self.parser.field(place, name, csv::kind(cell), cell, &mut self.records);
                place += 1;
            }
        }
        if cells.next().is_some() {
            return Err(wrong_width(header.names.len(), header.names.len() + 1));
        }
        match (&self.options.template, text) {
            (Some(template), _) => template.render(&mut self.records, first_field, self.options.line_bytes_max),
            (None, Some(text)) => Ok(text),
            (None, None) => Err(text_fault(&self.options.text_column, Text::Absent)),
        }
    }

    fn warc(&mut self, bytes: &[u8], first_field: usize) -> Result<Span, Fault> {
        let record = warc::record(bytes)?;
        for (place, (name, value)) in record.fields.iter().enumerate() {
            self.parser.field(place, name, Kind::String, value.as_bytes(), &mut self.records);
        }
        let undecodable =
            || Fault::new(InvalidRule::BadUtf8, "expected the charset that the record names, found other bytes");
        let text = match record.charset {
            Some(charset) => {
                let text = charset.decode_without_bom_handling_and_without_replacement(record.content);
                Cow::Owned(text.ok_or_else(undecodable)?.into_owned().into_bytes())
            }
            None => Charset::Utf8.decode(record.content)?,
        };
        self.text(Some(&text), record.fields.len(), first_field)
    }

    fn page(&mut self, line: &[u8], first_field: usize) -> Result<Span, Fault> {
        let page = wiki::page(std::str::from_utf8(line).unwrap_or_default())?;
        for (place, (name, kind, value)) in page.fields.iter().enumerate() {
            self.parser.field(place, name, *kind, value.as_bytes(), &mut self.records);
        }
        self.text(page.text.as_deref().map(str::as_bytes), page.fields.len(), first_field)
    }

    #[inline]
    fn json(&mut self, line: &[u8], first_field: usize) -> Result<Span, Fault> {
        let text = self.parser.object(line, &mut self.records)?;
        if let Some(template) = &self.options.template {
            return template.render(&mut self.records, first_field, self.options.line_bytes_max);
        }
        match text {
            Text::String(span) => Ok(span),
            other => Err(text_fault(&self.options.text_column, other)),
        }
    }

    /// The records of the block, which keep its bytes.
    pub fn finish(mut self, block: Vec<u8>) -> Records {
        self.records.source = block;
        self.records
    }
}

#[cold]
fn wrong_width(expected: usize, found: usize) -> Fault {
    let more = if found > expected { " or more" } else { "" };
    Fault::new(InvalidRule::CsvSyntax, format!("expected {expected} cells, found {found}{more}"))
}

#[cold]
fn text_fault(column: &str, text: Text) -> Fault {
    let found = match text {
        Text::Absent => return Fault::new(InvalidRule::TextMissing, format!("column {column} is absent")),
        Text::Other(Kind::Null) => return Fault::new(InvalidRule::TextMissing, format!("column {column} is null")),
        Text::Other(Kind::Bool) => "a boolean",
        Text::Other(Kind::Json) => "an array or object",
        _ => "a number",
    };
    Fault::new(InvalidRule::TextType, format!("expected a string in column {column}, found {found}"))
}

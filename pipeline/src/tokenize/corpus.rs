//! The documents of INPUT arguments, block after block: what tokenizers are trained on and compared with.

use std::path::Path;

use schemas::config;

use crate::read::{self, Block, Input, Options, Reader, inputs};
use crate::record::Records;

/// Reads inputs one after another.
pub struct Corpus {
    inputs: Vec<Input>,
    options: Options,
    next_input: usize,
    reader: Option<Reader>,
    bytes_done: u64,
    /// Lines that are no documents.
    pub invalid: u64,
    /// Documents handed out.
    pub documents: u64,
}

impl Corpus {
    /// Finds the inputs. Standard input, `-`, is written to `spool_dir` first.
    ///
    /// # Errors
    /// What the read layer refuses.
    pub fn open(arguments: &[String], text_column: &str, spool_dir: &Path) -> Result<Corpus, read::Error> {
        let config = config::Read { text_column: text_column.to_owned(), ..config::Read::default() };
        let options = Options::from_config(&config)?;
        let inputs = inputs::expand(arguments, spool_dir)?;
        Ok(Corpus { inputs, options, next_input: 0, reader: None, bytes_done: 0, invalid: 0, documents: 0 })
    }

    /// Bytes of all inputs, as stored.
    pub fn bytes_total(&self) -> u64 {
        self.inputs.iter().map(|input| input.bytes).sum()
    }

    /// Bytes read so far, as stored.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_done + self.reader.as_ref().map_or(0, Reader::bytes_read)
    }

    /// The next block, parsed and counted; None at the end of the last input.
    ///
    /// # Errors
    /// What the operating system refuses.
    pub fn next_records(&mut self) -> Result<Option<Records>, read::Error> {
        let records = self.next_block()?.map(|block| block.parse(&self.options));
        if let Some(records) = &records {
            self.invalid += records.invalid.len() as u64;
            self.documents += records.documents.len() as u64;
        }
        Ok(records)
    }

    /// The next block, for other threads to parse with [`options`](Self::options) and count; None at the end.
    ///
    /// # Errors
    /// What the operating system refuses.
    pub fn next_block(&mut self) -> Result<Option<Block>, read::Error> {
        loop {
            if self.reader.is_none() && !self.open_next()? {
                return Ok(None);
            }
            let block = self.reader.as_mut().map(Reader::next_block).transpose()?.flatten();
            if block.is_some() {
                return Ok(block);
            }
            self.bytes_done = self.bytes_read();
            self.reader = None;
        }
    }

    /// How blocks are parsed.
    pub fn options(&self) -> &Options {
        &self.options
    }

    fn open_next(&mut self) -> Result<bool, read::Error> {
        let Some(input) = self.inputs.get(self.next_input) else { return Ok(false) };
        let parts = input.parts(self.next_input, u64::MAX);
        self.reader = parts.first().map(|part| Reader::open(input, part, &self.options)).transpose()?;
        self.next_input += 1;
        Ok(true)
    }
}

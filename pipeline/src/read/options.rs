//! How lines become documents: the validated form of the `[read]` section.

use schemas::config::{Encoding, Read, TextFiles};

use super::error::Error;
use super::template::Template;

/// Longest line that can be asked for: spans of a block are 32 bits wide, and unescaped text, fields and a rendered
/// template of one line must fit together.
const LINE_BYTES_MAX: u64 = 1 << 30;

/// Deepest nesting that can be asked for; nesting costs 8 bytes of memory a level, not stack.
const DEPTH_MAX: u32 = 1 << 20;

/// How lines become documents.
#[derive(Debug, Clone)]
pub struct Options {
    pub(super) text_column: String,
    pub(super) template: Option<Template>,
    pub(super) encoding: Encoding,
    pub(super) line_bytes_max: usize,
    /// Longest record there is memory for.
    pub(super) record_bytes_fit: u64,
    pub(super) depth_max: u32,
    pub(super) accept_nan: bool,
    pub(super) text_files: TextFiles,
}

impl Options {
    /// Validates a configuration.
    ///
    /// # Errors
    /// [`Error::Template`] for a malformed template, [`Error::Setting`] for a limit that cannot be honoured.
    pub fn from_config(config: &Read) -> Result<Options, Error> {
        check_range("--max-line-bytes", config.max_line_bytes, LINE_BYTES_MAX)?;
        check_range("--max-depth", u64::from(config.max_depth), u64::from(DEPTH_MAX))?;
        Ok(Options {
            text_column: config.text_column.clone(),
            template: config.text_template.as_deref().map(Template::parse).transpose()?,
            encoding: config.encoding,
            line_bytes_max: config.max_line_bytes as usize,
            record_bytes_fit: u64::MAX,
            depth_max: config.max_depth,
            accept_nan: config.accept_nan,
            text_files: config.text_files,
        })
    }

    /// Refuses records longer than there is memory for.
    pub fn within(self, record_bytes_fit: u64) -> Options {
        Options { record_bytes_fit, ..self }
    }
}

impl Options {
    /// Records of which the fields alone count: no text is asked for.
    ///
    /// # Errors
    /// As [`Options::from_config`].
    pub fn fields_alone(config: &Read) -> Result<Options, Error> {
        Ok(Options { template: Some(Template::nothing()), ..Options::from_config(config)? })
    }
}

fn check_range(setting: &'static str, found: u64, max: u64) -> Result<(), Error> {
    if (1..=max).contains(&found) {
        return Ok(());
    }
    Err(Error::Setting { setting, expected: format!("1 to {max}"), found: found.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_limit_beyond_the_width_of_spans_is_refused() {
        let config = Read { max_line_bytes: LINE_BYTES_MAX + 1, ..Read::default() };
        let error = Options::from_config(&config).unwrap_err();
        assert!(matches!(error, Error::Setting { setting: "--max-line-bytes", .. }));
    }

    #[test]
    fn a_malformed_template_is_refused() {
        let config = Read { text_template: Some("{title".to_owned()), ..Read::default() };
        assert!(matches!(Options::from_config(&config), Err(Error::Template { .. })));
    }
}

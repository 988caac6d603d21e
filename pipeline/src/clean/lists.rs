//! Lists the user gives: one entry a line, white space around it and lines that begin with `#` left out.

use super::error::Error;

/// Reads a list.
///
/// # Errors
/// [`Error::Read`] where the file cannot be read; [`Error::EmptyList`] where it has no entry.
pub fn read(path: &str) -> Result<Vec<String>, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let entries = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entries: Vec<String> = entries.map(str::to_owned).collect();
    if entries.is_empty() {
        return Err(Error::EmptyList { path: path.to_owned() });
    }
    Ok(entries)
}

/// What stands for a list in a dataset's copy of the configuration: `sha256:` and its hash.
///
/// # Errors
/// [`Error::Read`] where the file cannot be read.
pub fn identity(path: &str) -> Result<String, Error> {
    if path.starts_with(HASHED) {
        return Ok(path.to_owned());
    }
    let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Ok(format!("{HASHED}{}", shards::commit::sha256_hex(&bytes)))
}

const HASHED: &str = "sha256:";

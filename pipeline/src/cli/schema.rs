//! `pipeline schema`: the formats of this version as schemas that other tools can check against.

use std::io::{self, Write};

use arrow::datatypes::Schema;
use schemas::columns::{self, Column, ColumnType};
use schemas::dtype::Dtype;

use super::Outcome;
use super::print::finish;
use crate::look::human::Table;
use crate::look::summary::type_name;

/// Arguments of `pipeline schema`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which format
    #[arg(value_enum)]
    what: What,
    /// Width of a token id in the schema of `data`
    #[arg(long, value_enum, default_value_t = Width::U16)]
    dtype: Width,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum What {
    /// JSON Schema of manifest.json
    Manifest,
    /// JSON Schema of config.toml
    Config,
    /// Arrow schema of data/*.parquet
    Data,
    /// Arrow schema of rejects/*.parquet
    Rejects,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Width {
    /// Two bytes
    U16,
    /// Four bytes
    U32,
}

/// Prints the schema.
///
/// # Errors
/// Where stdout cannot be written.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let mut out = io::stdout().lock();
    finish(match args.what {
        What::Manifest => writeln!(out, "{:#}", schemas::manifest::json_schema()),
        What::Config => writeln!(out, "{:#}", schemas::config::json_schema()),
        What::Data => {
            let dtype = if matches!(args.dtype, Width::U16) { Dtype::U16 } else { Dtype::U32 };
            write_arrow(&mut out, &columns::data_schema(&[placeholder()], false, dtype))
        }
        What::Rejects => write_arrow(&mut out, &columns::rejects_schema(&[placeholder()])),
    })
}

const PLACEHOLDER: &str = "SOURCE COLUMNS...";

/// Stands where the columns of the input stand, whose names and types the input decides.
fn placeholder() -> Column {
    Column { source_name: PLACEHOLDER.to_owned(), name: PLACEHOLDER.to_owned(), column_type: ColumnType::String }
}

fn write_arrow(out: &mut dyn Write, schema: &Schema) -> io::Result<()> {
    let mut table = Table::new(&[]);
    for field in schema.fields() {
        let kind = if field.name() == PLACEHOLDER {
            "bool | int64 | double | string".to_owned()
        } else {
            type_name(field.data_type())
        };
        table.row([field.name(), &kind, if field.is_nullable() { "" } else { "not null" }]);
    }
    table.write(out, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(schema: &Schema) -> String {
        let mut out = Vec::new();
        write_arrow(&mut out, schema).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_data_schema_names_its_list_element() {
        let text = text(&columns::data_schema(&[placeholder()], false, Dtype::U16));
        assert!(text.contains("list<element: uint16>"), "{text}");
        assert!(text.starts_with("doc_id"), "{text}");
    }

    #[test]
    fn the_rejects_schema_has_the_raw_bytes() {
        assert!(text(&columns::rejects_schema(&[placeholder()])).contains("binary"));
    }
}

//! Tables of a dataset as Polars frames: the columns asked for, of all files, in order.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use polars::prelude::{Column, DataFrame, NamedFrom, PolarsError, Series};
use shards::dataset::Dataset;

use super::Error;
use crate::look::rows::RowFile;

/// Number of characters, which `data/` need not have as a column: it is counted then.
const N_CHARS: &str = "n_chars";
const TEXT: &str = "text";

/// A folder of Parquet files of a dataset.
#[derive(Debug)]
pub struct Table {
    files: Vec<RowFile>,
    /// Names of its columns, but for token ids and raw bytes.
    pub columns: Vec<String>,
}

impl Table {
    /// The files of a folder that the manifest lists.
    ///
    /// # Errors
    /// Where a footer cannot be read.
    pub fn open(dataset: &Dataset, folder: &str) -> Result<Table, Error> {
        let prefix = format!("{folder}/");
        let listed = dataset.manifest().files.iter().filter(|file| file.path.starts_with(&prefix));
        let parquet = listed.filter(|file| file.path.ends_with(".parquet"));
        let files: Vec<RowFile> =
            parquet.map(|file| RowFile::open(&dataset.dir().join(&file.path))).collect::<Result<_, _>>()?;
        let columns = files.first().map_or(Vec::new(), |file| {
            let askable = |field: &&std::sync::Arc<arrow::datatypes::Field>| is_askable(field.data_type());
            file.schema().fields().iter().filter(askable).map(|field| field.name().clone()).collect()
        });
        Ok(Table { files, columns })
    }

    /// Whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Reads columns of all rows. Names the table does not have are left out, but for `n_chars`.
    ///
    /// # Errors
    /// Where rows cannot be read.
    pub fn read(&self, wanted: &[String]) -> Result<DataFrame, Error> {
        let known: Vec<&str> =
            self.columns.iter().map(String::as_str).filter(|name| wanted.iter().any(|w| w == name)).collect();
        let counted = wanted.iter().any(|name| name == N_CHARS) && !known.contains(&N_CHARS) && self.has(TEXT);
        // A frame has to have a column to have rows.
        let fallback = self.columns.iter().find(|name| *name == "line").or(self.columns.first());
        let mut read: Vec<&str> = known.clone();
        read.extend(counted.then_some(TEXT).filter(|text| !known.contains(text)));
        if read.is_empty() {
            read.extend(fallback.map(String::as_str));
        }
        let mut cells: Vec<(String, Cells)> = Vec::new();
        for file in &self.files {
            for batch in file.stream(Some(&read))? {
                push(&mut cells, &batch?, counted);
            }
        }
        if counted && !known.contains(&TEXT) {
            cells.retain(|(name, _)| name != TEXT);
        }
        let height = cells.first().map_or(0, |(_, cells)| cells.len());
        let columns = cells.into_iter().map(|(name, cells)| Column::from(cells.series(&name))).collect();
        DataFrame::new(height, columns).map_err(|error| polars_failed("rows", &error))
    }

    /// All rows with the columns named, batch by batch.
    ///
    /// # Errors
    /// Where a file cannot be opened.
    pub fn stream(
        &self,
        columns: &[&str],
    ) -> Result<impl Iterator<Item = Result<RecordBatch, crate::look::Error>> + use<>, Error> {
        let streams = self.files.iter().map(|file| file.stream(Some(columns))).collect::<Result<Vec<_>, _>>()?;
        Ok(streams.into_iter().flatten())
    }

    fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|known| known == name)
    }
}

/// A failure of Polars that no question of the user's caused.
fn polars_failed(query: &str, error: &PolarsError) -> Error {
    Error::Query { query: query.to_owned(), detail: error.to_string(), hint: String::new() }
}

fn is_askable(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int32 | DataType::Int64 | DataType::Float64 | DataType::Boolean | DataType::Utf8)
}

/// The cells of one column.
enum Cells {
    Integers(Vec<Option<i64>>),
    Floats(Vec<Option<f64>>),
    Texts(Vec<Option<String>>),
    Booleans(Vec<Option<bool>>),
}

impl Cells {
    fn of(data_type: &DataType) -> Cells {
        match data_type {
            DataType::Int32 | DataType::Int64 => Cells::Integers(Vec::new()),
            DataType::Float64 => Cells::Floats(Vec::new()),
            DataType::Boolean => Cells::Booleans(Vec::new()),
            _ => Cells::Texts(Vec::new()),
        }
    }

    fn push(&mut self, array: &dyn Array) {
        match self {
            Cells::Integers(cells) => {
                let Ok(array) = cast(array, &DataType::Int64) else { return };
                cells.extend(array.as_primitive::<Int64Type>().iter());
            }
            Cells::Floats(cells) => cells.extend(array.as_primitive::<Float64Type>().iter()),
            Cells::Booleans(cells) => cells.extend(array.as_boolean().iter()),
            Cells::Texts(cells) => cells.extend(array.as_string::<i32>().iter().map(|text| text.map(str::to_owned))),
        }
    }

    fn len(&self) -> usize {
        match self {
            Cells::Integers(cells) => cells.len(),
            Cells::Floats(cells) => cells.len(),
            Cells::Texts(cells) => cells.len(),
            Cells::Booleans(cells) => cells.len(),
        }
    }

    fn series(self, name: &str) -> Series {
        match self {
            Cells::Integers(cells) => Series::new(name.into(), cells),
            Cells::Floats(cells) => Series::new(name.into(), cells),
            Cells::Texts(cells) => Series::new(name.into(), cells),
            Cells::Booleans(cells) => Series::new(name.into(), cells),
        }
    }
}

fn push(cells: &mut Vec<(String, Cells)>, batch: &RecordBatch, count_chars: bool) {
    let schema = batch.schema();
    if cells.is_empty() {
        cells.extend(schema.fields().iter().map(|field| (field.name().clone(), Cells::of(field.data_type()))));
        cells.extend(count_chars.then(|| (N_CHARS.to_owned(), Cells::Integers(Vec::new()))));
    }
    for (name, cells) in cells.iter_mut() {
        if let Some(array) = batch.column_by_name(name) {
            cells.push(array);
        } else if let (Cells::Integers(cells), Some(texts)) = (cells, batch.column_by_name(TEXT)) {
            let chars = |text: &str| i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
            cells.extend(texts.as_string::<i32>().iter().map(|text| text.map(chars)));
        }
    }
}

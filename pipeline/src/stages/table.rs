//! From rows of lexemes to Arrow columns of the united types.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, StringBuilder};
use schemas::columns::{Column, ColumnType, Kind};

use crate::spill::rows::{Row, RowBlock, Value};

/// Builders of the source columns, and of `extra` where there are more.
pub struct SourceColumns<'a> {
    columns: &'a [Column],
    by_name: HashMap<&'a str, usize>,
    builders: Vec<Builder>,
    extra: Option<StringBuilder>,
}

enum Builder {
    Bool(BooleanBuilder),
    Int64(Int64Builder),
    Float64(Float64Builder),
    String(StringBuilder),
}

/// Column of each name of a block; None: it goes into `extra`.
pub type NameMap = Vec<Option<usize>>;

impl<'a> SourceColumns<'a> {
    /// Builders for these columns.
    pub fn new(columns: &'a [Column], extra: bool) -> Self {
        let builder = |column: &Column| match column.column_type {
            ColumnType::Bool => Builder::Bool(BooleanBuilder::new()),
            ColumnType::Int64 => Builder::Int64(Int64Builder::new()),
            ColumnType::Float64 => Builder::Float64(Float64Builder::new()),
            ColumnType::Null | ColumnType::String => Builder::String(StringBuilder::new()),
        };
        let by_name = columns.iter().enumerate().map(|(index, column)| (column.source_name.as_str(), index)).collect();
        let builders = columns.iter().map(builder).collect();
        SourceColumns { columns, by_name, builders, extra: extra.then(StringBuilder::new) }
    }

    /// Where the names of a block go.
    pub fn map(&self, block: &RowBlock) -> NameMap {
        block.names.iter().map(|name| self.by_name.get(name.as_str()).copied()).collect()
    }

    /// Appends the values of a row.
    pub fn row(&mut self, block: &RowBlock, row: &Row, map: &NameMap, slots: &mut Slots) {
        slots.clear(self.columns.len());
        for value in block.values_of(row) {
            match map.get(value.name as usize).copied().flatten() {
                Some(column) => slots.set(column, value.clone()),
                None => slots.beyond.push(value.clone()),
            }
        }
        for (builder, value) in self.builders.iter_mut().zip(&slots.values) {
            builder.append(value.as_ref().map(|value| (value.kind, block.str(&value.bytes))));
        }
        if let Some(extra) = &mut self.extra {
            extra.append_option(json_object(block, &slots.beyond));
        }
    }

    /// The arrays, in schema order.
    pub fn finish(self) -> impl Iterator<Item = ArrayRef> {
        let columns = self.builders.into_iter().map(Builder::finish);
        columns.chain(self.extra.map(|mut extra| Arc::new(extra.finish()) as ArrayRef))
    }
}

/// The values of one row by column; kept between rows to save allocations.
#[derive(Default)]
pub struct Slots {
    values: Vec<Option<Value>>,
    beyond: Vec<Value>,
}

impl Slots {
    fn clear(&mut self, columns: usize) {
        self.values.clear();
        self.values.resize(columns, None);
        self.beyond.clear();
    }

    fn set(&mut self, column: usize, value: Value) {
        if let Some(slot) = self.values.get_mut(column) {
            *slot = Some(value);
        }
    }
}

impl Builder {
    /// The union over all tasks decided the type, so a value that does not parse cannot come; null stands for it.
    fn append(&mut self, value: Option<(Kind, &str)>) {
        let value = value.filter(|(kind, _)| *kind != Kind::Null).map(|(_, text)| text);
        match self {
            Builder::Bool(builder) => builder.append_option(value.map(|text| text == "true")),
            Builder::Int64(builder) => builder.append_option(value.and_then(|text| text.parse().ok())),
            Builder::Float64(builder) => builder.append_option(value.and_then(|text| text.parse().ok())),
            Builder::String(builder) => builder.append_option(value),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Builder::Bool(mut builder) => Arc::new(builder.finish()),
            Builder::Int64(mut builder) => Arc::new(builder.finish()),
            Builder::Float64(mut builder) => Arc::new(builder.finish()),
            Builder::String(mut builder) => Arc::new(builder.finish()),
        }
    }
}

/// The values beyond the columns as one JSON object; None where there are none.
fn json_object(block: &RowBlock, values: &[Value]) -> Option<String> {
    if values.is_empty() {
        return None;
    }
    let mut object = String::from("{");
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            object.push(',');
        }
        let name = block.names.get(value.name as usize).map_or("", String::as_str);
        object.push_str(&serde_json::Value::from(name).to_string());
        object.push(':');
        let text = block.str(&value.bytes);
        match value.kind {
            Kind::String => object.push_str(&serde_json::Value::from(text).to_string()),
            _ => object.push_str(text),
        }
    }
    object.push('}');
    Some(object)
}

/// The document's id: its id column as text, else its place.
pub fn doc_id(block: &RowBlock, row: &Row, id_name: Option<u32>, place: impl FnOnce() -> String) -> String {
    let id = id_name.and_then(|name| block.values_of(row).iter().find(|value| value.name == name));
    match id {
        Some(value) if value.kind != Kind::Null => block.str(&value.bytes).to_owned(),
        _ => place(),
    }
}

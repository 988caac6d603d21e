"""Parquet by DuckDB, pyarrow, Polars, pandas and datasets: each sees the same rows. Usage: parquet_readers.py DATASET"""

import json
import pathlib
import sys

import duckdb
import pandas
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import load_dataset

folder = pathlib.Path(sys.argv[1])
manifest = json.loads((folder / "manifest.json").read_text())
element = {"u16": pa.uint16(), "u32": pa.uint32()}[manifest["dtype"]]

loaded = load_dataset(str(folder))
for split, entry in manifest["splits"].items():
    pattern = f"{folder}/data/{split}-*.parquet"
    files = sorted((folder / "data").glob(f"{split}-*.parquet"))
    if not files:
        assert entry["documents"] == 0
        continue
    table = pa.concat_tables(pq.read_table(path) for path in files)
    field = table.schema.field("tokens").type
    assert field.value_type == element and field.value_field.name == "element", field
    wanted = (entry["documents"], entry["tokens"])
    assert (table.num_rows, sum(map(len, table["tokens"].to_pylist()))) == wanted
    assert duckdb.sql(f"SELECT count(*), sum(len(tokens)) FROM '{pattern}'").fetchall()[0] == wanted
    assert duckdb.sql(f"SELECT sum(n_tokens) FROM '{pattern}'").fetchall()[0][0] == wanted[1]
    frame = pl.read_parquet(pattern)
    assert (frame.height, frame["tokens"].list.len().sum()) == wanted
    assert frame["text"].to_list() == table["text"].to_pylist()
    assert pandas.read_parquet(files[0])["tokens"].map(len).sum() == sum(map(len, pq.read_table(files[0])["tokens"].to_pylist()))
    rows = loaded["validation" if split == "val" and "validation" in loaded else split]
    assert rows.num_rows == wanted[0]
    assert rows[0]["tokens"] == table["tokens"][0].as_py()

for path in sorted((folder / "data").glob("*.parquet")) + sorted((folder / "rejects").glob("*.parquet")):
    metadata = pq.ParquetFile(path).metadata
    for group in range(metadata.num_row_groups):
        for column in range(metadata.num_columns):
            assert metadata.row_group(group).column(column).compression == "ZSTD", path

rejected = duckdb.sql(f"SELECT count(*) FROM '{folder}/rejects/*.parquet'").fetchall()[0][0]
ledger = manifest["ledger"]
invalid = sum(ledger["invalid"].values())
dropped = sum(sum(rules.values()) for rules in ledger["dropped"].values())
assert rejected == invalid + dropped, (rejected, invalid, dropped)
print("DuckDB, pyarrow, Polars, pandas and datasets agree")

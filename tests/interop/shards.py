"""Shards by NumPy from the documented layout, compared with Parquet by pyarrow. Usage: shards.py DATASET"""

import json
import pathlib
import sys

import numpy as np
import pyarrow.parquet as pq

folder = pathlib.Path(sys.argv[1])
manifest = json.loads((folder / "manifest.json").read_text())
dtype, code = {"u16": (np.dtype("<u2"), 8), "u32": (np.dtype("<u4"), 4)}[manifest["dtype"]]

for split, entry in manifest["splits"].items():
    rows = []
    for path in sorted((folder / "data").glob(f"{split}-*.parquet")):
        rows += pq.read_table(path, columns=["tokens", "shard", "token_offset"]).to_pylist()
    seen = 0
    for number, path in enumerate(entry["shards"]):
        tokens = np.fromfile(folder / path, dtype)
        index = (folder / path).with_suffix(".idx").read_bytes()
        assert index[:9] == b"MMIDIDX\0\0"
        assert index[17] == code
        version, = np.frombuffer(index, "<u8", 1, 9)
        sequences, bounds = (int(value) for value in np.frombuffer(index, "<u8", 2, 18))
        assert (version, bounds) == (1, sequences + 1)
        lengths = np.frombuffer(index, "<i4", sequences, 34)
        offsets = np.frombuffer(index, "<i8", sequences, 34 + 4 * sequences)
        documents = np.frombuffer(index, "<i8", bounds, 34 + 12 * sequences)
        assert len(index) == 42 + 20 * sequences
        assert (documents == np.arange(bounds)).all()
        for length, offset in zip(lengths, offsets):
            row = rows[seen]
            start = int(offset) // dtype.itemsize
            assert (row["shard"], row["token_offset"]) == (number, start)
            assert row["tokens"] == tokens[start:start + length].tolist(), f"{path} document {seen}"
            seen += 1
    assert seen == len(rows) == entry["documents"]
    assert sum(len(row["tokens"]) for row in rows) == entry["tokens"]
print("shards and Parquet agree")

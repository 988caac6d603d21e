"""Ids of every document are those of the Python tokenizers package. Usage: ids.py DATASET"""

import json
import pathlib
import sys

import pyarrow.parquet as pq
from tokenizers import Tokenizer

folder = pathlib.Path(sys.argv[1])
entry = json.loads((folder / "manifest.json").read_text())["tokenizer"]
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.no_truncation()
tokenizer.no_padding()
tokenizer.encode_special_tokens = True
head = [] if entry["bos_id"] is None or entry["bos_id"] == entry["eos_id"] else [entry["bos_id"]]
tail = [] if entry["eos_id"] is None else [entry["eos_id"]]

documents = 0
for path in sorted((folder / "data").glob("*.parquet")):
    for batch in pq.ParquetFile(path).iter_batches(1000, columns=["doc_id", "text", "tokens"]):
        rows = batch.to_pylist()
        encodings = tokenizer.encode_batch([row["text"] for row in rows], add_special_tokens=False)
        for row, encoding in zip(rows, encodings):
            wanted = head + encoding.ids + tail
            assert row["tokens"] == wanted, f"{path.name} {row['doc_id']}: {row['tokens'][:40]} for {wanted[:40]}"
            documents += 1
assert documents > 0
print(documents, "documents, ids equal")

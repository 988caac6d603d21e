"""Shards by Megatron-Core's own reader. Usage: megatron_reader.py DATASET

Its module imports torch for a base class and types only; a stand-in with those names spares an install of gigabytes,
and the code that reads the index and the tokens is Megatron's.
"""

import importlib.machinery
import importlib.util
import json
import pathlib
import sys
import types

import numpy as np
import pyarrow.parquet as pq


def module(name, **names):
    made = types.ModuleType(name)
    made.__dict__.update(names)
    made.__path__ = []
    sys.modules[name] = made
    return made


def megatron_indexed_dataset():
    class Dataset:
        pass

    module("torch", Tensor=np.ndarray, utils=module("torch.utils", data=module("torch.utils.data", Dataset=Dataset)))
    spec = importlib.machinery.PathFinder.find_spec("megatron")
    core = pathlib.Path(list(spec.submodule_search_locations)[0]) / "core"
    module("megatron")
    module("megatron.core")
    module("megatron.core.utils", log_single_rank=lambda *args, **kwargs: None)
    module("megatron.core.datasets").__path__ = [str(core / "datasets")]
    from megatron.core.datasets import indexed_dataset
    return indexed_dataset


reader = megatron_indexed_dataset()
folder = pathlib.Path(sys.argv[1])
manifest = json.loads((folder / "manifest.json").read_text())
for split, entry in manifest["splits"].items():
    rows = []
    for path in sorted((folder / "data").glob(f"{split}-*.parquet")):
        rows += pq.read_table(path, columns=["tokens"])["tokens"].to_pylist()
    seen = 0
    for path in entry["shards"]:
        shard = reader.IndexedDataset(str((folder / path).with_suffix("")), mmap=True)
        for document in range(len(shard)):
            assert shard[document].tolist() == rows[seen], f"{path} document {document}"
            seen += 1
    assert seen == len(rows) == entry["documents"]
print("Megatron-Core reads every document")

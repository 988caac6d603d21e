"""Verdicts of the presets gopher, c4 and fineweb beside datatrove's filters on the same documents.

    filter_presets.py PIPELINE TOKENIZER DOCUMENTS.jsonl

Needs datatrove with spaCy and NLTK; opt-in, for these are hundreds of megabytes. Documents on which the two differ are
counted by the condition that each names.
"""

import collections
import json
import pathlib
import subprocess
import sys
import tempfile

import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)

FILTERS = {
    "gopher": [GopherQualityFilter, GopherRepetitionFilter],
    "c4": [C4QualityFilter],
    "fineweb": [FineWebQualityFilter],
}


def theirs(filters, text):
    """None for a document that is kept, else the reason."""
    for judge in filters:
        found = judge.filter(Document(text=text, id="0"))
        if found is not True:
            return found[1]
    return None


def ours(pipeline, tokenizer, documents, preset, folder):
    """For each line, counted from 1, the rule that dropped it."""
    out = pathlib.Path(folder) / preset
    command = [pipeline, "run", documents, "--tokenizer", tokenizer, "--preset", preset, "--dedup", "none", "--out", out]
    subprocess.run(command, check=True, capture_output=True)
    rows = [row for path in (out / "rejects").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    return {row["line"]: row["rule"] for row in rows if row["stage"] == "filter"}


pipeline, tokenizer, documents = sys.argv[1:]
texts = [json.loads(line)["text"] for line in open(documents, encoding="utf-8")]
with tempfile.TemporaryDirectory() as folder:
    for preset, kinds in FILTERS.items():
        filters = [kind() for kind in kinds]
        rules = ours(pipeline, tokenizer, documents, preset, folder)
        differing = collections.Counter()
        kept = 0
        for line, text in enumerate(texts, 1):
            reason, rule = theirs(filters, text), rules.get(line)
            kept += reason is None
            if (reason is None) != (rule is None):
                differing[f"datatrove: {reason or 'kept'}; here: {rule or 'kept'}"] += 1
        print(f"{preset}: {len(texts)} documents, datatrove keeps {kept}, here {len(texts) - len(rules)}")
        for pair, count in differing.most_common():
            print(f"  {count:6} {pair}")

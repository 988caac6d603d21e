#!/usr/bin/env python3
"""The filters Gopher, C4 and FineWeb here and in datatrove, on the same Chinese and English text; and the whole job with
all columns, cleaning and exact dedup.

    cargo build --release -p pipeline; scripts/filter-presets      # makes target/datatrove
    SHARDMILL_CORPORA=... benches/filters.py PIPELINE [ROUNDS]

CPU seconds of one thread, smallest of the rounds, which take turns; MB are 10^6 bytes of UTF-8 text. Here: the read
stage of `--preset gopher,c4,fineweb`, which reads, parses, measures, filters and writes what stays, less the read stage
without a filter. datatrove: its filters called in turn on texts in memory, each text through all of them.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORPORA = Path(os.environ.get("SHARDMILL_CORPORA", ROOT.parent / "shared"))
TOKENIZER = CORPORA / "tokenizers/minimind-v1-6400/tokenizer.json"
SLICE_BYTES = 3_000_000
THEIRS = """
import json, sys, time
from datatrove.data import Document
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
filters = [GopherQualityFilter(), GopherRepetitionFilter(), C4QualityFilter(), FineWebQualityFilter()]
texts = [json.loads(line)["text"] for line in open(sys.argv[1], encoding="utf-8")]
[judge.filter(Document(text=texts[0], id="0")) for judge in filters]
started = time.process_time()
for text in texts:
    [judge.filter(Document(text=text, id="0")) for judge in filters]
print(time.process_time() - started)
"""


def texts():
    with subprocess.Popen(["zstd", "-dcq", CORPORA / "corpora/bench150.jsonl.zst"], stdout=subprocess.PIPE) as process:
        for line in process.stdout:
            yield json.loads(line)["text"]


def slices(folder):
    """A file of Chinese and one of English documents, and their bytes of text."""
    files = {name: open(folder / f"{name}.jsonl", "w", encoding="utf-8") for name in ("zh", "en")}
    sizes = dict.fromkeys(files, 0)
    for text in texts():
        han = sum("\u4e00" <= character <= "\u9fff" for character in text[:400])
        name = "zh" if han > 100 else "en" if han == 0 else None
        if name and sizes[name] < SLICE_BYTES:
            sizes[name] += len(text.encode())
            files[name].write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
        if min(sizes.values()) >= SLICE_BYTES:
            break
    [file.close() for file in files.values()]
    return {name: (folder / f"{name}.jsonl", size) for name, size in sizes.items()}


def cpu_of(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def read_stage(pipeline, documents, folder, more):
    out = Path(tempfile.mkdtemp(dir=folder))
    common = ["--tokenizer", TOKENIZER, "--dedup", "none", "--out", out, "--threads", "1"]
    subprocess.run([pipeline, "plan", documents, *common, *more], check=True, capture_output=True)
    return cpu_of([pipeline, "task", "--run", out, "--stage", "read", "--rank", "0", "--threads", "1"])


def main():
    pipeline = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    python = ROOT / "target/datatrove/bin/python"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for language, (documents, size) in slices(folder).items():
            ours, plain, theirs = [], [], []
            for _ in range(rounds):
                plain.append(read_stage(pipeline, documents, folder, []))
                ours.append(read_stage(pipeline, documents, folder, ["--preset", "gopher,c4,fineweb"]))
                found = subprocess.run([python, "-c", THEIRS, documents], check=True, capture_output=True, text=True)
                theirs.append(float(found.stdout))
            filters = min(ours) - min(plain)
            print(f"{language}: {size / 1e6:.1f} MB; here {size / 1e6 / filters:.1f} MB/s ({min(ours):.2f} s with reading), "
                  f"datatrove {size / 1e6 / min(theirs):.2f} MB/s ({min(theirs):.2f} s)", flush=True)
        columns = "basic,gopher,fineweb,c4,language"
        for corpus in ("bench150", "seedlike100"):
            source = CORPORA / f"corpora/{corpus}.jsonl.zst"
            command = [pipeline, "run", source, "--tokenizer", TOKENIZER, "--measure", columns, "--clean", "usual,privacy",
                       "--threads", "1", "--out"]
            seconds = min(cpu_of([*command, tempfile.mkdtemp(dir=folder)]) for _ in range(max(1, rounds // 3)))
            size = {"bench150": 169.0, "seedlike100": 60.5}[corpus]
            print(f"{corpus}, all columns, cleaning, exact dedup: {seconds:.2f} CPU s, {size / seconds:.1f} MB/s", flush=True)


main()

#!/usr/bin/env python3
"""Near-dedup beside peers on the same file: CPU seconds a GB of text, recall and precision.

    benches/near.py --input history_versions.jsonl.zst --pipeline target/release/pipeline --tokenizer FILE \\
        --datatrove VENV/bin/python --datasketch VENV/bin/python --text-dedup VENV/bin/python

The input has the columns text and group; documents of a group are versions of a page. Pairs are those within groups, by
the exact Jaccard similarity of sets of 5 units (docs/FORMAT.md, section 10), for every program alike: datatrove splits
words by its own rules, so some of its pairs lie on the other side of the threshold by them. Recall: of the pairs at 0.8
and above, those of which one document went. Precision: of the documents that went, those that have such a pair.
The peers are installed by hand: `pip install 'datatrove[processing,io]==0.10.1' spacy jieba`, `pip install
datasketch==1.6.5 text-dedup==0.4.0`.
"""

import argparse
import collections
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "peers"))
from near_units import shingles  # noqa: E402

THRESHOLD = 0.8
PEERS = pathlib.Path(__file__).parent / "peers"


def load(path):
    command = ["zstd", "-dc", path] if path.suffix == ".zst" else ["cat", path]
    lines = subprocess.run(command, check=True, capture_output=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def close_pairs(rows):
    groups = collections.defaultdict(list)
    for number, row in enumerate(rows):
        groups[row["group"]].append(number)
    pairs = []
    for members in groups.values():
        sets = {number: shingles(rows[number]["text"]) for number in members}
        for left, right in itertools.combinations(members, 2):
            both = len(sets[left] & sets[right])
            if both and both / (len(sets[left]) + len(sets[right]) - both) >= THRESHOLD:
                pairs.append((left, right))
    return pairs


def measured(command):
    started = time.time()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command}: status {status}")
    return used.ru_utime + used.ru_stime, time.time() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=pathlib.Path, required=True)
    parser.add_argument("--pipeline", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--datatrove")
    parser.add_argument("--language", default="english", help="datatrove's word splitter")
    parser.add_argument("--datasketch")
    parser.add_argument("--text-dedup")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("out/near"))
    args = parser.parse_args()

    shutil.rmtree(args.work, ignore_errors=True)
    (args.work / "input").mkdir(parents=True)
    rows = load(args.input)
    source = args.work / "input" / "documents.jsonl"
    with open(source, "w", encoding="utf-8") as out:
        for number, row in enumerate(rows):
            out.write(json.dumps({"text": row["text"], "id": str(number)}, ensure_ascii=False) + "\n")
    gigabytes = sum(len(row["text"].encode()) for row in rows) / 1e9
    pairs = close_pairs(rows)
    has_pair = {number for pair in pairs for number in pair}
    print(f"{args.input.name}: {len(rows)} documents, {gigabytes * 1000:.1f} MB of text, {len(pairs)} pairs at {THRESHOLD}")

    ours = [args.pipeline, "run", source, "--tokenizer", args.tokenizer, "--threads", "1", "--val-fraction", "0"]
    runs = [(f"pipeline, {way}", [*ours, "--dedup", "minhash", "--cluster", way, "--out", args.work / way], way)
            for way in ["star", "component"]]
    runs.append(("pipeline without near-dedup", [*ours, "--dedup", "none", "--out", args.work / "none"], None))
    if args.datatrove:
        out = args.work / "datatrove"
        runs.append(("datatrove", [args.datatrove, PEERS / "datatrove_minhash.py", source, out, args.language], "datatrove"))
    if args.datasketch:
        out = args.work / "datasketch"
        runs.append(("datasketch", [args.datasketch, PEERS / "datasketch_minhash.py", source, out], "datasketch"))
    if args.text_dedup:
        out = args.work / "text-dedup"
        runs.append(("text-dedup", [args.text_dedup, PEERS / "text_dedup_minhash.py", source, out], "text-dedup"))
    for name, command, folder in runs:
        cpu, wall = measured(command)
        line = f"{name}: CPU {cpu:.1f} s, {cpu / gigabytes:.0f} s/GB, wall {wall:.1f} s"
        if folder:
            kept = kept_ids(args.work / folder, args.pipeline)
            resolved = sum(left not in kept or right not in kept for left, right in pairs)
            gone = [number for number in range(len(rows)) if number not in kept]
            right = sum(number in has_pair for number in gone)
            line += f", kept {len(kept)}, recall {resolved / len(pairs):.4f}, precision {right / max(1, len(gone)):.4f}"
        print(line, flush=True)
    shutil.rmtree(args.work)


def kept_ids(folder, pipeline):
    listed = folder / "kept.txt"
    if listed.exists():
        return {int(name) for name in listed.read_text().split()}
    question = [pipeline, "sql", folder, "SELECT doc_id FROM documents", "--json"]
    said = subprocess.run([str(part) for part in question], check=True, capture_output=True, text=True).stdout
    return {int(row[0]) for row in json.loads(said.splitlines()[-1])["rows"]}



if __name__ == "__main__":
    main()

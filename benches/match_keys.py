#!/usr/bin/env python3
"""Near-dedup of many small documents under a small memory limit: match keys, pairs, clusters, by the whole program.

    benches/match_keys.py --pipeline target/release/pipeline --tokenizer FILE --documents 10000000 --memory 96MiB

Makes the documents (every tenth a near-duplicate of the one before it), runs `pipeline run --dedup minhash`, and prints
seconds a stage, peak resident memory, and the most disk that the work folder took.
"""

import argparse
import json
import os
import pathlib
import random
import resource
import shutil
import subprocess
import threading
import time


def make(path, documents):
    words = [f"w{n}" for n in range(5000)]
    draw = random.Random(1)
    last = []
    with open(path, "w", encoding="ascii") as out:
        for number in range(documents):
            if number % 10 == 9:
                last = [*last, "again"]
            else:
                last = draw.choices(words, k=12)
            out.write('{"text":"' + " ".join(last) + '"}\n')


def folder_bytes(folder):
    """Bytes of all files below a folder in which tasks come and go meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):  # a folder that is gone is passed over
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                pass
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", default="target/release/pipeline")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--documents", type=int, default=10_000_000)
    parser.add_argument("--memory", default="96MiB")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("out/match_keys"))
    args = parser.parse_args()

    shutil.rmtree(args.work, ignore_errors=True)
    args.work.mkdir(parents=True)
    corpus = args.work / "documents.jsonl"
    make(corpus, args.documents)
    command = [args.pipeline, "run", corpus, "--tokenizer", args.tokenizer, "--out", args.work / "dataset", "--dedup",
               "minhash", "--no-parquet", "--memory", args.memory, "--threads", args.threads]
    started = time.time()
    process = subprocess.Popen([str(part) for part in command])
    most = 0

    def watch():
        nonlocal most
        while process.poll() is None:
            most = max(most, folder_bytes(args.work / "dataset"))
            time.sleep(1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    watcher.join()
    if code != 0:
        raise SystemExit(code)
    seconds = time.time() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads((args.work / "dataset/run/run.json").read_text())
    ledger = json.loads((args.work / "dataset/manifest.json").read_text())["ledger"]
    stages = {}
    for stage in report["stages"]:
        stages[stage["stage"]] = stages.get(stage["stage"], 0) + stage["seconds"]
    print(f"{args.documents} documents, --memory {args.memory}, {args.threads} threads")
    print(f"wall {seconds:.0f} s, CPU {used.ru_utime + used.ru_stime:.0f} s")
    print(f"peak resident {report['peak_resident_bytes'] / 2**20:.0f} MiB, most disk {most / 2**30:.2f} GiB")
    print(f"dropped {ledger['dropped']}, kept {ledger['kept']}")
    for stage, taken in stages.items():
        print(f"  {stage:>12} {taken:8.1f} s")
    shutil.rmtree(args.work)


if __name__ == "__main__":
    main()

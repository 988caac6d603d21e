#!/usr/bin/env python3
"""Our encoder beside crate tokenizers 1.0-rc, crate fastokens and gigatoken, on the same text in the same run.

    benches/peers/encoders-setup.sh
    python3 benches/encoders.py                       # bench150, every vocabulary of the folder of corpora
    python3 benches/encoders.py --tokenizer T.json --corpus C.jsonl --megabytes 8 --rounds 3

Chinese texts have at least half of their bytes, English ones at most a twentieth, beyond ASCII. Every contestant is a
process of its own, one after another in each round, so that the first pass finds nothing remembered and whatever else
the machine does falls on all alike. A rate is 10^6 bytes of UTF-8 text a CPU second of one thread: in the first pass
(cold) and in the passes after it (warm); medians of the rounds, spread in brackets. Then ours once more on two threads
that encode the same texts side by side. Ids are compared text by text with those of crate tokenizers.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "target/bench/encoders"
BINARY = ROOT / "target/peers-encoders-build/release/encoders"
PYTHON = ROOT / "target/peers-encoders/bin/python"
PASSES = 4
LANGUAGES = {"zh": (0.5, 1.0), "en": (0.0, 0.05)}
OURS, ORACLE = "own", "tokenizers 1.0-rc.3"
CONTESTANTS = [OURS, ORACLE, "fastokens 0.3.5", "gigatoken 0.10.0"]


def corpora():
    return Path(os.environ.get("SHARDMILL_CORPORA", ROOT.parent / "shared"))


def lines_of(path):
    if path.suffix != ".zst":
        with open(path, "rb") as lines:
            yield from lines
        return
    with subprocess.Popen(["zstd", "-dcq", str(path)], stdout=subprocess.PIPE) as process:
        yield from process.stdout
        process.stdout.close()


def slices(corpus, bytes_max):
    """A file of texts for each language, and its bytes of text."""
    WORK.mkdir(parents=True, exist_ok=True)
    out = {name: open(WORK / f"{name}.jsonl", "w", encoding="utf-8") for name in LANGUAGES}
    sizes = dict.fromkeys(LANGUAGES, 0)
    for line in lines_of(corpus):
        text = json.loads(line).get("text")
        if not text:
            continue
        raw = text.encode("utf-8")
        share = sum(byte > 127 for byte in raw) / len(raw)
        for name, (low, high) in LANGUAGES.items():
            if low <= share <= high and sizes[name] < bytes_max:
                sizes[name] += len(raw)
                out[name].write(json.dumps(text) + "\n")
        if all(size >= bytes_max for size in sizes.values()):
            break
    for file in out.values():
        file.close()
    return {name: size for name, size in sizes.items() if size}


def run(contestant, tokenizer, texts, threads, ids):
    engine = contestant.split()[0]
    if engine == "gigatoken":
        script = ROOT / "benches/peers/gigatoken_encode.py"
        command = [PYTHON, script, tokenizer, texts, PASSES, ids]
    else:
        command = [BINARY, engine, tokenizer, texts, PASSES, threads, ids]
    environment = {**os.environ, "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    ended = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment)
    if ended.returncode != 0:
        lines = ended.stderr.strip().splitlines() or ["no message"]
        print(f"{contestant} cannot: {lines[-1]}", file=sys.stderr)
        return None
    return json.loads(ended.stdout)


def documents(path):
    """The ids of each text, as bytes."""
    raw, at, found = path.read_bytes(), 0, []
    while at < len(raw):
        end = at + 4 + 4 * int.from_bytes(raw[at : at + 4], "little")
        found.append(raw[at + 4 : end])
        at = end
    return found


def rate(size, seconds):
    rates = [size / 1e6 / value for value in seconds]
    return f"{statistics.median(rates):.0f} ({min(rates):.0f}-{max(rates):.0f})"


def compare(tokenizer, language, size, rounds):
    texts = WORK / f"{language}.jsonl"
    runs = {name: [] for name in [*CONTESTANTS, f"{OURS}, two threads"]}
    for _ in range(rounds):
        for name in list(runs):
            threads = 2 if name.endswith("two threads") else 1
            found = run(name.split(",")[0], tokenizer, texts, threads, WORK / f"{name}.ids")
            if found is None:
                del runs[name]
            else:
                runs[name].append(found)
    oracle = documents(WORK / f"{ORACLE}.ids") if runs.get(ORACLE) else None
    print(f"\n{tokenizer.parent.name}, {language}, {size / 1e6:.1f} MB\n")
    print("| | cold | warm | ours / theirs, cold | warm | texts with other ids |\n|" + "---|" * 6)
    for name, measured in runs.items():
        cells = [rate(size, [one[key] for one in measured]) for key in ("cold_s", "warm_s")]
        for key in ("cold_s", "warm_s"):
            ratios = [theirs[key] / own[key] for theirs, own in zip(measured, runs.get(OURS, []))]
            cells.append(f"{statistics.median(ratios):.2f}" if ratios else "")
        own = documents(WORK / f"{name}.ids")
        differ = sum(a != b for a, b in zip(own, oracle)) if oracle is not None else "?"
        print(f"| {name} | " + " | ".join(cells) + f" | {differ} of {len(own)} |")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, action="append", help="tokenizer.json; may be given several times")
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--megabytes", type=float, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    names = ["minimind-v1-6400", "gpt2-50257", "qwen-151k"]
    tokenizers = args.tokenizer or [corpora() / f"tokenizers/{name}/tokenizer.json" for name in names]
    sizes = slices(args.corpus or corpora() / "corpora/bench150.jsonl.zst", args.megabytes * 1e6)
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    print(f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}; MB a CPU second of one thread")
    for tokenizer in tokenizers:
        for language, size in sizes.items():
            compare(tokenizer, language, size, args.rounds)
    print("\nload averages: " + ", ".join(f"{value:.1f}" for value in os.getloadavg()))


if __name__ == "__main__":
    main()

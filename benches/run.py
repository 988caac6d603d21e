#!/usr/bin/env python3
"""Times the project beside its peers and prints the tables of docs/RESULTS.md.

    cargo build --release -p pipeline
    benches/peers/setup.sh
    python3 benches/run.py check       # 20 MB of bench150: project, notebook
    python3 benches/run.py tokenize    # the same: project, notebook, datatrove; every document
    python3 benches/run.py job         # the same: project, datatrove; filter, exact dedup, tokenize
    python3 benches/run.py stages      # bench150 and seedlike100 whole: the project alone

Contestants run one after another, round by round, so that whatever else the machine does falls on all of them alike;
the order turns by one each round. Time is CPU seconds (user + system, children included), because other work on the
machine stretches wall time and leaves CPU seconds nearly alone. A rate is MB (10^6 bytes) of UTF-8 text in the input
over CPU seconds: MB/s a core. Spread is smallest to largest.

Only the standard library is used, so that this process stays small: a child's peak memory is never reported below its
parent's at the fork.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "target/bench"
PEER_PYTHON = ROOT / "target/peers/bin/python"
FILTER = "perplexity <= 800 AND lang_score >= 0.6"
SLICE_TEXT_BYTES = 20_000_000


@dataclass
class Run:
    """One measured process."""

    cpu_s: float
    wall_s: float
    peak_mib: float


@dataclass
class Case:
    """A command, and what it made."""

    name: str
    command: list
    text_bytes: int
    out: Path | None = None
    bin_glob: str | None = None
    environment: dict = field(default_factory=dict)
    runs: list = field(default_factory=list)
    stages: list = field(default_factory=list)
    output: dict = field(default_factory=dict)


def corpora():
    return Path(os.environ.get("SHARDMILL_CORPORA", ROOT.parent / "shared"))


def text_bytes(row):
    return len(json.loads(row)["text"].encode("utf-8"))


def lines_of(path):
    """Lines of a .zst file, through the zstd program."""
    with subprocess.Popen(["zstd", "-dcq", str(path)], stdout=subprocess.PIPE) as process:
        yield from process.stdout
    if process.returncode != 0:
        sys.exit(f"cannot read {path} (is SHARDMILL_CORPORA set, and zstd there?)")


def prepare(corpus):
    """Text bytes of a corpus and of its slice; the slice is written where it is missing."""
    WORK.mkdir(parents=True, exist_ok=True)
    source, sliced, facts = corpora() / f"corpora/{corpus}.jsonl.zst", WORK / f"{corpus}-20mb.jsonl", WORK / f"{corpus}.json"
    if not facts.exists():
        whole = taken = 0
        with open(sliced, "wb") as out:
            for line in lines_of(source):
                size = text_bytes(line)
                if taken < SLICE_TEXT_BYTES:
                    out.write(line)
                    taken += size
                whole += size
        facts.write_text(json.dumps({"whole": whole, "slice": taken}))
    return source, sliced, json.loads(facts.read_text())


def measure(case):
    if case.out is not None:
        shutil.rmtree(case.out, ignore_errors=True)
    environment = {**os.environ, **case.environment}
    log = WORK / "last.log"
    with open(log, "wb") as out:
        start = time.perf_counter()
        process = subprocess.Popen(case.command, stdout=out, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{case.name}: exit code {process.returncode}\n{' '.join(case.command)}\n{log.read_text()[-2000:]}")
    case.runs.append(Run(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024))
    remember_output(case)


def remember_output(case):
    """What was made, the same in every round or the figures mean nothing."""
    if case.out is None or case.bin_glob is None:
        return
    (ids,) = case.out.glob(case.bin_glob)
    made = {"tokens": ids.stat().st_size // 2, "sha256": hashlib.sha256(ids.read_bytes()).hexdigest()}
    if case.output and case.output != made:
        sys.exit(f"{case.name}: two rounds made different ids")
    case.output = made
    report = case.out / "run/run.json"
    if report.exists():
        case.stages.append({stage["stage"]: stage["seconds"] for stage in json.loads(report.read_text())["stages"]})


def rounds(cases, count):
    for number in range(count):
        turn = number % len(cases)
        for case in cases[turn:] + cases[:turn]:
            measure(case)
            run = case.runs[-1]
            print(f"round {number + 1}: {case.name}: {run.cpu_s:.2f} CPU s, {run.wall_s:.2f} s", file=sys.stderr)


def pipeline_run(name, binary, source, text, tokenizer, threads, *flags):
    out = WORK / "out" / name.replace(" ", "_").replace("/", "_")
    command = [binary, "run", str(source), "--tokenizer", str(tokenizer), "--out", str(out), "--val-fraction", "0"]
    command += ["--threads", str(threads), "--json", *flags]
    return Case(name, command, text, out, "tokens/train-*.bin")


def peer(name, script, sliced, text, tokenizer, bin_glob, *flags):
    out = WORK / "out" / name.replace(" ", "_")
    command = [str(PEER_PYTHON), str(ROOT / "benches/peers" / script), str(sliced), "--tokenizer", str(tokenizer)]
    command += ["--out", str(out), *flags]
    one_thread = {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return Case(name, command, text, out, bin_glob, one_thread)


def median(case, value):
    return statistics.median(getattr(run, value) for run in case.runs)


def spread(case, value, digits):
    values = [getattr(run, value) for run in case.runs]
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def rate(case):
    rates = [case.text_bytes / 1e6 / run.cpu_s for run in case.runs]
    digits = 1 if statistics.median(rates) < 100 else 0
    return f"{statistics.median(rates):.{digits}f} ({min(rates):.{digits}f}-{max(rates):.{digits}f})"


def table(title, cases, ours=None):
    """A Markdown table; with `ours`, the ratio of CPU seconds to that case, round by round."""
    print(f"\n### {title}\n")
    head = ["", "CPU s", "wall s", "MB/s a core", "peak MiB", "tokens", "ids"]
    if ours is not None:
        head.append("CPU s / project's")
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for case in cases:
        made = case.output
        tokens, ids = (f"{made['tokens']:,}", made["sha256"][:8]) if made else ("", "")
        cells = [case.name, spread(case, "cpu_s", 2), spread(case, "wall_s", 2), rate(case)]
        cells += [f"{median(case, 'peak_mib'):.0f}", tokens, ids]
        if ours is not None:
            ratios = [theirs.cpu_s / own.cpu_s for theirs, own in zip(case.runs, ours.runs)]
            cells.append(f"{statistics.median(ratios):.1f} ({min(ratios):.1f}-{max(ratios):.1f})")
        print("| " + " | ".join(cells) + " |")
    print_stages(cases)


def print_stages(cases):
    staged = [case for case in cases if case.stages]
    if not staged:
        return
    names = list(dict.fromkeys(stage for case in staged for times in case.stages for stage in times))
    print("\nWall seconds by stage, medians:\n\n| | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1))
    for case in staged:
        values = [[times.get(name) for times in case.stages] for name in names]
        cells = ["" if None in times else f"{statistics.median(times):.2f}" for times in values]
        print(f"| {case.name} | " + " | ".join(cells) + " |")


def check(args, binary, tokenizer):
    _, sliced, facts = prepare("bench150")
    own = Case("project", [binary, "check", str(sliced)], facts["slice"])
    script = peer("notebook", "notebook.py", sliced, facts["slice"], tokenizer, None, "--check-only")
    return beside(args, "Checking the format", own, [script])


def tokenize(args, binary, tokenizer):
    _, sliced, facts = prepare("bench150")
    text = facts["slice"]
    own = pipeline_run("project", binary, sliced, text, tokenizer, 1, "--dedup", "none", "--no-parquet")
    others = [
        pipeline_run("project, with Parquet", binary, sliced, text, tokenizer, 1, "--dedup", "none"),
        peer("notebook, transformers", "notebook.py", sliced, text, tokenizer, "*.bin"),
        peer("notebook, tokenizers", "notebook.py", sliced, text, tokenizer, "*.bin", "--engine", "tokenizers"),
        peer("datatrove", "datatrove_job.py", sliced, text, tokenizer, "tokens/*.ds"),
    ]
    return beside(args, "Tokenizing every document", own, others)


def job(args, binary, tokenizer):
    _, sliced, facts = prepare("bench150")
    text, where = facts["slice"], ["--where", FILTER, "--dedup", "exact"]
    own = pipeline_run("project", binary, sliced, text, tokenizer, 1, *where, "--no-parquet")
    others = [
        pipeline_run("project, with Parquet", binary, sliced, text, tokenizer, 1, *where),
        peer("datatrove", "datatrove_job.py", sliced, text, tokenizer, "tokens/*.ds", "--filter", "--dedup"),
    ]
    return beside(args, "Filter, exact dedup, tokenize", own, others)


def beside(args, title, own, others):
    cases = [own, *others]
    rounds(cases, args.rounds)
    table(title, cases, own)
    made = {case.output["sha256"] for case in cases if case.output}
    if len(made) > 1:
        print("\nThe ids DIFFER.")
    return cases


def stages(args, binary, tokenizer):
    every = []
    for corpus in args.corpora:
        source, _, facts = prepare(corpus)
        text = facts["whole"]

        def run(name, threads, *flags):
            return pipeline_run(f"{corpus}: {name}", binary, source, text, tokenizer, threads, *flags)

        where = ["--where", FILTER]
        cases = [
            Case(f"{corpus}: check", [binary, "check", str(source)], text),
            run("tokenize", 1, "--dedup", "none", "--no-parquet"),
            run("dedup, tokenize", 1, "--no-parquet"),
            run("dedup, tokenize, Parquet", 1),
            run("filter, dedup, tokenize", 1, *where, "--no-parquet"),
            run("filter, dedup, tokenize, Parquet", 1, *where),
            run("dedup, tokenize, 2 threads", 2, "--no-parquet"),
            run("dedup, tokenize, Parquet, 2 threads", 2),
        ]
        rounds(cases, args.rounds)
        table(f"{corpus}: {text / 1e6:.1f} MB of text", cases)
        every += cases
    return every


TABLES = {"check": check, "tokenize": tokenize, "job": job, "stages": stages}


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def load():
    return "load averages " + ", ".join(f"{value:.1f}" for value in os.getloadavg())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(TABLES))
    parser.add_argument("--pipeline", default=str(ROOT / "target/release/pipeline"))
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json; the notebook's where not given")
    parser.add_argument("--corpora", nargs="+", default=["bench150", "seedlike100"])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    tokenizer = args.tokenizer or corpora() / "tokenizers/minimind-v1-6400/tokenizer.json"
    before = load()
    cases = TABLES[args.what](args, args.pipeline, tokenizer)
    print(f"\n{machine()}; before: {before}; after: {load()}")
    record = [{"name": case.name, "runs": [vars(run) for run in case.runs], **case.output} for case in cases]
    (WORK / f"{args.what}.json").write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()

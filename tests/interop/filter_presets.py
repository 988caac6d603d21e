"""Verdicts of the presets gopher, c4 and fineweb beside datatrove's filters on the same documents.

    filter_presets.py PIPELINE TOKENIZER [DOCUMENTS.jsonl]

Without documents: on the example corpus and on made-up pages, whose differences stand in filter_presets.json with their
counts and reasons; one that is not listed, or another count, is a failure. With documents: counts them and lists
nothing. scripts/filter-presets makes the environment and calls this.
"""

import collections
import json
import pathlib
import random
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
    # datatrove cuts lines before it counts, as C4 does; the preset judges the page as it is.
    "c4": [C4QualityFilter],
    "fineweb": [FineWebQualityFilter],
}
HERE = pathlib.Path(__file__).parent
PAGES = 1500

SUBJECTS = ["The river", "Her brother", "A small shop", "The committee", "Nobody in the village", "This old bridge", "My neighbour's dog"]
VERBS = ["crossed", "has repaired", "will never forget", "looked at", "wrote about", "can't explain", "sold"]
OBJECTS = ["the northern road", "a box of tools", "that quiet winter", "three letters (two were lost)", "the price of bread", "1,250 tickets", "an e-mail from St. Ives"]
TAILS = ["before the rain came", "with some care and little money", "and then went home", "because it was late", "at 7:30 p.m.", "in 1998", ""]
ENDS = [".", ".", ".", "!", "?", "...", "…", '."', "", ":", " #1", " {x}"]
SHORT = ["Home", "- Read more", "* Contact us", "• Prices", "Share this page", "Log in", "###", "lorem ipsum dolor", "Use JavaScript to see it.", "Page 3", "© 2020", "Menu ..."]


def made_pages(count):
    """Pages of sentences, short lines, bullets and repeats; each seed gives one, near every threshold some."""
    for number in range(count):
        noise = random.Random(number)
        lines = []
        for _ in range(noise.choice([1, 2, 4, 8, 16, 30])):
            kind = noise.random()
            if kind < noise.choice([0.05, 0.3, 0.7]):
                lines.append(noise.choice(SHORT))
            elif kind < 0.8 or not lines:
                parts = [noise.choice(words) for words in (SUBJECTS, VERBS, OBJECTS, TAILS)]
                ends = ENDS if noise.random() < 0.5 else ENDS[:3]
                sentences = [" ".join(filter(None, parts)) + noise.choice(ends) for _ in range(noise.choice([1, 1, 3]))]
                lines.append(" ".join(sentences))
            elif kind < 0.9:
                lines.append(noise.choice(lines))
            else:
                lines.append("")
        yield noise.choice(["\n", "\n", "\n\n"]).join(lines)


def example_texts():
    for line in (HERE / "../../examples/quickstart/corpus.jsonl").read_bytes().splitlines():
        try:
            text = json.loads(line)["text"]
            text.encode("utf-8")
        except (AttributeError, ValueError, KeyError, TypeError, RecursionError):
            continue
        yield text


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


def compare(pipeline, tokenizer, texts, folder):
    """The differences of each preset: pairs of reasons with their counts, and one document each."""
    documents = pathlib.Path(folder) / "documents.jsonl"
    documents.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    found = {}
    for preset, kinds in FILTERS.items():
        filters = [kind() for kind in kinds]
        rules = ours(pipeline, tokenizer, documents, preset, folder)
        counts, shown, kept = collections.Counter(), {}, 0
        for line, text in enumerate(texts, 1):
            reason, rule = theirs(filters, text), rules.get(line)
            kept += reason is None
            if (reason is None) != (rule is None):
                pair = f"datatrove: {reason or 'kept'}; here: {rule or 'kept'}"
                counts[pair] += 1
                shown.setdefault(pair, text)
        print(f"{preset}: {len(texts)} documents, datatrove keeps {kept}, here {len(texts) - len(rules)}")
        for pair, count in counts.most_common():
            print(f"  {count:6} {pair}\n         {shown[pair][:100]!r}")
        found[preset] = counts
    return found


pipeline, tokenizer, *documents = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    if documents:
        texts = [json.loads(line)["text"] for line in open(documents[0], encoding="utf-8")]
        compare(pipeline, tokenizer, texts, folder)
        sys.exit()
    found = compare(pipeline, tokenizer, [*example_texts(), *made_pages(PAGES)], folder)
listed = json.loads((HERE / "filter_presets.json").read_text())
wrong = []
for preset, counts in found.items():
    expected = {pair: entry["count"] for pair, entry in listed.get(preset, {}).items()}
    for pair in sorted(expected.keys() | counts.keys()):
        if expected.get(pair, 0) != counts.get(pair, 0):
            wrong.append(f"{preset}: {pair}: listed {expected.get(pair, 0)}, found {counts.get(pair, 0)}")
print("\n".join(wrong))
sys.exit(1 if wrong else 0)

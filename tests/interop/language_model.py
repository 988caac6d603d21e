"""A model of `pipeline lm train` against modified Kneser-Ney smoothing in plain Python, and KenLM's own package.

    language_model.py make FILE                        JSON lines of made-up text
    language_model.py check FILE MODEL DATASET ORDER PRUNE

MODEL was trained on FILE with words split at white space; PRUNE is a number an order, by commas. DATASET was made of
FILE with the column perplexity of this model. Every word of FILE and of shuffled lines has the log10 probability of
the formulas, to 1e-4; each document has KenLM's perplexity, to 1e-3 (and half a unit of its one decimal).
"""

import collections
import json
import math
import pathlib
import random
import sys

import kenlm
import pyarrow.parquet

TOLERANCE = 1e-4


def make(path):
    noise = random.Random(5)
    words = ["".join(noise.choice("abcdefgh中文字") for _ in range(1 + noise.randrange(4))) for _ in range(400)]
    with open(path, "w", encoding="utf-8") as out:
        for number in range(600):
            lines, word = [], 0
            for _ in range(1 + noise.randrange(4)):
                line = []
                for _ in range(noise.randrange(14)):
                    # The next word mostly follows from the last, so that long n-grams repeat.
                    word = (word * 7 + noise.randrange(3)) % 400 if noise.random() < 0.8 else int(400 * noise.random() ** 3)
                    line.append(words[word])
                lines.append(" ".join(line))
            print(json.dumps({"id": str(number), "text": "\n".join(lines)}, ensure_ascii=False), file=out)


def sentences(path):
    for line in open(path, encoding="utf-8"):
        yield from (words for words in map(str.split, json.loads(line)["text"].split("\n")) if words)


class Model:
    """Chen and Goodman (1998), section 4.1.6; thresholds of pruning as Heafield et al. (2013) have them."""

    def __init__(self, corpus, order, prune):
        self.order = order
        occurrences = collections.Counter()
        for words in corpus:
            words = ["<s>", *words, "</s>"]
            for end in range(2, len(words) + 1):
                for start in range(max(0, end - order), end):
                    occurrences[tuple(words[start:end])] += 1
        before = collections.defaultdict(set)
        for gram in occurrences:
            before[gram[1:]].add(gram[0])
        longest = lambda gram: len(gram) == order or gram[0] == "<s>"
        self.counts = {gram: n if longest(gram) else len(before[gram]) for gram, n in occurrences.items()}
        self.kept = {gram for gram, n in occurrences.items() if n > prune[len(gram) - 1]}
        self.discounts = [self.estimate(length) for length in range(1, order + 1)]
        self.total = collections.Counter()
        self.left = collections.Counter()
        for gram, count in self.counts.items():
            self.total[gram[:-1]] += count
            self.left[gram[:-1]] += self.discounts[len(gram) - 1][min(count, 3)] if gram in self.kept else count
        self.types = len({gram for gram in self.counts if len(gram) == 1}) + 1

    def estimate(self, length):
        n = collections.Counter(count for gram, count in self.counts.items() if len(gram) == length)
        if not (n[1] and n[2] and n[3]):
            return [0, 0.5, 1, 1.5]
        y = n[1] / (n[1] + 2 * n[2])
        found = [0] + [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
        return found if all(0 <= d <= k for k, d in enumerate(found)) else [0, 0.5, 1, 1.5]

    def probability(self, word, context):
        if word is None:
            return self.left[()] / self.total[()] / self.types
        gram = (*context, word)
        shorter = self.probability(word, context[1:]) if context else 1 / self.types
        if context not in self.total:
            return shorter
        share = 0
        if gram in self.kept:
            share = self.counts[gram] - self.discounts[len(context)][min(self.counts[gram], 3)]
        return (share + self.left[context] * shorter) / self.total[context]

    def log10s(self, words):
        # Words that the corpus has not are <unk>, which follows from nothing.
        known = ["<s>", *(word if (word,) in self.counts else None for word in words), "</s>"]
        for end in range(1, len(known)):
            context = tuple(known[max(0, end + 1 - self.order) : end])
            while None in context:
                context = context[context.index(None) + 1 :]
            weight = 1.0
            if known[end] is None:
                while context:
                    weight *= self.left[context] / self.total[context] if context in self.total else 1
                    context = context[1:]
            yield math.log10(weight * self.probability(known[end], context))


def check(corpus, path, dataset, order, prune):
    ours, theirs = Model(sentences(corpus), order, prune), kenlm.Model(path)
    assert theirs.order == order
    noise = random.Random(6)
    lines = list(sentences(corpus))
    words = [word for line in lines for word in line]
    lines += [[*noise.choices(words, k=9), "unheard-of", noise.choice(words)] for _ in range(500)]
    compared = worst = 0
    for line in lines:
        scores = [score for score, _, _ in theirs.full_scores(" ".join(line))]
        expected = list(ours.log10s(line))
        assert len(scores) == len(expected)
        for found, right in zip(scores, expected):
            worst = max(worst, abs(10 ** (found - right) - 1))
            compared += 1
    assert worst < TOLERANCE, f"probabilities differ by up to {worst:.2g}"
    perplexities(corpus, theirs, dataset)
    print(f"{compared} probabilities, the worst off by {worst:.2g}")


def perplexities(corpus, model, dataset):
    texts = {row["id"]: row["text"] for row in map(json.loads, open(corpus, encoding="utf-8"))}
    documents = 0
    for shard in pathlib.Path(dataset).glob("data/*.parquet"):
        for row in pyarrow.parquet.read_table(shard, columns=["doc_id", "perplexity"]).to_pylist():
            words = texts[row["doc_id"]].split()
            right = 0 if not words else 10 ** (-model.score(" ".join(words)) / (len(words) + 1))
            assert abs(row["perplexity"] - right) <= 0.051 + 1e-3 * right, (row, right)
            documents += 1
    assert documents > 400, documents


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2])
    else:
        corpus, model, dataset, order, prune = sys.argv[2:]
        check(corpus, model, dataset, int(order), [int(n) for n in prune.split(",")])

"""`lang` and `lang_score` against the fastText package.

    fasttext_language.py make FOLDER         corpus.jsonl, model.bin and its quantised model.ftz
    fasttext_language.py check FOLDER DATASET MODEL

Every document's label is the package's first, its score to 1e-4; text is in lower case, line feeds are spaces.
"""

import collections
import json
import pathlib
import random
import sys

import fasttext
import pyarrow.parquet

ALPHABETS = {
    "en": "the of and water house river walking stone quickly under morning letters".split(),
    "fr": "le la et maison rivière pierre être déjà garçon lettres matin où".split(),
    "zh": "我们 今天 河水 石头 房子 早晨 已经 走路 文字 语言 模型 数据".split(),
}


def text(noise, words):
    line = lambda: " ".join(noise.choices(words, k=1 + noise.randrange(12)))
    return "\n".join(line() for _ in range(1 + noise.randrange(4)))


def make(folder):
    noise = random.Random(3)
    everything = sum(ALPHABETS.values(), [])
    with open(folder / "train.txt", "w", encoding="utf-8") as out:
        for _ in range(3000):
            label = noise.choice(list(ALPHABETS))
            print(f"__label__{label}", text(noise, ALPHABETS[label] + noise.sample(everything, 4)).replace("\n", " "), file=out)
    with open(folder / "corpus.jsonl", "w", encoding="utf-8") as out:
        for number in range(400):
            words = noise.sample(everything, 1 + noise.randrange(9)) + ["Unseen", "新词", "THE", "x" * noise.randrange(9)]
            print(json.dumps({"id": str(number), "text": text(noise, words)}), file=out)
    train = dict(input=str(folder / "train.txt"), dim=16, epoch=3, minn=2, maxn=4, bucket=5000, thread=1, verbose=0)
    model = fasttext.train_supervised(wordNgrams=2, **train)
    model.save_model(str(folder / "model.bin"))
    model = fasttext.train_supervised(loss="hs", **train)
    model.quantize(input=str(folder / "train.txt"), qnorm=True, retrain=False, cutoff=2000)
    model.save_model(str(folder / "model.ftz"))


def check(folder, dataset, path):
    model = fasttext.load_model(str(path))
    texts = {row["id"]: row["text"] for row in map(json.loads, open(folder / "corpus.jsonl", encoding="utf-8"))}
    labels, worst = [], 0
    for shard in dataset.glob("data/*.parquet"):
        for row in pyarrow.parquet.read_table(shard, columns=["doc_id", "lang", "lang_score"]).to_pylist():
            line = texts[row["doc_id"]].lower().replace("\n", " ")
            # The package's own `predict` does not work beside NumPy 2; this is what it calls.
            [(score, label)] = model.f.predict(line + "\n", 1, 0.0, "strict")
            assert label == "__label__" + row["lang"], (row, label, score)
            worst = max(worst, abs(score - row["lang_score"]))
            labels.append(label)
    assert len(labels) > 300 and len(set(labels)) == 3, collections.Counter(labels)
    assert worst < 1e-4, worst
    print(f"{len(labels)} labels, the worst score off by {worst:.2g}")


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[2])
    if sys.argv[1] == "make":
        make(folder)
    else:
        check(folder, pathlib.Path(sys.argv[3]), pathlib.Path(sys.argv[4]))

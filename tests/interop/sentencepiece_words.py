"""Pieces of SentencePiece models, as words of a language model, against the package.

    sentencepiece_words.py make FOLDER            corpus.jsonl; unigram.model, bpe.model, bytes.model
    sentencepiece_words.py check FOLDER NAME LM   LM was trained on corpus.jsonl with order 2 and the pieces of NAME

The probabilities of LM are those of the formulas over the package's pieces: one piece cut elsewhere changes some.
"""

import json
import pathlib
import random
import sys

import kenlm
import sentencepiece

from language_model import Model

WORDS = "walking quickly Rivers stones internationally ﬁne Ⅷ ½ ＡＢＣ １２３ ｶﾞ e\u0301te été don't 中文 数据集 语言模型 語言 한국어 हिन्दी".split()


def line(noise):
    words = noise.choices(WORDS, k=1 + noise.randrange(12))
    if noise.random() < 0.3:
        words.append(chr(noise.choice([0x1F600, 0x3042, 0x4E00, 0x100, 0xAC00, 0x10400]) + noise.randrange(60)))
    words.append("<mask>" if noise.random() < 0.1 else "")
    return noise.choice([" ", "  ", "", "\u3000"]).join(words) + noise.choice(["", " ", "。", "\t!"])


def make(folder):
    noise = random.Random(8)
    lines = [line(noise) for _ in range(3000)]
    plain = folder / "train.txt"
    plain.write_text("\n".join(lines[:2000]), encoding="utf-8")
    with open(folder / "corpus.jsonl", "w", encoding="utf-8") as out:
        for start in range(0, len(lines), 3):
            print(json.dumps({"text": "\n".join(lines[start : start + 3])}), file=out)
    train = lambda name, **how: sentencepiece.SentencePieceTrainer.train(
        input=str(plain), model_prefix=str(folder / name), minloglevel=2, **how
    )
    train("unigram", vocab_size=350, user_defined_symbols=["<mask>"])
    train("bpe", vocab_size=300, model_type="bpe", character_coverage=0.98)
    train("bytes", vocab_size=500, model_type="bpe", byte_fallback=True, character_coverage=0.98, user_defined_symbols=["<mask>"],
          normalization_rule_name="nfkc_cf", remove_extra_whitespaces=False)
    train("suffix", vocab_size=350, treat_whitespace_as_suffix=True, normalization_rule_name="nmt_nfkc_cf", byte_fallback=False)


def check(folder, name, path):
    cutter = sentencepiece.SentencePieceProcessor(model_file=str(folder / f"{name}.model"))
    corpus = []
    for row in map(json.loads, open(folder / "corpus.jsonl", encoding="utf-8")):
        corpus += [cutter.encode(text, out_type=str) for text in row["text"].split("\n")]
    corpus = [[word for piece in pieces for word in piece.split() if word != "<unk>"] for pieces in corpus]
    corpus = [words for words in corpus if words]
    right, found = Model(corpus, 2, [0, 0]), kenlm.Model(str(path))
    compared = worst = 0
    for words in corpus:
        scores = list(found.full_scores(" ".join(words)))
        assert not any(unknown for _, _, unknown in scores), words
        for (score, _, _), expected in zip(scores, right.log10s(words)):
            worst = max(worst, abs(10 ** (score - expected) - 1))
            compared += 1
    assert worst < 1e-4, f"probabilities differ by up to {worst:.2g}"
    print(f"{name}: {compared} pieces of {right.types} kinds, the worst probability off by {worst:.2g}")


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[2])
    if sys.argv[1] == "make":
        make(folder)
    else:
        check(folder, sys.argv[3], sys.argv[4])

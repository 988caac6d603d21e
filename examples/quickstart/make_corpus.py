#!/usr/bin/env python3
"""Makes corpus.jsonl, the quickstart's input, from source/*.txt.

The documents in source/ were written for this project. This script gives each the columns that filtered web corpora
carry (Data-Juicer's definitions), and mixes in what real inputs also hold: damaged lines, blank lines, exact
duplicates and rows of poor quality. It needs the Python standard library only, and the same sources give the same
bytes: nothing is random, lines are ordered by a hash of their id.

Usage: python3 make_corpus.py            writes corpus.jsonl beside this script and prints what is in it
       python3 make_corpus.py --check    compares with the corpus.jsonl that is there
"""

import collections
import hashlib
import json
import math
import pathlib
import re
import sys
import unicodedata

HERE = pathlib.Path(__file__).resolve().parent
HEADER = re.compile(r"^=== id=(\d+) lang=(\w+) industry_type=(\S+)$")

# Perplexity of a character is far from that of a word piece, and differs by script. Factor and exponent bring both to
# the range that a 5-gram KenLM gives: hundreds for prose, thousands for noise.
PERPLEXITY_SCALE = {"zh": (30.0, 0.4), "en": (100.0, 0.6)}


def read_sources():
    """The documents of source/*.txt, as (id, lang, industry_type, text)."""
    documents = []
    for path in sorted((HERE / "source").glob("*.txt")):
        head, body = None, []
        for line in path.read_text(encoding="utf-8").splitlines() + ["=== end"]:
            match = HEADER.match(line)
            if match or line == "=== end":
                if head:
                    documents.append((*head, "\n".join(body).strip("\n")))
                if match:
                    head, body = (int(match[1]), match[2], match[3]), []
            else:
                body.append(line)
    return documents


def is_han(char):
    return "CJK" in unicodedata.name(char, "")


def is_special(char):
    """Neither letter, number nor white space: close to Data-Juicer's list, which also holds digits and spaces."""
    return not char.isalpha()


def ngram_counts(items, n):
    return collections.Counter(tuple(items[i:i + n]) for i in range(len(items) - n + 1))


def char_rep_ratio(text):
    counts = ngram_counts(text, 10)
    if not counts:
        return 0.0
    frequencies = sorted(counts.values(), reverse=True)
    singletons = sum(1 for frequency in frequencies if frequency == 1)
    top = min(math.isqrt(len(frequencies)), len(frequencies) - singletons)
    return sum(frequencies[:top]) / sum(frequencies)


def word_rep_ratio(words):
    counts = ngram_counts([word.lower() for word in words], 10)
    total = sum(counts.values())
    return sum(frequency for frequency in counts.values() if frequency > 1) / total if total else 0.0


class Words:
    """Words of a text: split at white space, and runs of Han characters into pairs seen elsewhere in the corpus.

    A sentencepiece model does this for large corpora; recurring pairs are near enough for an example.
    """

    def __init__(self, texts):
        pairs = collections.Counter()
        for text in texts:
            pairs.update({a + b for a, b in zip(text, text[1:]) if is_han(a) and is_han(b)})
        self.pairs = {pair for pair, documents in pairs.items() if documents >= 3}

    def split(self, text):
        words = []
        for word in re.split(r"[ \n\t]+", text):
            start, plain = 0, ""
            while start < len(word):
                if not is_han(word[start]):
                    plain += word[start]
                    start += 1
                    continue
                if plain:
                    words.append(plain)
                    plain = ""
                step = 2 if word[start:start + 2] in self.pairs else 1
                words.append(word[start:start + step])
                start += step
            if plain:
                words.append(plain)
        stripped = (strip_special(word) for word in words)
        return [word for word in stripped if word]


def strip_special(word):
    while word and is_special(word[0]):
        word = word[1:]
    while word and is_special(word[-1]):
        word = word[:-1]
    return word


class Bigrams:
    """Character bigrams of one language, interpolated with unigrams; a text is scored without its own counts."""

    def __init__(self, texts):
        self.unigrams = collections.Counter("".join(texts))
        self.bigrams = collections.Counter(pair for text in texts for pair in zip(text, text[1:]))
        self.total = sum(self.unigrams.values())

    def perplexity(self, text, known):
        own_unigrams = collections.Counter(text) if known else {}
        own_bigrams = collections.Counter(zip(text, text[1:])) if known else {}
        own_total = len(text) if known else 0
        log_sum = 0.0
        for pair in zip(text, text[1:]):
            before = self.unigrams[pair[0]] - own_unigrams.get(pair[0], 0)
            after = self.unigrams[pair[1]] - own_unigrams.get(pair[1], 0)
            both = self.bigrams[pair] - own_bigrams.get(pair, 0)
            unigram = (after + 0.1) / (self.total - own_total + 10_000 * 0.1)
            bigram = both / before if before > 0 else 0.0
            log_sum += math.log(0.6 * bigram + 0.4 * unigram)
        return math.exp(-log_sum / max(1, len(text) - 1))


def lang_score(text, lang):
    """Share of the letters that are of the language's main script."""
    letters = [char for char in text if char.isalpha()]
    if not letters:
        return 0.0
    if lang == "zh":
        return sum(map(is_han, letters)) / len(letters)
    return sum(1 for char in letters if char.isascii()) / len(letters)


def quality_row(document, words, models, known=True):
    ident, lang, industry, text = document
    lines = text.splitlines()
    in_words = words.split(text)
    factor, exponent = PERPLEXITY_SCALE[lang]
    perplexity = factor * models[lang].perplexity(text, known) ** exponent
    return {
        "text": text,
        "alnum_ratio": round(sum(map(str.isalnum, text)) / len(text), 10),
        "avg_line_length": round(len(text) / len(lines), 10),
        "char_rep_ratio": round(char_rep_ratio(text), 10),
        "flagged_words_ratio": 0.0,
        "industry_type": industry,
        "lang": lang,
        "lang_score": round(lang_score(text, lang), 10),
        "max_line_length": max(map(len, lines)),
        "num_words": len(in_words),
        "perplexity": round(perplexity, 1),
        "special_char_ratio": round(sum(map(is_special, text)) / len(text), 10),
        "word_rep_ratio": round(word_rep_ratio(in_words), 10),
        "id": ident,
    }


# Rows that the filter of config.toml drops: noise (perplexity), another language than the label says (lang_score).
POOR = [
    (9001, "en", "technology", "xK9#qZ vv0 jjQ~w7 zzPx|4 Gh^kk2 bqX xw zvj Qq8} kfj; wZx qpV jX3 vQk zJ7 xxq hZ# wvK 9Qz"),
    (9002, "zh", "科技", "鼃鼋鼍龠龢籥籲爨灩鑾鱺鸞鷟齾齉龗靐麤飝驫贔爩虪纞黶讟鬱躪矚饢鑿韊"),
    (9003, "en", "finance", "|| 4,201 || 17.3 %% || 88-0931 || @@ 12:07 || 3,950 || 16.9 %% || 88-0932 || @@ 12:09 || 4,018 ||"),
    (9004, "zh", "旅游", "Купить билеты на поезд дешево, расписание и отзывы. Бронирование онлайн. 点击这里"),
    (9005, "en", "travel", "Это объявление попало сюда по ошибке: комната у моря, тихо, недорого. Call us."),
    (9006, "zh", "教育", "Click here to subscribe. Terms and conditions apply. All rights reserved. 下一页"),
]


def poor_lines(words, models):
    rows = [quality_row(document, words, models, known=False) for document in POOR]
    rows[2]["flagged_words_ratio"] = 0.0625
    return [json.dumps(row, ensure_ascii=False).encode() for row in rows]


def unmeasured_line(words, models):
    """A row without the column that the filter asks for: the expression is NULL, and that is a rule of its own."""
    text = "A short note whose quality nobody has measured: the river rose again last night, but not over the path."
    row = quality_row((9050, "en", "travel", text), words, models, known=False)
    row["perplexity"] = None
    return [json.dumps(row).encode()]


DAMAGED = [
    b'{"text": "This line was cut in the middle of a character \xe4\xb8", "perplexity": 300.0, "lang_score": 1.0, "id": 9101}',
    b'{"text": "A stray byte \xff from another encoding", "perplexity": 300.0, "lang_score": 1.0, "id": 9102}',
    '{"text": "这一行是用国标码存的", "perplexity": 300.0, "lang_score": 1.0, "id": 9103}'.encode("gb18030"),
    b'{"text": "The writer of this line was interrupted before',
    b"{'text': 'Python printed this dictionary, nobody wrote JSON', 'perplexity': 300.0, 'id': 9105}",
    b'{"text": "A comma too many", "perplexity": 300.0, "lang_score": 1.0, "id": 9106,}',
    b'{"text": "Two objects on a line", "perplexity": 300.0, "lang_score": 1.0, "id": 9107}{"text": "and the second one"}',
    b'{"text": "Which of the two is it?", "text": "Nobody knows.", "perplexity": 300.0, "lang_score": 1.0, "id": 9108}',
    b'{"text": "Not a number is not a number", "perplexity": NaN, "lang_score": 1.0, "id": 9109}',
    b'{"text": "Half of a pair: \\ud83d", "perplexity": 300.0, "lang_score": 1.0, "id": 9110}',
    b'[["text", "An array is not a document"], ["id", 9111]]',
    b'{"content": "The text is under another name here", "perplexity": 300.0, "lang_score": 1.0, "id": 9112}',
    b'{"text": null, "perplexity": 300.0, "lang_score": 1.0, "id": 9113}',
    b'{"text": ["two", "paragraphs"], "perplexity": 300.0, "lang_score": 1.0, "id": 9114}',
    b'{"text": "The column of the filter holds words here", "perplexity": "low", "lang_score": 1.0, "id": 9115}',
    b'{"text": "Too deep", "nested": ' + b"[" * 200 + b"]" * 200 + b', "perplexity": 300.0, "lang_score": 1.0, "id": 9116}',
]

BLANK = [b"", b"   ", b"\t", b"\r"]

DUPLICATES = 8


def duplicate_lines(rows):
    """Every 17th document again under another id, as re-crawled pages come."""
    copies = []
    for index in range(DUPLICATES):
        row = dict(rows[(index * 17 + 5) % len(rows)])
        row["id"] = 9201 + index
        copies.append(json.dumps(row, ensure_ascii=False).encode())
    return copies


def place(line):
    return hashlib.sha256(line).digest()


def make():
    documents = read_sources()
    words = Words([document[3] for document in documents])
    models = {lang: Bigrams([d[3] for d in documents if d[1] == lang]) for lang in ("zh", "en")}
    rows = [quality_row(document, words, models) for document in documents]
    good = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    groups = {
        "good": good,
        "duplicate": duplicate_lines(rows),
        "poor": poor_lines(words, models),
        "unmeasured": unmeasured_line(words, models),
        "damaged": DAMAGED,
    }
    lines = sorted((line for group in groups.values() for line in group), key=place)
    step = len(lines) // len(BLANK)
    for index, blank in enumerate(BLANK):
        lines.insert(index * step + 3, blank)
    counts = {name: len(group) for name, group in groups.items()}
    counts["blank"] = len(BLANK)
    return b"".join(line + b"\n" for line in lines), counts, rows


def main():
    corpus, counts, rows = make()
    path = HERE / "corpus.jsonl"
    if "--check" in sys.argv[1:]:
        if path.read_bytes() != corpus:
            sys.exit("corpus.jsonl is not what make_corpus.py makes: run it and check the result in")
        return
    path.write_bytes(corpus)
    print(f"{path.name}: {len(corpus):,} bytes, {corpus.count(10)} lines: {counts}")
    for lang in ("zh", "en"):
        values = sorted(row["perplexity"] for row in rows if row["lang"] == lang)
        scores = sorted(row["lang_score"] for row in rows if row["lang"] == lang)
        print(f"{lang}: {len(values)} documents, perplexity {values[0]} - {values[-1]}, lang_score from {scores[0]}")


if __name__ == "__main__":
    main()

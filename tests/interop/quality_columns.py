"""Quality columns against the definitions in plain Python.

    quality_columns.py make FILE            JSON lines of text that breaks measures
    quality_columns.py check DATASET SPECIAL   every value of data/ against the definition, to the last digit

SPECIAL lists Data-Juicer's special characters, as `U+0009` a line. The dataset was made with words split at white
space, so that n-grams are compared, not word splitters.
"""

import collections
import json
import math
import pathlib
import random
import re
import sys
import unicodedata

ALPHABETS = [
    "abcdefghij ABC ",
    "的一是不了人我在有他这上士 ，。！",
    " \n\t.,!?-…#•{[]12“”\"'",
    "\r\n\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029\u3000\xa0\u200b a",
    "ÀÉîõßİıΣσςǅⅧ½²①ⓂⓜₐªÅ",
    "हिन्दी ไทย العربية עברית 한국어 にほん",
    "😀👨‍👩‍👧🇨🇳❤️⚡ x",
]
WORDS = "the be to of and that have with lorem ipsum javascript cookie Policy 中文 don't [12] [edit] end. stop! wait...".split()


def random_text(noise):
    kind = noise.randrange(4)
    if kind == 0:
        return "".join(noise.choice(noise.choice(ALPHABETS)) for _ in range(noise.randrange(200)))
    if kind == 1:
        piece = "".join(noise.choice(noise.choice(ALPHABETS)) for _ in range(1 + noise.randrange(30)))
        return piece * (1 + noise.randrange(20))
    lines = []
    for _ in range(1 + noise.randrange(20)):
        words = [noise.choice(WORDS) for _ in range(noise.randrange(15))]
        lines.append(noise.choice(["", "- ", "• ", " "]) + noise.choice([" ", " ", ", "]).join(words))
    if kind == 3:
        lines += lines[: noise.randrange(len(lines) + 1)]
    return noise.choice(["\n", "\n", "\n\n", "\r\n", "\n\n\n"]).join(lines)


def make(path):
    noise = random.Random(7)
    every = "".join(chr(code) for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000)
    texts = [every[start : start + 997] for start in range(0, len(every), 997)]
    texts += [random_text(noise) for _ in range(3000)]
    with open(path, "w", encoding="utf-8", newline="\n") as out:
        for text in texts:
            out.write(json.dumps({"text": text}) + "\n")


def ratio(part, whole):
    return part / whole if whole else 0.0


def strip_special(word, special):
    start, end = 0, len(word)
    while start < end and word[start] in special:
        start += 1
    while end > start and word[end - 1] in special:
        end -= 1
    return word[start:end]


def data_juicer(text, special):
    lines = text.splitlines()
    grams = collections.Counter(text[i : i + 10] for i in range(len(text) - 9))
    counts = sorted(grams.values(), reverse=True)
    most = min(int(math.sqrt(len(counts))), len(counts) - counts.count(1))
    words = [word for word in re.split("[ \n\t]", text) if word]
    refined = [word for word in (strip_special(word.lower(), special) for word in words) if word]
    word_grams = collections.Counter(" ".join(refined[i : i + 10]) for i in range(len(refined) - 9))
    return {
        "alnum_ratio": ratio(sum(c.isalnum() for c in text), len(text)),
        "avg_line_length": ratio(len(text), len(lines)),
        "max_line_length": max(map(len, lines), default=0),
        "char_rep_ratio": ratio(sum(counts[:most]), sum(counts)),
        "word_rep_ratio": ratio(sum(n for n in word_grams.values() if n > 1), sum(word_grams.values())),
        "special_char_ratio": ratio(sum(c in special for c in text), len(text)),
        "num_words": sum(1 for word in words if strip_special(word, special)),
        "n_chars": len(text),
        "n_lines": len(lines),
        "newline_ratio": ratio(text.count("\n"), len(text)),
    }


def duplicates(elements):
    seen, count, chars = set(), 0, 0
    for element in elements:
        if element in seen:
            count, chars = count + 1, chars + len(element)
        seen.add(element)
    return count, chars


def top_gram(words, n):
    grams = [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
    if not grams:
        return 0
    gram, count = collections.Counter(grams).most_common(1)[0]
    return len(gram) * count


def repeated_grams(words, n):
    seen, chars, at = set(), 0, 0
    while at + n <= len(words):
        gram = "".join(words[at : at + n])
        if gram in seen:
            chars, at = chars + len(gram), at + n
        else:
            seen.add(gram)
            at += 1
    return chars


def gopher(text):
    words = [word for word in re.split("[ \n\t]", text) if word]
    lines, paragraphs = re.split("\n+", text), re.split(r"\n{2,}", text.strip())
    pieces = text.splitlines()
    stop = {"the", "be", "to", "of", "and", "that", "have", "with"}
    dots = sum(line.rstrip().endswith(("...", "…")) for line in pieces)
    found = {
        "gopher_hash_ratio": ratio(text.count("#"), len(words)),
        "gopher_ellipsis_ratio": ratio(text.count("...") + text.count("…"), len(words)),
        "gopher_bullet_line_frac": ratio(sum(line.lstrip().startswith(("•", "-")) for line in pieces), len(pieces)),
        "gopher_ellipsis_line_frac": ratio(dots, len(pieces)),
        "gopher_alpha_word_frac": ratio(sum(any(c.isalpha() for c in word) for word in words), len(words)),
        "gopher_stop_words": len(stop.intersection(words)),
        "gopher_dup_para_frac": ratio(duplicates(paragraphs)[0], len(paragraphs)),
        "gopher_dup_para_char_frac": ratio(duplicates(paragraphs)[1], len(text)),
        "gopher_dup_line_frac": ratio(duplicates(lines)[0], len(lines)),
        "gopher_dup_line_char_frac": ratio(duplicates(lines)[1], len(text)),
        "fineweb_new_line_ratio": ratio(text.count("\n"), len(words)),
    }
    found |= {f"gopher_top_{n}gram_char_frac": ratio(top_gram(words, n), len(text)) for n in (2, 3, 4)}
    found |= {f"gopher_dup_{n}gram_char_frac": ratio(repeated_grams(words, n), len(text)) for n in range(5, 11)}
    return found


def fineweb(text):
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        return {"fineweb_n_lines": 0, "fineweb_short_line_ratio": 0.0, "fineweb_char_dup_ratio": 0.0}
    return {
        "fineweb_n_lines": len(lines),
        "fineweb_short_line_ratio": ratio(sum(len(line) <= 30 for line in lines), len(lines)),
        "fineweb_char_dup_ratio": ratio(duplicates(lines)[1], len(text.replace("\n", ""))),
    }


def c4(text):
    lines, kept, lorem, bracket = text.splitlines(), 0, 0, 0
    for line in map(str.strip, lines):
        words = line.split()
        line = re.sub(r"\[\d*]|\[edit]|\[citation needed]", "", line)
        lower = line.lower()
        if any(len(word) > 1000 for word in words) or not line.endswith((".", "?", "!", '"', "'")):
            continue
        if line.endswith("...") or len(words) < 3:
            continue
        if "lorem ipsum" in lower:
            lorem += 1
        elif "javascript" not in lower and "{" in line:
            bracket += 1
        elif "javascript" not in lower:
            policies = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
            kept += not any(policy in lower for policy in policies)
    return {"c4_lorem_ipsum": lorem, "c4_curly_bracket": bracket, "c4_kept_line_frac": ratio(kept, len(lines))}


def check(dataset, special_file):
    import pyarrow.parquet as pq

    codes = [line[2:] for line in pathlib.Path(special_file).read_text().splitlines() if line.startswith("U+")]
    special = {chr(int(code.split()[0], 16)) for code in codes}
    documents = 0
    for path in sorted((pathlib.Path(dataset) / "data").glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            text = row["text"]
            assigned = all(unicodedata.category(c) != "Cn" for c in text)
            expected = data_juicer(text, special) | gopher(text) | fineweb(text) | c4(text)
            for name, value in expected.items():
                # A code point that this Python does not know yet may be a letter for ours, or the other way round.
                if row[name] != value and (assigned or name not in ("alnum_ratio", "gopher_alpha_word_frac")):
                    sys.exit(f"{row['doc_id']}: {name} is {row[name]!r}, by the definition {value!r}: {text[:200]!r}")
            documents += 1
    assert documents > 3000, documents
    print(documents, "documents, every value equal")


if sys.argv[1] == "make":
    make(sys.argv[2])
else:
    check(*sys.argv[2:])

"""The notebook's way from JSONL to uint16, written anew: jsonlines, Hugging Face tokenizer, one array of ids.

It makes the passes the notebook makes (count, check, copy without damaged lines, count again, tokenize) with the
libraries it uses. Where the notebook loses data this script does not, so that its output can be compared:

- every flush appends; the notebook opens the file anew each time and keeps the last flush alone;
- a damaged line costs that line; the notebook may lose the rest of a chunk;
- an id that does not fit uint16 stops the run; text that looks like a special token is encoded as text.

`--max-chars 512` is the notebook's limit and off by default. `--engine tokenizers` batches through the `tokenizers`
package instead of calling the `transformers` object once a document: the faster way a Python user has.
"""

import argparse
import itertools
import json
import sys
from pathlib import Path

import jsonlines
import numpy as np
from tqdm import tqdm

CHUNK_LINES = 5_000
FLUSH_TOKENS = 1_000_000


def count_lines(path):
    with open(path, "rb") as lines:
        return sum(1 for _ in lines)


def check(path):
    """Numbers of lines that are not UTF-8 or not JSON."""
    invalid = []
    with open(path, "rb") as lines:
        for number, line in enumerate(tqdm(lines, total=count_lines(path), desc="checking"), start=1):
            try:
                jsonlines.Reader([line.decode("utf-8")]).read()
            except (UnicodeDecodeError, jsonlines.InvalidLineError):
                invalid.append(number)
    return invalid


def copy_without(path, clean, invalid):
    refused = set(invalid)
    with open(path, "rb") as source, open(clean, "wb") as target:
        for number, line in enumerate(source, start=1):
            if number not in refused:
                target.write(line)


def load_engine(name, tokenizer):
    """A function from texts to lists of ids, BOS and EOS included."""
    if name == "transformers":
        from transformers import AutoTokenizer

        auto = AutoTokenizer.from_pretrained(tokenizer.parent)
        bos, eos = auto.bos_token_id, auto.eos_token_id
        options = {"add_special_tokens": False, "split_special_tokens": True}
        return lambda texts: [[bos, *auto(text, **options)["input_ids"], eos] for text in texts]
    from tokenizers import Tokenizer

    fast = Tokenizer.from_file(str(tokenizer))
    fast.encode_special_tokens = True
    config = json.loads((tokenizer.parent / "tokenizer_config.json").read_text())
    bos, eos = fast.token_to_id(config["bos_token"]), fast.token_to_id(config["eos_token"])

    def encode(texts):
        return [[bos, *encoding.ids, eos] for encoding in fast.encode_batch_fast(texts, add_special_tokens=False)]

    return encode


def append(path, ids):
    array = np.array(ids, dtype=np.int64)
    if array.size and array.max() > np.iinfo(np.uint16).max:
        sys.exit(f"id {array.max()} does not fit uint16")
    with open(path, "ab") as out:
        out.write(array.astype("<u2").tobytes())


def tokenize(path, out, engine, max_chars):
    """Writes ids; returns documents and tokens written."""
    out.write_bytes(b"")
    documents = tokens = 0
    ids = []
    total = count_lines(path)
    with jsonlines.open(path) as reader, tqdm(total=total, desc="tokenizing") as bar:
        while chunk := list(itertools.islice(reader, CHUNK_LINES)):
            texts = [row["text"] for row in chunk if isinstance(row, dict) and row.get("text")]
            if max_chars is not None:
                texts = [text for text in texts if len(text) <= max_chars]
            for encoded in engine(texts):
                ids += encoded
                tokens += len(encoded)
            documents += len(texts)
            bar.update(len(chunk))
            if len(ids) > FLUSH_TOKENS:
                append(out, ids)
                ids = []
    append(out, ids)
    return documents, tokens


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--max-chars", type=int)
    parser.add_argument("--engine", choices=["transformers", "tokenizers"], default="transformers")
    parser.add_argument("--check-only", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    invalid = check(args.input)
    result = {"invalid": len(invalid)}
    if not args.check_only:
        clean, ids = args.out / "clean.jsonl", args.out / "pretrain_data.bin"
        copy_without(args.input, clean, invalid)
        engine = load_engine(args.engine, args.tokenizer)
        documents, tokens = tokenize(clean, ids, engine, args.max_chars)
        result |= {"documents": documents, "tokens": tokens, "bin": str(ids)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()

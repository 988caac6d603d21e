"""The same job with datatrove 0.10.1: read JSONL, filter on two columns, exact dedup, tokenize to uint16.

Three pipelines, as its exact dedup asks for: signatures, finding, then the pass that drops and tokenizes; the input is
read and filtered twice. One task and one worker each, in this process. Its tokenizer step is told to write BOS and EOS,
not to shuffle, and to encode text that looks like a special token as text, so that its ids are to equal ours.

Not comparable: it writes no Parquet, no rejects, no checksums and no ledger, and does not check lines one by one
(what it does with a damaged line is told in docs/RESULTS.md).
"""

import argparse
import json
import shutil
from functools import cached_property
from pathlib import Path

from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup.exact_dedup import (
    ExactDedupConfig,
    ExactDedupFilter,
    ExactDedupSignature,
    ExactFindDedups,
)
from datatrove.pipeline.filters import LambdaFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing


class PlainTokenizer(DocumentTokenizer):
    """Documents as BOS, text, EOS; special tokens in the text are text."""

    @cached_property
    def tokenizer(self):
        path = Path(self.tokenizer_name_or_path)
        config = json.loads((path.parent / "tokenizer_config.json").read_text())
        bos, eos = config["bos_token"], config["eos_token"]
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.encode_special_tokens = True
        ids = [(token, tokenizer.token_to_id(token)) for token in (bos, eos)]
        tokenizer.post_processor = TemplateProcessing(single=f"{bos} $A {eos}", special_tokens=ids)
        return tokenizer


def content(document: Document) -> str:
    return document.text


def wanted(document: Document) -> bool:
    return document.metadata["perplexity"] <= 800 and document.metadata["lang_score"] >= 0.6


def everything(document: Document) -> bool:
    return True


def run(name, steps, args):
    logging = args.out / "logs" / name
    LocalPipelineExecutor(pipeline=steps, tasks=1, workers=1, logging_dir=str(logging)).run()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--filter", action="store_true", help="perplexity <= 800 and lang_score >= 0.6")
    parser.add_argument("--dedup", action="store_true", help="exact")
    args = parser.parse_args()
    shutil.rmtree(args.out, ignore_errors=True)
    folder = {name: str(args.out / name) for name in ("signatures", "duplicates", "tokens")}
    config = ExactDedupConfig(content_getter=content)
    read = [
        JsonlReader(str(args.input.parent), glob_pattern=args.input.name, file_progress=False),
        LambdaFilter(wanted if args.filter else everything),
    ]
    tokenize = PlainTokenizer(
        folder["tokens"], tokenizer_name_or_path=str(args.tokenizer), shuffle_documents=False, batch_size=1000
    )
    if args.dedup:
        run("signatures", [*read, ExactDedupSignature(folder["signatures"], config)], args)
        run("find", [ExactFindDedups(folder["signatures"], folder["duplicates"], config)], args)
        read.append(ExactDedupFilter(folder["duplicates"], config))
    run("tokenize", [*read, tokenize], args)
    (ids,) = (args.out / "tokens").glob("*.ds")
    documents = ids.with_name(ids.name + ".index").stat().st_size // 8
    print(json.dumps({"documents": documents, "tokens": ids.stat().st_size // 2, "bin": str(ids)}))


if __name__ == "__main__":
    main()

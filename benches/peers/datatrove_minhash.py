"""Near-dedup by datatrove's MinHash, its four stages in this process: datatrove_minhash.py INPUT.jsonl OUT LANGUAGE

18 bands of 7 rows and shingles of 5 words, as `pipeline run --dedup minhash` has by default at threshold 0.8. Writes the
ids of the documents it keeps to OUT/kept.txt. Needs spaCy and jieba beside datatrove.
"""

import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
from datatrove.pipeline.readers import JsonlReader
from datatrove.utils.typeshelper import Languages


def main():
    source, out, language = Path(sys.argv[1]), Path(sys.argv[2]), getattr(Languages, sys.argv[3])
    config = MinhashConfig(n_grams=5, num_buckets=18, hashes_per_bucket=7)
    folder = {name: str(out / name) for name in ["signatures", "buckets", "remove"]}

    def reader():
        return JsonlReader(str(source.parent), glob_pattern=source.name)

    def keep(data, rank=0, world_size=1):
        with open(out / "kept.txt", "w", encoding="utf-8") as kept:
            for document in data:
                kept.write(document.id + "\n")
                yield document

    stages = [
        ([reader(), MinhashDedupSignature(folder["signatures"], config=config, language=language)], 1),
        ([MinhashDedupBuckets(folder["signatures"], folder["buckets"], config=config)], 18),
        ([MinhashDedupCluster(folder["buckets"], folder["remove"], config=config)], 1),
        ([reader(), MinhashDedupFilter(folder["remove"]), keep], 1),
    ]
    for number, (steps, tasks) in enumerate(stages):
        LocalPipelineExecutor(steps, tasks=tasks, workers=1, logging_dir=str(out / "logs" / str(number))).run()


if __name__ == "__main__":
    main()

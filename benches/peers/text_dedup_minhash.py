"""Near-dedup by text-dedup 0.4's MinHash: text_dedup_minhash.py INPUT.jsonl OUT

18 bands of 7 rows and shingles of 5 words, one process. Writes the ids of the documents it keeps to OUT/kept.txt.
"""

import os
import subprocess
import sys
from pathlib import Path

from datasets import load_from_disk


def main():
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    settings = {"path": "json", "data_files": source, "split": "train", "column": "text", "output": out / "data",
                "cache_dir": out / "cache", "num_proc": 1, "ngram": 5, "min_length": 1, "num_perm": 126, "b": 18, "r": 7}
    command = [sys.executable, "-m", "text_dedup.minhash"]
    for name, value in settings.items():
        command += [f"--{name}", str(value)]
    environment = {**os.environ, "HF_HOME": str((out / "cache").absolute())}
    subprocess.run(command, check=True, env=environment)
    kept = load_from_disk(str(out / "data"))["id"]
    (out / "kept.txt").write_text("".join(f"{name}\n" for name in kept), encoding="utf-8")


if __name__ == "__main__":
    main()

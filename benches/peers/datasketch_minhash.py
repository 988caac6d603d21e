"""Near-dedup by datasketch's MinHashLSH, the formula that text-dedup has too: datasketch_minhash.py INPUT.jsonl OUT

126 permutations, 18 bands of 7 rows, shingles of 5 of our units (words, or characters of scripts without spaces), the
first document of each connected component stays. Writes the ids of the documents it keeps to OUT/kept.txt.
"""

import json
import sys
from pathlib import Path

from datasketch import MinHash, MinHashLSH
from near_units import shingles


def main():
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    index = MinHashLSH(num_perm=126, params=(18, 7))
    first = {}

    def root(name):
        while first[name] != name:
            first[name] = first[first[name]]
            name = first[name]
        return name

    with open(source, encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            first[row["id"]] = row["id"]
            sketch = MinHash(num_perm=126)
            sketch.update_batch([shingle.encode() for shingle in shingles(row["text"])])
            for other in index.query(sketch):
                first[root(row["id"])] = root(other)
            index.insert(row["id"], sketch)
    kept = [name for name in first if root(name) == name]
    (out / "kept.txt").write_text("".join(name + "\n" for name in kept), encoding="utf-8")


if __name__ == "__main__":
    main()

"""gigatoken, measured as benches/peers/encoders measures crates: gigatoken_encode.py TOKENIZER.json TEXTS.jsonl PASSES IDS

One thread. Texts are handed over as a list of bytes; the time holds the conversion of the ids to an array, as there is
no call that leaves it out.
"""

import json
import struct
import sys
import time

import gigatoken
import numpy

BATCH = 64


def main():
    path, corpus, passes, out = sys.argv[1:]
    with open(corpus, "rb") as lines:
        texts = [json.loads(line).encode("utf-8") for line in lines]
    tokenizer = gigatoken.Tokenizer(path)
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    seconds = []
    for _ in range(int(passes)):
        start = time.process_time()
        for batch in batches:
            tokenizer.encode_batch(batch, parallel=False)
        seconds.append(time.process_time() - start)
    with open(out, "wb") as ids:
        for text in texts:
            encoded = numpy.asarray(tokenizer.encode(text), dtype="<u4")
            ids.write(struct.pack("<I", len(encoded)) + encoded.tobytes())
    print(json.dumps({"cold_s": seconds[0], "warm_s": sum(seconds[1:]) / max(len(seconds) - 1, 1)}))


main()

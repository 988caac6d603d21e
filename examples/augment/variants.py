"""Versions of documents from a checkpoint of this project, for `[augment] command`.

    [augment]
    command = ["python3", "examples/augment/variants.py", "out/quickstart/model"]

Each version is the document's first sentence, and what the model goes on with. `trainer` must be on the PATH, or its
path in the variable TRAINER. Greedy, so that the same documents give the same versions.
"""

import json
import os
import re
import subprocess
import sys
import tempfile

checkpoint = sys.argv[1]
requests = [json.loads(line) for line in sys.stdin]
prompts = [re.split(r"(?<=[。！？!?.])", " ".join(request["text"].split()), maxsplit=1)[0] for request in requests]
versions = {}
if prompts:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt") as file:
        file.write("".join(prompt + "\n" for prompt in prompts))
        file.flush()
        command = [os.environ.get("TRAINER", "trainer"), "generate", "--checkpoint", checkpoint, "--prompts", file.name,
                   "--max-new-tokens", "64", "--temperature", "0", "--window", "--json"]
        answers = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode("utf-8")
    for event in map(json.loads, answers.splitlines()):
        if event["event"] == "text":
            versions[event["number"]] = event["prompt"] + event["text"]
for number, request in enumerate(requests):
    print(json.dumps({"id": request["id"], "text": versions.get(number)}, ensure_ascii=False))

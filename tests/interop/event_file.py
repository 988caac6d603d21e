"""TensorBoard's own loader reads the event files of a run: every number of metrics.jsonl. Usage: event_file.py OUT"""

import json
import pathlib
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

out = pathlib.Path(sys.argv[1])
accumulator = EventAccumulator(str(out / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0}).Reload()
found = {}
for tag in accumulator.Tags()["scalars"]:
    found |= {(tag, event.step): event.value for event in accumulator.Scalars(tag)}
for tag in accumulator.Tags()["tensors"]:
    found |= {(tag, event.step): event.tensor_proto.float_val[0] for event in accumulator.Tensors(tag)}
expected = {}
for line in (out / "metrics.jsonl").read_text().splitlines():
    record = json.loads(line)
    for name, value in record.items():
        if name != "step" and isinstance(value, (int, float)):
            tag = "val/" + name[4:] if name.startswith("val_") else "train/" + name
            expected[tag, record["step"]] = value
assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
assert all(abs(found[key] - value) <= 1e-6 * abs(value) for key, value in expected.items())
print(len(found), "values of", len({tag for tag, _ in found}), "tags")

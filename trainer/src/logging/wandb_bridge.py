"""Follows OUT/metrics.jsonl and logs it to Weights & Biases, until standard input closes. Usage: OUT PROJECT CONFIG"""

import json
import pathlib
import select
import sys

import wandb

out, project, config = pathlib.Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
state = out / "wandb.json"
run_id = json.loads(state.read_text())["id"] if state.exists() else None
run = wandb.init(
    project=project,
    name=out.resolve().name,
    dir=str(out),
    id=run_id,
    resume="allow",
    config=config,
)
state.write_text(json.dumps({"id": run.id}))
metrics = out / "metrics.jsonl"
offset = 0


def send():
    """Logs the whole lines that were added; a file that was cut, as on resuming, is followed from its new end."""
    global offset
    if not metrics.exists():
        return
    if metrics.stat().st_size < offset:
        offset = metrics.stat().st_size
    with open(metrics, "rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                break
            offset += len(line)
            record = json.loads(line)
            run.log({name: value for name, value in record.items() if name != "step"}, step=record["step"])


while True:
    ended = bool(select.select([sys.stdin], [], [], 1.0)[0]) and not sys.stdin.buffer.read1(1)
    send()
    if ended:
        break
run.finish()

"""Gives the shares of a run to a Ray cluster as tasks: ray_driver.py SPEC.json

A share is a process of `pipeline task`; Ray places it, and places it again where it fails or its node dies.
"""

import json
import subprocess
import sys

import ray


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        spec = json.load(file)
    ray.init(address=spec["address"], logging_level="warning", log_to_driver=False)

    @ray.remote(num_cpus=spec["cpus"], max_retries=spec["retries"], retry_exceptions=True)
    def share(command: list[str]) -> None:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: exit {ended.returncode}\n{ended.stderr[-2000:]}")

    for step in spec["steps"]:
        print(f"stage {step['stage']}: {len(step['commands'])} shares", file=sys.stderr, flush=True)
        ray.get([share.options(name=step["stage"]).remote(command) for command in step["commands"]])


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""A Ray cluster of two nodes on this machine, for tests: ray-cluster.py ADDRESS_FILE PATH

Writes its address to a file, kills the second node without notice when PATH appears, starts another in its stead, and
serves until the file is gone.
"""

import pathlib
import sys
import time

from ray.cluster_utils import Cluster


def main() -> None:
    address_file, trigger = map(pathlib.Path, sys.argv[1:3])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    node = cluster.add_node(num_cpus=1)
    part = address_file.with_suffix(".part")
    part.write_text(cluster.address)
    part.rename(address_file)
    while not trigger.exists() and address_file.exists():
        time.sleep(0.02)
    cluster.remove_node(node, allow_graceful=False)
    cluster.add_node(num_cpus=1)
    address_file.with_name(address_file.name + ".killed").touch()
    while address_file.exists():
        time.sleep(0.1)
    cluster.shutdown()


if __name__ == "__main__":
    main()

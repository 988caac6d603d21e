#!/usr/bin/env bash
# cluster-setup.sh: what the tests of `pipeline launch` start: Debian's Slurm with munge (as root), and Ray in target/ray.
# Usage: scripts/cluster-setup.sh            (rerunning it is cheap)
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v slurmctld >/dev/null || ! command -v munged >/dev/null; then
  [[ $(id -u) = 0 ]] || { echo "cluster: Slurm is not installed, and only root can install it"; exit 1; }
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge
fi

ray_dir=${CARGO_TARGET_DIR:-target}/ray
requirement='ray==2.60.0'
if [[ $(cat "$ray_dir/requirement" 2>/dev/null) != "$requirement" ]]; then
  "${PYTHON:-python3}" -m venv "$ray_dir"
  "$ray_dir/bin/python" -m pip install --quiet --disable-pip-version-check "$requirement"
  echo "$requirement" > "$ray_dir/requirement"
fi
echo "cluster: $(slurmctld -V), $requirement"

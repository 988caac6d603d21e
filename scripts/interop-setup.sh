#!/usr/bin/env bash
# interop-setup.sh: a Python environment in target/interop with the tools that datasets are checked against.
# Versions are pinned, so a check that passed passes again. Rerunning it is cheap; delete target/interop to start over.
# Usage: scripts/interop-setup.sh            (PYTHON=python3.12 chooses another interpreter; 3.10 or later)
set -euo pipefail
cd "$(dirname "$0")/.."

interop_dir=${CARGO_TARGET_DIR:-target}/interop
requirements=scripts/interop-requirements.txt
stamp=$interop_dir/requirements.installed

if cat "$requirements" scripts/interop-setup.sh | cmp -s - "$stamp"; then
  echo "interop: $interop_dir is up to date"
  exit 0
fi
started=$(date +%s)
"${PYTHON:-python3}" -m venv "$interop_dir"
"$interop_dir/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
# Megatron-Core reads what we write with its own code. It declares torch, which its dataset reader does not need to
# read an index; without its dependencies it is a few megabytes.
"$interop_dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps 'megatron-core==0.12.1' \
  || echo "interop: megatron-core did not install; its test reports that"
# Language models; wheels for some versions of Python only. camel-kenlm is KenLM's package, built.
"$interop_dir/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
  'camel-kenlm==2026.2.7' 'fasttext-wheel==0.9.2' 'sentencepiece==0.2.3' \
  || echo "interop: kenlm, fasttext and sentencepiece did not install; their tests report that"
cat "$requirements" scripts/interop-setup.sh > "$stamp"
echo "interop: $interop_dir made in $(($(date +%s) - started)) s"

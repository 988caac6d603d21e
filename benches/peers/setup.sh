#!/usr/bin/env bash
# Makes target/peers: a Python environment with the peers, every package at the version the figures were taken with.
set -euo pipefail
cd "$(dirname "$0")/../.."
test -x target/peers/bin/python || python3 -m venv target/peers
target/peers/bin/pip install --quiet --disable-pip-version-check --requirement benches/peers/requirements.txt
target/peers/bin/python -c 'import datatrove, jsonlines, tokenizers, transformers; print("tokenizers", tokenizers.__version__, "transformers", transformers.__version__)'

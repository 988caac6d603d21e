#!/usr/bin/env bash
# Builds what benches/encoders.py runs: the Rust encoders, and target/peers-encoders with gigatoken.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release --manifest-path benches/peers/encoders/Cargo.toml --target-dir target/peers-encoders-build
test -x target/peers-encoders/bin/python || python3 -m venv target/peers-encoders
target/peers-encoders/bin/pip install --quiet --disable-pip-version-check gigatoken==0.10.0 numpy==2.4.6

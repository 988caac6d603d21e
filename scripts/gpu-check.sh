#!/usr/bin/env bash
# scripts/gpu-check.sh [--rehearse] TRAINER DATASET RESULTS: what there is to do on a machine with a GPU, in one call
# of under 10 minutes: every kernel and gradient (trainer gpu-check), compute-sanitizer where it is, the losses of a run
# beside the CPU's, throughput and MFU of the 26m and 124m models. Raw output goes to RESULTS, a short table comes last.
# Exit status 1: a part failed. --rehearse does what a machine without a GPU can do, and marks every line.
#
# Build where there is a network; carry program and dataset (a folder with a manifest), together below 64 MiB:
#   CUDA_HOME=$(scripts/cuda-toolkit) cargo build --release --workspace --bin trainer --features trainer/cuda
#   strip -o FOLDER/trainer target/release/trainer
set -uo pipefail
rehearse=
[[ ${1:-} == --rehearse ]] && { rehearse=1; shift; }
[[ $# == 3 ]] || { sed -n '2,9s/^#$//p; 2,9s/^# //p' "$0"; exit 2; }
trainer=$1 dataset=$2 results=$3 failed=0
mkdir -p "$results"
SECONDS=0
table=$results/table.txt
: >"$table"
mark=${rehearse:+REHEARSAL, no GPU: }

say() { echo "$mark$*" | tee -a "$table"; }

# part NAME SECONDS COMMAND...: runs a part within its time, keeps its output, notes how it ended.
part() {
  local name=$1 limit_s=$2 started=$SECONDS status=0
  shift 2
  timeout "$limit_s" "$@" >"$results/$name.log" 2>&1 || status=$?
  [[ $status == 0 ]] || failed=1
  say "$name: $([[ $status == 0 ]] && echo ok || echo "exit $status: $(tail -n 1 "$results/$name.log")") in $((SECONDS - started)) s"
}

# train NAME SECONDS FLAGS...: a short run that starts anew, without checkpoints on the way.
train() {
  local name=$1 limit_s=$2
  shift 2
  rm -rf "${results:?}/$name"
  part "$name" "$limit_s" "$trainer" pretrain --data "$dataset" --out "$results/$name" --resume none \
    --eval-interval 0 --save-interval 0 --log-interval 10 --accumulation-steps 1 "$@"
  rm -rf "$results/$name"/step-*
}

# rate NAME: the median throughput without the first fifth of the steps, and the last MFU on the console.
rate() {
  [[ -s $results/$1/metrics.jsonl ]] || return 0
  say "$(python3 - "$results/$1/metrics.jsonl" "$1" <<'PYTHON'
import json, statistics, sys
steps = [line for line in map(json.loads, open(sys.argv[1])) if "tokens_per_s" in line]
rate = statistics.median(step["tokens_per_s"] for step in steps[len(steps) // 5:])
print(f"{sys.argv[2]}: {rate:,.0f} tokens/s, loss {steps[0]['loss']:.4f} -> {steps[-1]['loss']:.4f} in {len(steps)} steps")
PYTHON
), $(grep -o 'MFU [0-9.]* %' "$results/$1.log" | tail -n 1)"
}

# losses A B: the largest relative difference between the losses of two runs.
losses() {
  say "$(python3 - "$results/$1/metrics.jsonl" "$results/$2/metrics.jsonl" "$1 beside $2" <<'PYTHON'
import json, sys
a, b = ([line["loss"] for line in map(json.loads, open(path)) if "loss" in line] for path in sys.argv[1:3])
print(f"{sys.argv[3]}: {len(a)} and {len(b)} losses, at most {max(abs(x - y) / y for x, y in zip(a, b)):.1e} apart")
PYTHON
)"
}

# cuBLAS lies in PyTorch's folders where CUDA is not installed.
for folder in $(python3 -c 'import nvidia, glob; [print(p) for n in nvidia.__path__ for p in glob.glob(n + "/*/lib")]' 2>/dev/null); do
  LD_LIBRARY_PATH=$folder:${LD_LIBRARY_PATH:-}
done
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}

{ date -u; nvidia-smi; git rev-parse HEAD; "$trainer" --version; } >"$results/machine.log" 2>&1
device=cuda:0
tiny=(--dim 64 --n-layers 2 --n-heads 2 --n-kv-heads 1 --max-seq-len 32 --batch-size 2 --dtype float32)
if [[ -n $rehearse ]]; then
  device=cpu
  part gpu-check 540 "$trainer" gpu-check --rehearse "$results/emulator" --steps 1
else
  part gpu-check 120 "$trainer" gpu-check
  command -v compute-sanitizer >/dev/null &&
    part sanitizer 120 compute-sanitizer --error-exitcode 9 "$trainer" gpu-check --steps 1
fi
grep -h ' comparisons, ' "$results/gpu-check.log" | while read -r line; do say "$line"; done
train cpu-tiny 60 "${tiny[@]}" --device cpu --max-steps 20
train device-tiny 60 "${tiny[@]}" --device "$device" --max-steps 20
losses device-tiny cpu-tiny
if [[ -z $rehearse ]]; then
  train 26m-bfloat16 60 --preset 26m --device "$device" --batch-size 32 --max-steps 200
  rate 26m-bfloat16
  train 124m-bfloat16 90 --preset 124m --device "$device" --batch-size 16 --max-steps 60
  rate 124m-bfloat16
else
  rate device-tiny
fi
say "all in $SECONDS s; raw results in $results"
exit "$failed"

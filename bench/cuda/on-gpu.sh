#!/usr/bin/env bash
# Everything that only a GPU can tell, in one run, into files: correctness first, then speed, then where the time of the
# slowest kernels goes. In the project's root, with the CUDA binary built (`npm run build:cuda`):
#
#   bench/cuda/on-gpu.sh RESULTS [PROBE.ts [TORCH.py]]
#
# PROBE.ts measures single ops and is run in bench/; TORCH.py measures the same ops in PyTorch. What is not installed, or
# fails, is noted and passed over. RESULTS/summary.txt says what ran and how it ended.
set -uo pipefail
results=$(mkdir -p "${1:?where results go}" && cd "$1" && pwd)
probe=${2:-} torch=${3:-}
cd "$(dirname "$0")/../.."
summary=$results/summary.txt
: > "$summary"

# step NAME SECONDS COMMAND...: its output goes to RESULTS/NAME.log.
step() {
  local name=$1 seconds=$2 started=$SECONDS
  shift 2
  if ! command -v "$1" > /dev/null; then
    echo "$name: $1 is not there" | tee -a "$summary"
    return
  fi
  timeout "$seconds" "$@" > "$results/$name.log" 2>&1
  echo "$name: exit $? after $((SECONDS - started)) s" | tee -a "$summary"
}
tests=(node --import tsx test/only.ts)
bench=(node --import tsx bench/main.ts)
export BTS_TEST_DEVICES=cuda

step gpu 10 nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,clocks.max.mem,power.limit --format=csv
step ops 120 "${tests[@]}" ops/ops ops/faults ops/halves
step goldens 180 "${tests[@]}" model/goldens tensor/program
step large 300 "${tests[@]}" ops/large
step memcheck 300 compute-sanitizer --tool memcheck --error-exitcode 1 "${tests[@]}" ops/ops
step racecheck 300 compute-sanitizer --tool racecheck --error-exitcode 1 "${tests[@]}" model/goldens
step synccheck 300 compute-sanitizer --tool synccheck --error-exitcode 1 "${tests[@]}" ops/ops

if [ -n "$probe" ]; then
  cp "$probe" bench/op-probe.ts
  OUTFILE=$results/ops.json step op-probe 120 node --import tsx bench/op-probe.ts
  rm bench/op-probe.ts
fi
[ -n "$torch" ] && OUTFILE=$results/torch.json step torch 300 python3 "$torch" --compile
for size in small paper-slice; do
  step "step-$size" 120 "${bench[@]}" step --device cuda --dtype bf16 --size "$size" --profile
  step "stitch-$size" 120 "${bench[@]}" stitch --device cuda --dtype bf16 --size "$size" --profile
  step "decode-$size" 120 "${bench[@]}" decode --device cuda --dtype bf16 --size "$size"
done

# What holds the kernels back: one launch of each.
metrics=sm__inst_executed_pipe_tensor.avg.pct_of_peak_sustained_active,l1tex__data_bank_conflicts_pipe_lsu.sum
metrics+=,lts__t_sectors_op_read.sum,dram__bytes.sum,sm__warps_active.avg.pct_of_peak_sustained_active
step ncu 300 ncu --clock-control none --metrics "$metrics" --launch-count 60 --csv \
  "${bench[@]}" step --device cuda --dtype bf16 --size paper-slice --steps 1

#!/usr/bin/env bash
# Everything that only a GPU can tell, in one run, into files: correctness first, then speed, then where the time of the
# slowest kernels goes, and the table beside PyTorch last. In the project's root, with the CUDA binary built (`npm run
# build:cuda`):
#
#   bench/cuda/on-gpu.sh RESULTS [PYTHON]
#
# PYTHON has torch; default: python3. What is not installed, or fails, is noted and passed over. RESULTS/summary.txt says what
# ran and how it ended. Random models are made on the way, 22 GB at the paper's full size: in memory, where there is room.
set -uo pipefail
results=$(mkdir -p "${1:?where results go}" && cd "$1" && pwd)
python=${2:-python3}
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
bench() {
  local name=$1 seconds=$2
  shift 2
  step "$name" "$seconds" node --import tsx bench/main.ts "$@" --device cuda --json "$results/$name.json"
}
export BTS_TEST_DEVICES=cuda
free=$(df --output=avail -k /dev/shm 2> /dev/null | tail -1)
if [ "${free:-0}" -gt $((40 << 20)) ]; then export TMPDIR=/dev/shm; fi

step gpu 10 nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,clocks.max.mem,power.limit --format=csv
step ops 120 "${tests[@]}" ops/ops ops/faults ops/halves
step goldens 180 "${tests[@]}" model/goldens tensor/program bench
step large 300 "${tests[@]}" ops/large
step memcheck 300 compute-sanitizer --tool memcheck --error-exitcode 1 "${tests[@]}" ops/ops
step racecheck 300 compute-sanitizer --tool racecheck --error-exitcode 1 "${tests[@]}" model/goldens
step synccheck 300 compute-sanitizer --tool synccheck --error-exitcode 1 "${tests[@]}" ops/ops

for size in small paper-slice; do
  bench "step-$size" 120 step --dtype bf16 --size "$size" --profile
  bench "stitch-$size" 120 stitch --dtype bf16 --size "$size" --profile
done
bench flops 180 flops --dtype bf16 --size gpu-paper

# What holds the kernels back: one launch of each.
metrics=sm__inst_executed_pipe_tensor.avg.pct_of_peak_sustained_active,l1tex__data_bank_conflicts_pipe_lsu.sum
metrics+=,lts__t_sectors_op_read.sum,dram__bytes.sum,sm__warps_active.avg.pct_of_peak_sustained_active
step ncu 300 ncu --clock-control none --metrics "$metrics" --launch-count 60 --csv \
  node --import tsx bench/main.ts step --device cuda --dtype bf16 --size paper-slice --steps 1

bench versus-ops 600 versus --work ops --peer-python "$python"
bench versus-step 1800 versus --work step --peer-python "$python"
bench versus-decode 900 versus --work decode --peer-python "$python"

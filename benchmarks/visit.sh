#!/usr/bin/env bash
# Everything worth knowing from a short visit to a machine with an accelerator: tests, parity, step times and memory,
# then training on real puzzles that saves every minute or so and resumes what an earlier visit left behind.
#
#   [REFERENCE=PATH] benchmarks/visit.sh OUT [TRAIN.csv MONITOR.csv [SECONDS]]
#
# OUT receives logs and the run. It needs an environment in which `python3 -m trm_jax` works, and pytest. REFERENCE is
# a checkout of the original, to be timed beside ours; that needs torch.
set -uo pipefail
out=${1:?usage: [REFERENCE=PATH] benchmarks/visit.sh OUT [TRAIN.csv MONITOR.csv [SECONDS]]}
train=${2:-} monitor=${3:-} seconds=${4:-240}
cd "$(dirname "$0")/.." && mkdir -p "$out"
export PYTHONUNBUFFERED=1
declare -a verdicts=()

stage() { # name, command ...
  local name=$1 began=$SECONDS; shift
  "$@" >"$out/$name.log" 2>&1
  local rc=$?
  # 75: training was stopped in time and saved.
  if [ $rc -eq 0 ] || [ $rc -eq 75 ]; then verdicts+=("ok      $name  $((SECONDS - began)) s"); else verdicts+=("FAILED  $name  rc $rc, see $name.log"); fi
}

stage devices python3 -c 'import jax; print(jax.__version__, jax.devices())'
stage parity python3 -m trm_jax parity tests/testdata
for experiment in sudoku_mlp sudoku_attention; do
  for policy in none dots step nested binomial offload; do
    stage "step_${experiment}_$policy" python3 -m benchmarks.step_time \
      --config="experiments/$experiment.py" --config.memory.policy=$policy
  done
done
if [ -n "${REFERENCE:-}" ]; then
  for experiment in sudoku_mlp sudoku_attention; do
    # One after the other: three models at this batch do not fit into one memory.
    for variant in eager compiled; do
      stage "reference_${experiment}_$variant" python3 -m benchmarks.step_time --config="experiments/$experiment.py" \
        --reference "$REFERENCE" --variants "ours,$variant"
    done
    stage "reference_${experiment}_solving" python3 -m benchmarks.inference --config="experiments/$experiment.py" \
      --reference "$REFERENCE"
  done
fi
for attention in xla cudnn; do
  stage "attention_$attention" python3 -m benchmarks.step_time --config=experiments/maze.py \
    --config.devices.attention=$attention --batch 128
done
for at_once in 1 10; do
  stage "overhead_$at_once" python3 -m benchmarks.overhead --config=experiments/sudoku_mlp.py --config.data.train=generated \
    --config.data.train_puzzles=1000 --config.devices.steps_per_call=$at_once --config.train.save_every=1000 --steps 100 \
    --repeats 3
done
stage estimate python3 -m trm_jax estimate --config=experiments/sudoku_mlp.py --config.model.latent_steps=384
stage recursion_memory python3 -m benchmarks.recursion_memory --sweep quick --out "$out/recursion_memory"
stage puzzle_table python3 -m benchmarks.puzzle_table
JAX_PLATFORMS=cpu stage tests python3 -m pytest -m "not slow" -p no:cacheprovider
if [ -n "$train" ]; then
  stage training timeout --preserve-status -s TERM "$seconds" python3 -m trm_jax train --config=experiments/sudoku_mlp.py \
    --workdir="$out/run" --config.data.train="$train" --config.data.test="$monitor" --config.train.save_every=500 \
    --config.train.eval_every=2000 --config.train.log_every=50 --profile=200:203
  stage evaluation python3 -m trm_jax eval "$out/run" "$monitor" --steps=1,4,16
fi

tail -n 30 "$out"/step_*.log "$out"/reference_*.log "$out"/attention_*.log "$out"/overhead_*.log "$out"/puzzle_table.log "$out"/estimate.log "$out"/recursion_memory.log
[ -z "$train" ] || tail -n 5 "$out"/training.log "$out"/evaluation.log
printf '%s\n' "${verdicts[@]}"

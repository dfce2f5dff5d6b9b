#!/usr/bin/env bash
# A short visit to a machine with an accelerator: `python3 -m benchmarks.visit` with this repository, from any folder.
#
#   [PYTHON=EXE] benchmarks/visit.sh [--budget SECONDS] [--out FOLDER] [--train FILE --monitor FILE] [--dry-run] ...
#
# The environment has to be one in which `python3 -m trm_jax` works.
PYTHONPATH="$(cd "$(dirname "$0")/.." && pwd)${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python3}" -m benchmarks.visit "$@"

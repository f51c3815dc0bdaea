#!/bin/sh
# Trains, scores and exports random models on this machine's GPU, in minutes, and prints what ran:
#
#     scripts/gpu_check.sh                 a tiny model and one of 0.5B's shape, on a GPU
#     scripts/gpu_check.sh --cpu           the tiny model alone, without a GPU
#
# PYTHON names the interpreter (python). Nothing is downloaded and nothing is kept.
set -eu
case "${1:-}" in
    "") mode=cuda ;;
    --cpu) mode=cpu ;;
    *) echo "usage: gpu_check.sh [--cpu]" >&2; exit 2 ;;
esac
exec "${PYTHON:-python}" "$(dirname "$0")/gpu_check.py" "$mode"

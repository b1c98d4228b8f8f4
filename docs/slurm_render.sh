#!/usr/bin/env bash
# One task of a Slurm array that makes AIH_Render; see slurm.md.
#   sbatch --array=0-99 docs/slurm_render.sh OUT COUNT [more arguments of aih-gen render]
#SBATCH --job-name=aih-render
#SBATCH --cpus-per-task=16
#SBATCH --mem-per-cpu=2G
#SBATCH --time=04:00:00
#SBATCH --requeue
set -euo pipefail

out=${1:?the folder, which every node sees}
count=${2:?the number of samples, of all tasks together}
shift 2

exec aih-gen render --out "$out" --count "$count" "$@" \
    --workers "${SLURM_CPUS_PER_TASK:-1}" \
    --num-tasks "${TASKS:-${SLURM_ARRAY_TASK_COUNT:?submit with --array=0-N}}" \
    --task-index "${SLURM_ARRAY_TASK_ID:?submit with --array=0-N}"

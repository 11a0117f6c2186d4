#!/bin/bash
# A cluster job (Slurm): ranks × threads = cores. Copy it, set the three lines below and the input.
#SBATCH --nodes=1
#SBATCH --ntasks=8
#SBATCH --cpus-per-task=2
#SBATCH --time=24:00:00

set -euo pipefail
input=${1:-nvt_guard.in}
ranks=${SLURM_NTASKS:-2}
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}

# `mpiexec` of the environment that `lmp` came with; with `action hard` a halt is exit status 1, which the queue sees.
mpiexec -n "$ranks" lmp -in "$input" -log "${input%.in}.log"

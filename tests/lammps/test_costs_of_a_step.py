"""What a step asks of the allocator and of the other ranks, counted by a library between LAMMPS and both."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from runner import run, structure

Make = Callable[..., Path]

#: Reductions of MPI's pairs of number and rank, and parallel regions of OpenMP, take memory of their own.
OF_MPI_AND_OPENMP = 8


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("g++") is None or shutil.which("ldd") is None:
        pytest.skip("no g++, or another C library")
    library = tmp_path_factory.mktemp("counting") / "counting.so"
    source = Path(__file__).with_name("counting.cpp")
    subprocess.run(["g++", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture(scope="module")
def model(make_model: Make) -> Path:
    return make_model("Ta06A", 20, file="counted.mliuq", factor=True)


@pytest.fixture
def of_a_step(
    counting: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[float, float]]:
    """Allocations and reductions of one step with a guard: what a longer run has more of than a shorter one."""
    monkeypatch.setenv("LD_PRELOAD", str(counting))

    def counts(guard: str, *, ranks: int = 1, repeat: int = 2, steps: int) -> np.ndarray:
        script = structure(bulk("Ta", "bcc", a=3.3, cubic=True) * (repeat, repeat, repeat), tmp_path, ["Ta"])
        script += f"pair_style mliuq\npair_coeff * * {model} Ta\nvelocity all create 100 4711 loop geom\n"
        script += "neigh_modify delay 10000 check no\ntimestep 0.0001\nfix move all nve\nthermo 0\n"
        script += f"fix g all mliuq/guard 1 {guard} halt 1e9 max 0\n" if guard else ""
        file = tmp_path / f"counts-{steps}.txt"
        file.unlink(missing_ok=True)
        monkeypatch.setenv("COUNTING_FILE", str(file))
        output = run(script + f"run {steps}\n", tmp_path, ranks=ranks, threads=1)
        assert output.returncode == 0, output.text
        lines = np.loadtxt(file, ndmin=2)
        assert len(lines) == ranks
        return lines.max(axis=0)

    def difference(guard: str, **how: int) -> tuple[float, float]:
        allocations, reductions = (counts(guard, steps=30, **how) - counts(guard, steps=10, **how)) / 20
        return float(allocations), float(reductions)

    return difference


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_guard_costs_one_reduction_per_evaluation(of_a_step: Callable[..., tuple[float, float]], ranks: int) -> None:
    _, without = of_a_step("", ranks=ranks)
    for quantity in ("energy_err", "force_err", "cell_energy_err", "pressure_err"):
        assert of_a_step(quantity, ranks=ranks)[1] == without + 1, quantity


def test_a_step_allocates_nothing(of_a_step: Callable[..., tuple[float, float]]) -> None:
    """Neither for more atoms nor for a guard that watches energies."""
    plain = of_a_step("")[0]
    assert plain <= OF_MPI_AND_OPENMP
    assert of_a_step("", repeat=4)[0] == plain
    assert of_a_step("energy_err", repeat=4)[0] == plain

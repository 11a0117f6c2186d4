"""The vector kernels equal the plain one: every instruction set this machine runs, every flag, any number of atoms."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from mliuq import SnapParams
from mliuq.core import Descriptor, available_kernels
from mliuq.descriptor.neighbours import pack
from systems import PARAMS, random_atoms, random_model, structure

VECTOR_KERNELS = [name for name in available_kernels() if name != "reference"]

#: Both kernels add some thousand terms of order one in another order: far above rounding, far below any mistake.
DOUBLE = 1e-12
#: Float has 24 bits; sums of some thousand terms lose about two digits.
SINGLE = 5e-5

FLAGS = {
    "linear": SnapParams(("W",), twojmax=4, rcutfac=4.2),
    "no zero": SnapParams(("W",), twojmax=5, rcutfac=4.2, bzeroflag=False, bnormflag=True),
    "no switch": SnapParams(("W",), twojmax=4, rcutfac=4.0, switchflag=False, rfac0=0.9),
    "rmin0": SnapParams(("W",), twojmax=5, rcutfac=4.2, rmin0=2.1),
    "inner": SnapParams(("W", "Be"), twojmax=4, rcutfac=4.2, radii=(0.5, 0.45), weights=(1.0, -0.6),
                        switchinnerflag=True, sinner=(1.9, 2.1), dinner=(0.4, 0.3)),
    "quadratic": SnapParams(("W", "Be"), twojmax=4, rcutfac=4.2, radii=(0.5, 0.42), weights=(1.0, 0.7),
                            quadraticflag=True),
    "chem": SnapParams(("W", "Be"), twojmax=4, rcutfac=4.2, radii=(0.5, 0.45), weights=(1.0, 0.8), chemflag=True),
    "chem norm": SnapParams(("W", "Be"), twojmax=3, rcutfac=4.2, chemflag=True, bnormflag=True, rmin0=0.3),
    "chem all": SnapParams(("W", "Be"), twojmax=3, rcutfac=4.2, chemflag=True, wselfallflag=True, bzeroflag=False),
    "chem quadratic": SnapParams(("W", "Be"), twojmax=2, rcutfac=4.2, chemflag=True, quadraticflag=True,
                                 switchinnerflag=True, sinner=(1.9, 2.1), dinner=(0.4, 0.3)),
    "chem three": SnapParams(("W", "Be", "Mo"), twojmax=2, rcutfac=4.0, chemflag=True, radii=(0.5, 0.45, 0.48),
                             weights=(1.0, 0.8, 0.9)),
}  # fmt: skip


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference in units of the largest value expected; a NaN counts as infinite.

    Never in units below 0.1 (eV, eV/Å): forces that cancel by symmetry leave rounding only.
    """
    worst = np.abs(found - expected).max(initial=0.0)
    return float(worst / max(np.abs(expected).max(initial=0.0), 0.1)) if np.isfinite(worst) else np.inf


@pytest.fixture(autouse=True, params=["recursion", "polynomial"])
def plan(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to sum over neighbours, whichever the kernel would choose."""
    monkeypatch.setenv("MLIUQ_PLAN", request.param)
    return str(request.param)


def assert_equal(params: SnapParams, atoms: Atoms, kernel: str, precision: str, tolerance: float) -> None:
    model = random_model(params, members=3)
    packed = pack(atoms, params)
    ours, plain = model.potential(kernel=kernel, precision=precision), model.potential(kernel="reference")
    assert ours.kernel == f"{kernel} {precision} {os.environ['MLIUQ_PLAN']}"
    expected = plain.evaluate(packed, spreads=True, atom_virials=True)
    # With spreads the kernel also gives B, without it takes the shorter way to the same forces.
    for spreads in (True, False):
        found = ours.evaluate(packed, spreads=spreads, atom_virials=True)
        for key in ("energies", "forces", "virial", "atom_virials"):
            assert difference(found[key], expected[key]) < tolerance, (key, spreads)
        assert difference(np.array(found["energy"]), np.array(expected["energy"])) < tolerance
        if spreads:
            # A difference of energies: rounding of the energies is what remains.
            scale = np.abs(expected["energies"]).max() + 1.0
            assert np.abs(found["energies_std"] - expected["energies_std"]).max() < tolerance * scale


def dense_cluster(n: int, spacing: float, elements: tuple[str, ...], seed: int) -> Atoms:
    """n atoms on a rattled cubic grid: everybody within a few Å of everybody where the spacing is small."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(n ** (1 / 3)))
    grid = np.array(list(np.ndindex(side, side, side)))[:n] * spacing
    symbols = [elements[i] for i in rng.integers(len(elements), size=n)]
    return Atoms(symbols, positions=grid + rng.uniform(-0.2, 0.2, size=grid.shape) * spacing)


@pytest.mark.parametrize("kernel", VECTOR_KERNELS)
@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("kind", ["cube", "triclinic", "tiny", "cluster"])
def test_every_flag(flags: str, kind: str, kernel: str) -> None:
    assert_equal(FLAGS[flags], structure(kind, FLAGS[flags]), kernel, "double", DOUBLE)


@pytest.mark.parametrize("kernel", VECTOR_KERNELS)
@pytest.mark.parametrize("flags", FLAGS)
def test_single_precision(flags: str, kernel: str) -> None:
    params = FLAGS[flags]
    atoms = random_atoms(params.elements, 8, [[5.4, 0, 0], [0.3, 5.4, 0], [0, 0, 5.4]], seed=3)
    assert_equal(params, atoms, kernel, "single", SINGLE)


@pytest.mark.parametrize("kernel", VECTOR_KERNELS)
@pytest.mark.parametrize("twojmax", range(0, 17))
def test_every_twojmax(twojmax: int, kernel: str) -> None:
    # 15 and 16 are beyond the unrolled levels.
    params = SnapParams(("W",), twojmax=twojmax, rcutfac=4.2)
    n = 9 if twojmax < 10 else 3
    assert_equal(params, random_atoms(("W",), n, np.eye(3) * 5.6, seed=twojmax), kernel, "double", DOUBLE)


@pytest.mark.parametrize("kernel", VECTOR_KERNELS)
@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 65, 130])
def test_every_remainder_of_lanes(n: int, kernel: str) -> None:
    params = SnapParams(("W", "Be"), twojmax=3, rcutfac=4.2, radii=(0.5, 0.42), weights=(1.0, 0.7))
    assert_equal(params, dense_cluster(n, 2.2, params.elements, seed=n), kernel, "double", DOUBLE)


@pytest.mark.parametrize("kernel", VECTOR_KERNELS)
@pytest.mark.parametrize(("n", "spacing"), [(2, 9.0), (20, 3.9), (27, 2.0), (64, 1.1), (125, 1.0), (301, 0.65)])
@pytest.mark.parametrize("flags", ["linear", "chem norm", "quadratic"])
def test_from_no_neighbour_to_three_hundred(flags: str, n: int, spacing: float, kernel: str) -> None:
    params = replace(FLAGS[flags], twojmax=2)
    atoms = dense_cluster(n, spacing, params.elements, seed=n)
    assert_equal(params, atoms, kernel, "double", DOUBLE)
    distances = np.linalg.norm(atoms.positions[:, None] - atoms.positions, axis=2)
    most = ((distances < 4.2).sum(axis=1) - 1).max()
    if n == 2:
        assert most == 0
    if n == 301:
        assert most > 280


@pytest.mark.parametrize("kernel", VECTOR_KERNELS)
@pytest.mark.parametrize("flags", FLAGS)
def test_descriptors_and_their_derivatives(flags: str, kernel: str) -> None:
    params = FLAGS[flags]
    packed = pack(structure("triclinic", params), params)
    plain = Descriptor(params.core, "reference").compute(packed, derivatives=True)
    found = Descriptor(params.core, kernel).compute(packed, derivatives=True)
    only_B = Descriptor(params.core, kernel).compute(packed)[0]
    assert difference(found[0], plain[0]) < DOUBLE
    assert difference(only_B, plain[0]) < DOUBLE
    assert sum(np.abs(plain[3]).max(axis=(1, 2)) > 1e-3) > 0.5 * len(plain[3])

    def dense(result: tuple[np.ndarray, ...]) -> np.ndarray:
        _, centre, atom, dB = result
        full = np.zeros((packed.n_owned, packed.n_owned, *dB.shape[1:]))
        np.add.at(full, (centre, atom), dB)
        return full

    assert difference(dense(found), dense(plain)) < DOUBLE


@pytest.mark.parametrize("kernel", VECTOR_KERNELS)
def test_the_same_sums_every_time(kernel: str) -> None:
    params = PARAMS["binary"]
    packed = pack(random_atoms(params.elements, 12, np.eye(3) * 6.5, seed=5), params)
    potential = random_model(params).potential(kernel=kernel)
    first, second = (potential.evaluate(packed, threads=1) for _ in range(2))
    for key in ("energies", "forces", "virial"):
        assert np.array_equal(first[key], second[key])

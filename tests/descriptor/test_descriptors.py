"""Descriptors and design rows against ``compute sna/atom``, ``snad/atom`` and ``snap``, flag by flag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import stock
from ase import Atoms
from mliuq import MLIUQCalculator, Model, SnapParams, descriptors
from mliuq.core import available_kernels
from mliuq.descriptor.bispectrum import design_rows
from systems import separated_atoms

TWO = ("Ta", "W")
PLAIN = SnapParams(("Ta",), twojmax=6, rcutfac=4.6)
BINARY = SnapParams(TWO, twojmax=5, rcutfac=4.4, radii=(0.5, 0.42), weights=(1.0, 0.7))
CHEM = replace(BINARY, twojmax=3, chemflag=True)
INNER = {"switchinnerflag": True, "sinner": (2.4, 2.1), "dinner": (0.5, 0.4)}

DESCRIPTORS = {
    "plain": PLAIN,
    "2J=0": replace(PLAIN, twojmax=0),
    "2J=1": replace(PLAIN, twojmax=1),
    "2J=8": replace(PLAIN, twojmax=8),
    "2J=14": replace(PLAIN, twojmax=14, rcutfac=3.6),
    "bzeroflag 0": replace(PLAIN, bzeroflag=False),
    "bnormflag": replace(PLAIN, bnormflag=True),
    "switchflag 0": replace(PLAIN, switchflag=False),
    "rmin0": replace(PLAIN, rmin0=0.7),
    "rmin0 beyond neighbours": replace(PLAIN, rmin0=2.9),
    "rfac0": replace(PLAIN, rfac0=0.8),
    "switchinner": replace(PLAIN, switchinnerflag=True, sinner=(2.3,), dinner=(0.5,)),
    "binary": BINARY,
    "binary bnorm switchinner rmin0": replace(BINARY, bnormflag=True, rmin0=0.4, **INNER),
    "chem": CHEM,
    "chem wselfall": replace(CHEM, wselfallflag=True),
    "chem wselfall bnorm": replace(CHEM, wselfallflag=True, bnormflag=True),
    "chem bzero 0 switchinner": replace(CHEM, bzeroflag=False, **INNER),
}

pytestmark = pytest.mark.stock


def compute_arguments(params: SnapParams, *, quadratic: bool = False) -> str:
    words: list[object] = [params.rcutfac, params.rfac0, params.twojmax, *params.radii, *params.weights]
    words += ["rmin0", params.rmin0, "switchflag", int(params.switchflag), "bzeroflag", int(params.bzeroflag)]
    words += ["quadraticflag", int(quadratic), "bnormflag", int(params.bnormflag)]
    words += ["wselfallflag", int(params.wselfallflag)]
    if params.chemflag:
        words += ["chem", params.n_elements, *range(params.n_elements)]
    if params.switchinnerflag:
        words += ["switchinnerflag", 1, "sinner", *params.sinner, "dinner", *params.dinner]
    return " ".join(map(str, words))


def job(atoms: Atoms, params: SnapParams, computes: dict[str, str], kinds: dict[str, str]) -> stock.Job:
    commands = [f"pair_style zero {params.cutoff + 0.5}", "pair_coeff * *"]
    return stock.Job(atoms, params.elements, commands, computes, kinds)


def structures(elements: Sequence[str]) -> list[Atoms]:
    return [
        separated_atoms(elements, 13, 15.0, seed=5),
        separated_atoms(elements, 9, 40.0, seed=6),
        separated_atoms(elements, 11, 16.0, pbc=False, seed=7),
    ]


# LAMMPS's Python module cannot bring back a per-atom array of one column: 2J=0 is held against stock through energies.
@pytest.mark.parametrize("label", [label for label in DESCRIPTORS if label != "2J=0"])
def test_descriptors_and_derivatives(label: str, tmp_path: Path) -> None:
    params = DESCRIPTORS[label]
    arguments = compute_arguments(params)
    cells = structures(params.elements)
    jobs = [job(a, params, {"b": f"sna/atom {arguments}", "d": f"snad/atom {arguments}"}, {}) for a in cells]
    for atoms, peer in zip(cells, stock.run(jobs, tmp_path), strict=True):
        n, K = len(atoms), params.n_components
        expected = peer["b"].reshape(n, K)
        dB_expected = peer["d"].reshape(n, params.n_elements, 3, K)
        for kernel in available_kernels():
            B, d = descriptors(atoms, params, derivatives=True, kernel=kernel)
            np.testing.assert_allclose(B, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
            species = np.array(params.index_of(atoms.get_chemical_symbols()))
            dB = np.zeros((n, params.n_elements, 3, K))
            np.add.at(dB, (d.atom, species[d.centre]), -d.values)
            np.testing.assert_allclose(dB, dB_expected, rtol=0, atol=1e-9 * np.abs(dB_expected).max())


@pytest.mark.parametrize("quadratic", [False, True], ids=["linear", "quadratic"])
@pytest.mark.parametrize("label", ["plain", "binary", "chem wselfall bnorm", "binary bnorm switchinner rmin0"])
def test_design_rows(label: str, quadratic: bool, tmp_path: Path) -> None:
    params = replace(DESCRIPTORS[label], quadraticflag=quadratic)
    if quadratic and params.chemflag:
        params = replace(params, twojmax=2)
    arguments = compute_arguments(params, quadratic=quadratic)
    cells = structures(params.elements)[:2]
    jobs = [job(a, params, {"s": f"snap {arguments}"}, {"s": "array"}) for a in cells]
    for atoms, peer in zip(cells, stock.run(jobs, tmp_path), strict=True):
        n, per_element = len(atoms), params.n_weights - 1
        # compute snap: bispectrum sums, forces, virials in LAMMPS's order; no constants, energies not per atom
        expected = peer["s"][:, :-1].reshape(1 + 3 * n + 6, params.n_elements, per_element).copy()
        expected[0] /= n
        expected[-6:] = -expected[-6:][[0, 1, 2, 3, 4, 5]] / atoms.get_volume()
        (rows,) = design_rows([atoms], params, stress=True)
        rows = rows.reshape(1 + 3 * n + 6, params.n_elements, 1 + per_element)
        counts = np.bincount(params.index_of(atoms.get_chemical_symbols()), minlength=params.n_elements)
        np.testing.assert_allclose(rows[0, :, 0], counts / n)
        assert not rows[1:, :, 0].any()
        for part in (slice(0, 1), slice(1, 1 + 3 * n), slice(1 + 3 * n, None)):
            scale = np.abs(expected[part]).max()
            np.testing.assert_allclose(rows[part, :, 1:], expected[part], rtol=0, atol=1e-9 * scale)


@pytest.mark.parametrize("label", DESCRIPTORS)
@pytest.mark.parametrize("quadratic", [False, True], ids=["linear", "quadratic"])
def test_invented_weights_equal_stock_snap(label: str, quadratic: bool, tmp_path: Path) -> None:
    params = replace(DESCRIPTORS[label], quadraticflag=quadratic)
    if quadratic and params.n_components > 60:
        params = replace(params, twojmax=2)
    rng = np.random.default_rng(11)
    theta = rng.normal(size=(params.n_elements, params.n_weights)) / params.n_weights
    if params.chemflag:
        theta = equal_where_components_are(params, theta)
    model = Model(params, theta)
    coeff, param = model.to_snap(tmp_path / "invented")
    elements = " ".join(params.elements)
    commands = ["pair_style snap", f"pair_coeff * * {coeff} {param} {elements}"]
    cells = structures(params.elements)
    peers = stock.run([stock.Job(atoms, params.elements, commands) for atoms in cells], tmp_path)
    for atoms, peer in zip(cells, peers, strict=True):
        for kernel in available_kernels():
            atoms.calc = MLIUQCalculator(model, kernel=kernel)
            scale = np.abs(peer["energies"]).max()
            np.testing.assert_allclose(atoms.get_potential_energies(), peer["energies"], rtol=0, atol=1e-10 * scale)
            scale = np.abs(peer["forces"]).max()
            np.testing.assert_allclose(atoms.get_forces(), peer["forces"], rtol=0, atol=1e-10 * scale)


def equal_where_components_are(params: SnapParams, theta: np.ndarray) -> np.ndarray:
    """Weights averaged over components whose descriptors agree: LAMMPS's forces are a gradient only then."""
    probes = [separated_atoms(params.elements, 8, 18.0, seed=s) for s in (1, 2)]
    B = np.concatenate([descriptors(atoms, replace(params, bzeroflag=False)) for atoms in probes])
    K = params.n_components
    classes = np.unique(B.round(9), axis=1, return_inverse=True)[1].reshape(-1)
    mean = (classes[:, None] == classes[None]).astype(float)
    mean /= mean.sum(axis=1, keepdims=True)
    out = theta.copy()
    out[:, 1 : 1 + K] = theta[:, 1 : 1 + K] @ mean
    if params.quadraticflag:
        upper = np.triu_indices(K)
        for row in out:
            full = np.zeros((K, K))
            full[upper] = row[1 + K :]
            full = mean @ (full + np.triu(full, 1).T) @ mean
            row[1 + K :] = full[upper]
    return out

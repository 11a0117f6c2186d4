"""What `to_snap` writes, included in an input of stock LAMMPS, is the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import stock
from mliuq import MLIUQCalculator, Model, SnapParams
from systems import separated_atoms

pytestmark = pytest.mark.stock


def model_of(elements: tuple[str, ...], zbl: tuple[float, float] | None, **flags: object) -> Model:
    """Weights of members far apart on components that chemflag makes equal: only their sum is physics."""
    params = SnapParams(elements, twojmax=2, rcutfac=4.5, radii=(0.5, 0.45)[: len(elements)], **flags)  # type: ignore[arg-type]
    rng = np.random.default_rng(5)
    theta = rng.normal(size=(params.n_elements, params.n_weights))
    spread = 1e3 if params.chemflag else 0.1
    return Model(params, theta, theta + spread * rng.normal(size=(2, *theta.shape)), zbl=zbl)


@pytest.mark.parametrize("member", [None, 1])
@pytest.mark.parametrize(
    ("elements", "zbl", "flags"),
    [
        (("W",), None, {}),
        (("W",), (1.5, 2.5), {}),
        (("W", "Be"), (1.1, 2.9), {"quadraticflag": True}),
        (("W", "Be"), None, {"chemflag": True}),
        (("W", "Be"), (1.5, 2.5), {"chemflag": True, "quadraticflag": True}),
    ],
)
def test_stock_lammps_evaluates_what_was_exported(
    elements: tuple[str, ...],
    zbl: tuple[float, float] | None,
    flags: dict[str, bool],
    member: int | None,
    tmp_path: Path,
) -> None:
    model = model_of(elements, zbl, **flags)
    model.to_snap(tmp_path / "exported", member=member)
    atoms = separated_atoms(elements, 12, 14.0, seed=3, closest=1.2)
    (peer,) = stock.run([stock.Job(atoms, elements, ["include exported.snap"])], tmp_path)
    assert model.members is not None
    chosen = model.theta if member is None else model.members[member]
    atoms.calc = MLIUQCalculator(replace(model, theta=chosen, members=None))
    scale = np.abs(peer["energies"]).max()
    np.testing.assert_allclose(atoms.get_potential_energies(), peer["energies"], rtol=0, atol=1e-10 * scale)
    scale = np.abs(peer["forces"]).max()
    assert scale > 1e-2
    np.testing.assert_allclose(atoms.get_forces(), peer["forces"], rtol=0, atol=1e-9 * scale)

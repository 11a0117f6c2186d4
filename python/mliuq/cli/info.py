"""`mliuq info`: what is in a model file, and what this build runs."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Annotated, Any

import typer

from mliuq.cli.console import number, print_json, say

EXAMPLE = "Example: mliuq info W.mliuq"


def run(
    model: Annotated[Path | None, typer.Argument(help="Model file (.mliuq).", show_default=False)] = None,
    build: Annotated[
        bool, typer.Option("--build", help="Show the version, kernels and threads of this build.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a model file holds: descriptor, data, posterior, calibration, settings."""
    if model is None and not build:
        raise typer.BadParameter("expected a model file, --build or both")
    facts: dict[str, Any] = {}
    if build:
        facts["build"] = build_facts()
    if model is not None:
        facts["model"] = model_facts(model)
    if json:
        print_json(facts)
        return
    for title, group in facts.items():
        rows = [(key, value) for key, value in _flat(group)]
        width = max(len(key) for key, _ in rows)
        say(title if title != "model" else str(model))
        for key, value in rows:
            say(f"  {key:<{width}}  {value}")


def build_facts() -> dict[str, Any]:
    """Version, kernels and libraries of this installation."""
    from importlib.metadata import PackageNotFoundError, version

    import mliuq
    from mliuq.core import available_kernels, compiler, default_kernel, default_plan
    from mliuq.lammps import built_for, installed_lammps

    facts: dict[str, Any] = {"version": mliuq.__version__, "python": platform.python_version()}
    for name in ("numpy", "ase", "lammps"):
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = "not installed"
    facts["LAMMPS plugin"] = f"built for LAMMPS {built_for()}" if built_for() else "not built"
    facts["LAMMPS here"] = installed_lammps() or "no lammps package"
    facts |= {"compiler": compiler, "kernel": default_kernel(), "kernels": list(available_kernels())}
    facts["plan"] = default_plan()
    return facts


def model_facts(path: Path) -> dict[str, Any]:
    """Metadata and array shapes of a model file, as plain data."""
    from mliuq import Model

    model = Model.load(path)
    params = model.params
    arrays = {"theta": model.theta, **model.arrays}
    if model.members is not None:
        arrays["members"] = model.members
    return {
        "elements": list(params.elements),
        "cutoff_angstrom": params.cutoff,
        "weights_per_element": params.n_weights,
        "members": model.n_members,
        "snap": {key: value for key, value in params.to_metadata().items() if value not in ([], None)},
        "zbl": None if model.zbl is None else {"inner": model.zbl[0], "outer": model.zbl[1]},
        "noise": None if model.noise is None else dict(model.noise),
        "calibration": None if model.calibration is None else dict(model.calibration),
        **model.metadata,
        "arrays": {name: "×".join(map(str, array.shape)) for name, array in sorted(arrays.items())},
        "size_bytes": path.stat().st_size,
    }


def _flat(group: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in group.items():
        if value is None:
            continue
        if isinstance(value, dict) and value and all(_is_number(name) for name in value):
            rows.append((prefix + key, " ".join(f"{name}:{number(item)}" for name, item in value.items())))
        elif isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            rows.append((prefix + key, " ".join(map(str, value))))
        else:
            rows.append((prefix + key, str(value)))
    return rows


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

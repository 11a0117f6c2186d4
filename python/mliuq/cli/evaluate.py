"""`mliuq eval`: energies, forces, stress and their error bars for every structure of a file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from ase import Atoms
from ase.calculators.calculator import Calculator

from mliuq.cli.console import print_json, progress_bar, say, show_table
from mliuq.cli.data_options import DataOptions, takes_data_options
from mliuq.cli.seen import warn_of_seen
from mliuq.cli.structures import check_structures, structure_writer
from mliuq.errors import MliuqError
from mliuq.outputs import is_stream

if TYPE_CHECKING:
    from mliuq.ase.calculator import MLIUQCalculator
    from mliuq.readers.keys import Keys
    from mliuq.regression.targets import Targets

log = logging.getLogger(__name__)

EXAMPLE = "Example: mliuq eval W.mliuq structures.xyz -o evaluated.xyz"

#: Error bars that every evaluation gives, by ASE result key.
ENERGY_BARS = tuple(f"{of}_{what}" for of in ("energy", "energies") for what in ("std", "min", "max", "err"))
#: Ends of intervals, and their level, where --level asks for them.
INTERVAL_KEYS = ("level", "energy_low", "energy_high", "forces_low", "forces_high", "stress_low", "stress_high")


@dataclass
class Summary:
    """What the table of `mliuq eval` says of one file."""

    n_atoms: list[int] = field(default_factory=list)
    energy: list[float] = field(default_factory=list)
    energy_std: list[float] = field(default_factory=list)
    energy_err: list[float] = field(default_factory=list)
    worst_atom: list[float] = field(default_factory=list)
    energy_error: list[float] = field(default_factory=list)
    force_errors: list[np.ndarray[Any, np.dtype[np.float64]]] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """Totals, extremes and errors, under the names that --json prints."""
        facts: dict[str, Any] = {"structures": len(self.n_atoms), "atoms": sum(self.n_atoms)}
        if self.energy_std:
            facts["largest_energy_std_per_atom"] = max(
                s / n for s, n in zip(self.energy_std, self.n_atoms, strict=True)
            )
            facts["largest_atom_energy_std"] = max(self.worst_atom)
            facts["structure_of_largest_atom_energy_std"] = int(np.argmax(self.worst_atom))
        if self.energy_error:
            errors = np.asarray(self.energy_error)
            facts |= {"energy_mae_per_atom": float(np.abs(errors).mean()), "energy_rmse_per_atom": _rms(errors)}
        if self.force_errors:
            errors = np.concatenate(self.force_errors)
            facts |= {"force_mae": float(np.abs(errors).mean()), "force_rmse": _rms(errors)}
        return facts


#: How the table shows them: wording, unit, factor.
SHOWN_FACTS = {
    "structures": ("structures", "", 1),
    "atoms": ("atoms", "", 1),
    "largest_energy_std_per_atom": ("largest energy_std of a cell", "meV/atom", 1e3),
    "largest_atom_energy_std": ("largest energy_std of an atom", "meV", 1e3),
    "structure_of_largest_atom_energy_std": ("… in structure (counted from 0)", "", 1),
    "energy_mae_per_atom": ("energy MAE", "meV/atom", 1e3),
    "energy_rmse_per_atom": ("energy RMSE", "meV/atom", 1e3),
    "force_mae": ("force MAE, all components", "eV/Å", 1.0),
    "force_rmse": ("force RMSE, all components", "eV/Å", 1.0),
}


@takes_data_options
def run(
    model: Annotated[Path, typer.Argument(help="Model file (.mliuq).", show_default=False)],
    structures: Annotated[Path, typer.Argument(help="Structures: XYZ, VASP, LAMMPS, ASE db, …", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write: .xyz, .extxyz, .xyz.gz, .traj, .db or .json; - for stdout.",
        ),
    ] = None,
    level: Annotated[
        float | None,
        typer.Option(help="Add intervals that hold the reference with this probability: *_low and *_high."),
    ] = None,
    errors: Annotated[
        bool, typer.Option("--errors", help="Error bars of forces and stress too: std, min, max, err.")
    ] = False,
    committee: Annotated[
        bool, typer.Option("--committee", help="Energies, forces and stress by every member too: large files.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(help="OpenMP threads; all the machine offers by default.", min=1)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with every structure's numbers.")] = False,
    *,
    reading: DataOptions,
) -> None:
    """Evaluate structures: energy, forces, stress, and how far to trust them.

    The output holds ASE's own keys (energy, forces, stress, energies) and, where the model has an ensemble,
    energy_std, energy_min, energy_max, energy_err of the cell and energies_std … of every atom, in eV.
    --errors adds forces_std, forces_min, forces_max, forces_err (eV/Å, every component) and stress_std … (eV/Å³), for
    a hypercube posterior the bounds of the whole box (…_box_min, …_box_max); --committee adds energy_comm (M),
    energies_comm (per atom, M), forces_comm (per atom the three components by member 0, by member 1, …) and
    stress_comm (M, 6).
    Where the input carries energies or forces, the errors against them are printed.
    """
    from mliuq import MLIUQCalculator, Model
    from mliuq.ase.frames import add_reference
    from mliuq.readers import read_structures
    from mliuq.readers.origin import describe

    if output is not None:
        check_structures(output, [model, structures])
        if json and is_stream(output):
            raise MliuqError(f"{output}: --json goes to standard output, expected a file for the structures")
    loaded = Model.load(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the reference potential, which is added below
        calculator = MLIUQCalculator(loaded, threads=threads)
    data = reading.settings(loaded.metadata)
    batch = read_structures(structures, data.dialect)
    references = _references(batch, data.keys)
    potential = data.reference_potential(loaded.params.elements)
    summary = Summary()
    results: list[dict[str, Any]] = []
    with ExitStack() as stack:
        write = None if output is None else stack.enter_context(structure_writer(output))
        bar = stack.enter_context(progress_bar(quiet=json))
        for index, atoms in enumerate(batch):
            try:
                evaluated = evaluate(atoms, calculator, errors=errors, committee=committee)
                if level is not None:
                    add_intervals(evaluated, calculator, level)
                if potential is not None:
                    add_reference(evaluated, potential.evaluate(atoms))
            except MliuqError as error:
                raise MliuqError(f"{describe(atoms, index)}: {error}") from error
            _note(summary, references[index], evaluated)
            if write is not None:
                write(evaluated)
            if json:
                results.append(_as_json(evaluated))
            bar("evaluating", index + 1, len(batch))

    facts = summary.facts()
    if summary.energy_error or summary.force_errors:
        warn_of_seen(loaded, batch, "errors on them are no test")
    if json:
        print_json({"summary": facts, "structures": results, "output": None if output is None else str(output)})
        return
    shown = ((SHOWN_FACTS[key], value) for key, value in facts.items())
    to_stream = output is not None and is_stream(output)
    show_table(
        ("", "value", "unit"), [(name, factor * value, unit) for (name, unit, factor), value in shown], aside=to_stream
    )
    if output is not None and not to_stream:
        say(f"wrote {output}")


def evaluate(atoms: Atoms, calculator: Calculator, *, errors: bool = False, committee: bool = False) -> Atoms:
    """Return a copy of `atoms` that carries the results of `calculator`; error bars go to `info` and `arrays`.

    Tags and columns of the input are kept; its own energies and forces are not (they would pass for ours).
    """
    from mliuq.ase.frames import bars_of, committees_of, frame

    work = atoms.copy()
    work.calc = calculator
    names = [name for name in bars_of(work) if errors or name in ENERGY_BARS]
    return frame(work, [*names, *(committees_of(work) if committee else [])])


def add_intervals(evaluated: Atoms, calculator: MLIUQCalculator, level: float) -> None:
    """Put the intervals of the structure evaluated last into `info` and `arrays`."""
    from mliuq.ase.intervals import intervals_of

    evaluated.info["level"] = level
    for name, ends in intervals_of(calculator, level).items():
        (evaluated.arrays if name.startswith("forces") else evaluated.info)[name] = ends


def _references(structures: Sequence[Atoms], keys: Keys) -> list[Targets]:
    """What structures carry to compare with; a warning where they carry it under other names."""
    from mliuq.regression.targets import absence, target_of

    wanted = (True, True, False)
    found = [target_of(atoms, index, keys, wanted) for index, atoms in enumerate(structures)]
    for message in absence(structures, found, keys, wanted):
        log.warning(message)
    return found


def _note(summary: Summary, reference: Targets, evaluated: Atoms) -> None:
    n = len(evaluated)
    summary.n_atoms.append(n)
    summary.energy.append(evaluated.get_potential_energy())
    if "energy_std" in evaluated.info:
        summary.energy_std.append(evaluated.info["energy_std"])
        summary.worst_atom.append(float(evaluated.arrays["energies_std"].max()))
    if reference.energy is not None:
        summary.energy_error.append((reference.energy - evaluated.get_potential_energy()) / n)
    if reference.forces is not None:
        summary.force_errors.append((reference.forces - evaluated.get_forces()).ravel())


def _as_json(evaluated: Atoms) -> dict[str, Any]:
    from mliuq.ase.frames import is_bar

    record: dict[str, Any] = {"n_atoms": len(evaluated), **evaluated.calc.results}
    kept = {**evaluated.info, **evaluated.arrays}
    return record | {key: value for key, value in kept.items() if is_bar(key) or key in INTERVAL_KEYS}


def _rms(values: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))

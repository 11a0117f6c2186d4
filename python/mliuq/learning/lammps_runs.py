"""One run of exploration in LAMMPS, with `fix mliuq/guard`."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import ase.io
import numpy as np
from ase import Atoms
from ase.io.lammpsdata import write_lammps_data

from mliuq.errors import MliuqError
from mliuq.learning import frames_files
from mliuq.learning.processes import run_program
from mliuq.learning.settings import ExploreSettings
from mliuq.model import Model

if TYPE_CHECKING:
    from mliuq.learning.exploring import Run

#: What ASE's guard and LAMMPS's call the same quantity.
QUANTITIES = {
    "forces_err": "force_err",
    "forces_std": "force_std",
    "energies_err": "energy_err",
    "energies_std": "energy_std",
    "extrapolation": "extrapolation",
}
_BAR_PER_GPA = 1e4
_ENDS = re.compile(r"^(?:WARNING: )?.*Fix mliuq/guard.*$", re.MULTILINE)


def run_lammps(
    run: Run, atoms: Atoms, model_path: Path, settings: ExploreSettings, folder: Path, stop: Event
) -> tuple[int, str | None, float, list[Atoms]]:
    """Steps done, why it halted, the largest reading, frames.

    Raises
    ------
    MliuqError
        where LAMMPS cannot be started or does not come to a first step, or for a quantity it does not watch.
    """
    elements = Model.load(model_path).params.elements
    write_lammps_data(folder / "start.data", atoms, specorder=list(elements), masses=True, atom_style="atomic")
    text = lammps_input(run, atoms, model_path.resolve(), elements, settings)
    (folder / "in.lammps").write_text(text, encoding="utf-8")
    words = shlex.split(settings.lammps)
    if shutil.which(words[0]) is None:
        raise MliuqError(f"explore.lammps: {words[0]!r} cannot be started: no such program")
    status = run_program(
        ["command", *words, "-in", "in.lammps", "-log", "none"],
        folder,
        folder / "screen.txt",
        time_limit=settings.time_limit,
        stop=stop,
        environment={"OMP_NUM_THREADS": "1"},
    )
    screen = (folder / "screen.txt").read_text(encoding="utf-8", errors="replace")
    saved = frames_files.read(folder / "saved.xyz") if (folder / "saved.xyz").is_file() else []
    for frame in saved:
        frame.info |= {"guard": "save", "guard_value": float(frame.info["value"])}
    frames = saved
    if settings.pool == "trajectory" and (folder / "pass.dump").is_file():
        steps = {int(frame.info["step"]) for frame in saved}
        frames = saved + [frame for frame in _passed(folder / "pass.dump") if frame.info["step"] not in steps]
    values = [float(frame.info["guard_value"]) for frame in saved]
    result = folder / "result.txt"
    if result.is_file():
        step, last, *_ = (float(word) for word in result.read_text(encoding="ascii").split())
        values.append(last)
        ended = _ENDS.findall(screen) if "the run ends" in screen else []
        halted = ended[-1].strip() if ended else None
        if halted is None and step < settings.steps:
            halted = f"step {step:.0f}: LAMMPS ended the run"
        return int(step), halted, max(values), frames
    errors = re.findall(r"^ERROR.*$", screen, re.MULTILINE)
    why = f"after {settings.time_limit:g} s" if status is None else errors[0] if errors else f"status {status}"
    if status is not None and not re.search(r"^\s*Step\s", screen, re.MULTILINE):
        raise MliuqError(f"{folder}: LAMMPS ended before the first step: {why}")
    last_step = max((int(frame.info["step"]) for frame in frames), default=0)
    return last_step, f"LAMMPS ended: {why}", max(values, default=np.nan), frames


def lammps_input(run: Run, atoms: Atoms, model_path: Path, elements: Sequence[str], settings: ExploreSettings) -> str:
    """The input of a run."""
    if settings.quantity not in QUANTITIES:
        raise MliuqError(
            f"explore.quantity is {settings.quantity!r}, expected one of {', '.join(QUANTITIES)} in LAMMPS"
        )
    quantity = QUANTITIES[settings.quantity]
    boundary = " ".join("p" if periodic else "s" for periodic in atoms.pbc)
    damp = settings.thermostat_time / 1000.0
    t = f"{run.temperature!r} {run.temperature!r}"
    if run.pressure is None:
        move = ["fix move all nve", f"fix bath all langevin {t} {damp!r} {run.seed}"]
    else:
        p, slow = run.pressure * _BAR_PER_GPA, settings.barostat_time / 1000.0
        move = [f"fix move all npt temp {t} {damp!r} iso {p!r} {p!r} {slow!r}"]
    limit = f" limit {settings.upper!r}" if np.isfinite(settings.upper) else ""
    guard = (
        f"fix watch all mliuq/guard {settings.every} {quantity} save {settings.save} halt {settings.halt}{limit}"
        f" file saved.xyz max {settings.max_saved} worst 3 action soft"
    )
    dump = f"dump pass all custom {settings.every} pass.dump id type element x y z"
    lines = [
        "units metal",
        "atom_style atomic",
        "atom_modify map array",
        f"boundary {boundary}",
        "box tilt large",
        "read_data start.data",
        "pair_style mliuq",
        f'pair_coeff * * "{model_path}" {" ".join(elements)}',
        f"velocity all create {run.temperature!r} {run.seed} mom yes rot no dist gaussian",
        f"timestep {settings.timestep / 1000.0!r}",
        *move,
        guard,
        *([dump, f"dump_modify pass element {' '.join(elements)}"] if settings.pool == "trajectory" else []),
        f"thermo {max(settings.steps // 10, 1)}",
        f"run {settings.steps}",
        'print "$(step) $(f_watch[1]) $(f_watch[3]) $(f_watch[4])" file result.txt',
    ]
    return "\n".join(lines) + "\n"


def _passed(path: Path) -> list[Atoms]:
    """Frames of a dump."""
    text = path.read_text(encoding="utf-8")
    steps = [int(step) for step in re.findall(r"ITEM: TIMESTEP\s+(\d+)", text)]
    frames = ase.io.read(path, ":", format="lammps-dump-text")
    for step, frame in zip(steps, frames, strict=False):
        frame.info["step"] = step
    return list(frames[: len(steps)])

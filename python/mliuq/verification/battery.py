"""The table of checks, and a run over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mliuq.errors import MliuqError
from mliuq.model import Model
from mliuq.verification import bars, derivatives, distance, doors, dynamics, machine, symmetry
from mliuq.verification.outcome import Outcome, not_applicable
from mliuq.verification.scenes import Scenes
from mliuq.verification.subject import Subject


@dataclass(frozen=True)
class Check:
    """One question: `run(subject, scenes)` answers it; `bars` where only a model with members can be asked."""

    name: str
    run: Callable[[Subject, Scenes], Outcome]
    bars: bool = False

    @property
    def question(self) -> str:
        """What is asked, in a sentence."""
        return (self.run.__doc__ or "").strip().split("\n")[0]


#: OpenKIM's ten verification checks by their meaning (species, permutation, images, objectivity in two, inversion,
#: forces, dimer, memory in two, threads, units), then what they leave out.
CHECKS: tuple[Check, ...] = (
    Check("species", symmetry.species),
    Check("permutation", symmetry.permutation),
    Check("periodic images", symmetry.images),
    Check("translation", symmetry.translation),
    Check("rotation", symmetry.rotation),
    Check("inversion", symmetry.inversion),
    Check("forces", derivatives.forces),
    Check("dimer", derivatives.dimer),
    Check("history", machine.history),
    Check("memory", machine.memory),
    Check("threads", machine.threads),
    Check("units", derivatives.units),
    Check("stress", derivatives.stress),
    Check("cutoff", derivatives.cutoff),
    Check("separated parts", distance.extensivity),
    Check("supercell", distance.supercell),
    Check("energy drift", dynamics.drift),
    Check("repulsion", distance.repulsion),
    Check("LAMMPS", doors.lammps),
    Check("bars", bars.consistent, bars=True),
    Check("bars of supercells", bars.size, bars=True),
    Check("bond scan", bars.bond_scan, bars=True),
)


@dataclass(frozen=True)
class Certificate:
    """What the battery found of a model.

    `passed`: no check failed (those that do not apply are left out).
    """

    name: str
    elements: tuple[str, ...]
    lattice: str
    distance: float
    outcomes: tuple[tuple[Check, Outcome], ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(outcome.grade != "F" for _, outcome in self.outcomes)

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "model": self.name,
            "elements": list(self.elements),
            "rest": {"lattice": self.lattice, "distance_angstrom": self.distance},
            "passed": self.passed,
            "checks": [
                {"name": check.name, "question": check.question, **asdict(outcome)} for check, outcome in self.outcomes
            ],
        }


def verify(
    model: Model | Subject,
    *,
    name: str = "model",
    checks: Sequence[Check] = CHECKS,
    progress: Callable[[str, int, int], None] | None = None,
) -> Certificate:
    """Put a model through the battery.

    Parameters
    ----------
    model : Model or Subject
        A Subject may be a wrapper.
    name : str
        What the certificate calls it.
    checks : sequence of Check
    progress : callable, optional
        Called as ``progress(check, done, total)``.
    """
    subject = model if isinstance(model, Subject) else Subject(model)
    scenes = Scenes(subject)
    outcomes = []
    for done, check in enumerate(checks):
        if progress:
            progress(check.name, done, len(checks))
        outcomes.append((check, _outcome(check, subject, scenes)))
    if progress:
        progress("verified", len(checks), len(checks))
    lattice, distance_ = scenes.rest
    return Certificate(name, subject.elements, lattice, distance_, tuple(outcomes))


def _outcome(check: Check, subject: Subject, scenes: Scenes) -> Outcome:
    if check.bars and not subject.has_bars:
        return not_applicable("a model without members has no bars")
    try:
        return check.run(subject, scenes)
    except MliuqError as error:
        return Outcome("F", None, None, "", f"refused: {error}")

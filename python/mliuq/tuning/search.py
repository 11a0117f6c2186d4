"""The search: successive halving within families of like cost, then radii, weights and groups one at a time.

Candidates are judged on a quarter of the configurations, the better half of every family (2J, linear or quadratic)
again on twice as many, and so on to all (Jamieson & Talwalkar, AISTATS 2016).  Families are never weighed against each
other before the last round: what needs more data to be good must not lose for having seen little, and the front of
error against cost needs all of them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from mliuq.errors import MliuqError
from mliuq.fitting.data import FitData, choose_data, configurations
from mliuq.fitting.settings import FitSettings
from mliuq.regression.computed import fingerprint
from mliuq.regression.distributed import Progress
from mliuq.tuning.settings import TuneSettings
from mliuq.tuning.trial import Candidate, Trial, elements_of, judge, with_groups

log = logging.getLogger(__name__)

_ROUNDS = 3
_FEWEST = 60  # configurations of the first round
_RADII = (0.8, 0.9, 1.1, 1.25)  # steps of a radius, a weight and a group's factor
_WEIGHTS = (0.5, 0.75, 1.33, 2.0)
_GROUPS = (0.1, 10.0)


@dataclass(frozen=True)
class TuneResult:
    """What a search found.

    Attributes
    ----------
    chosen : the best trial on all configurations, within the cost allowed
    trials : all that were made, in order
    front : those of the last round that no other beats in error and cost both, cheapest first
    settings : those of the fit that `chosen` asks for
    data : configurations looked at, and those held out, which the search never saw
    complete : whether the budget sufficed for all that was planned
    """

    chosen: Trial
    trials: Sequence[Trial]
    front: Sequence[Trial]
    settings: FitSettings
    data: FitData
    complete: bool = True


def tune(
    structures: Iterable[Atoms],
    settings: FitSettings | Mapping[str, Any] | None = None,
    options: TuneSettings | None = None,
    *,
    test: Iterable[Atoms] | None = None,
    journal: Path | None = None,
    progress: Progress | None = None,
) -> TuneResult:
    """Find the descriptor that predicts best what it has not seen.

    Parameters
    ----------
    structures : training configurations
    settings : of the fit; its descriptor is varied.  Configurations that the fit holds out are not seen here either
    options : what is tried
    test : configurations to hold out, in place of the share that the settings name
    journal : file that keeps every trial; a search that was stopped goes on from it
    progress : called as ``progress(stage, done, total)``

    Raises
    ------
    MliuqError
        for data or settings that cannot be fitted, or a budget that is over before one candidate was judged.
    """
    options = options or TuneSettings()
    options.validate()
    if not isinstance(settings, FitSettings):
        settings = FitSettings().updated(settings or {})
    settings.validate()
    if settings.data.represent:
        raise MliuqError("data.represent is given, but tune lets every configuration stand for itself: expected none")
    train, held_out = list(configurations(structures, "structures")), list(configurations(test or (), "test"))
    elements = elements_of(settings, [*train, *held_out])
    data = choose_data(train, held_out, settings.snap.params([*train, *held_out]), settings)
    search = _Search(data, elements, settings, options, journal, progress)
    last = _halving(search)
    best = min(last, key=lambda trial: trial.score)
    if options.elements and len(elements) > 1:
        best = _elements(search, best, len(elements), last)
    if options.groups:
        best = _groups(search, best, last)
    if not last or not np.isfinite(best.score):
        raise MliuqError("no candidate is determined by the data: expected more configurations or smaller 2J")
    allowed = [t for t in last if not options.max_cost or t.cost <= options.max_cost]
    if not allowed:
        cheapest = min(last, key=lambda trial: trial.cost)
        raise MliuqError(
            f"no candidate takes at most {options.max_cost:g} µs per atom: the cheapest takes {cheapest.cost:.3g}"
            f" ({cheapest.candidate.describe()})"
        )
    chosen = min(allowed, key=lambda trial: trial.score)
    return TuneResult(
        chosen,
        search.made,
        pareto_front(last),
        search.settings_of(chosen),
        data,
        not search.cut_short,
    )


def pareto_front(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that none beats in score and cost both, cheapest first."""
    front: list[Trial] = []
    for trial in sorted(trials, key=lambda t: (t.cost, t.score)):
        if np.isfinite(trial.score) and (not front or trial.score < front[-1].score):
            front.append(trial)
    return front


class _Search:
    """Trials of one search: those kept in the journal, and new ones while the budget lasts."""

    def __init__(
        self,
        data: FitData,
        elements: Sequence[str],
        settings: FitSettings,
        options: TuneSettings,
        journal: Path | None,
        progress: Progress | None,
    ) -> None:
        self.data, self.elements, self.settings, self.options = data, elements, settings, options
        self.made: list[Trial] = []
        self.cut_short = False
        self._journal, self._progress = journal, progress
        self._started = time.monotonic()
        self._order = np.random.default_rng(settings.seed).permutation(len(data.train))
        self._pace: dict[tuple[int, bool], float] = {}  # seconds per configuration of each family
        asked = (settings.to_toml(), options.left_out, data.one_body)
        self.identity = hashlib.sha256(f"{fingerprint(data.train)}{asked}".encode()).hexdigest()[:16]
        self._kept = self._read()

    def on(self, n: int) -> FitData:
        """Return the data of n configurations, in the order of the data; fewer are always among the more."""
        chosen = sorted(self._order[:n].tolist())
        return replace(self.data, train=[self.data.train[i] for i in chosen], held_out=())

    def run(
        self, candidates: Sequence[Candidate], n: int, stage: str, constants: dict[str, float] | None = None
    ) -> list[Trial]:
        """Judge candidates on n configurations; those the budget has no time for are missing."""
        data, found = self.on(n), []
        last = n == len(self.data.train)
        for done, candidate in enumerate(candidates, start=1):
            trial = self._kept.get(_key(candidate, n, constants))
            if trial is None:
                spent = time.monotonic() - self._started
                expected = self._pace.get(candidate.family, 0.0) * n
                if self.made and spent + expected > self.options.budget:
                    self.cut_short = True
                    continue
                trial = judge(
                    candidate, data, self.elements, self.settings,
                    whole_classes=self.options.left_out == "classes", constants=constants, timed=last,
                )  # fmt: skip
                self._write(trial, n, constants)
            self._pace[candidate.family] = trial.seconds / n
            self.made.append(trial)
            found.append(trial)
            if self._progress:
                self._progress(f"{stage}: {candidate.describe()}", done, len(candidates))
        return found

    def settings_of(self, trial: Trial) -> FitSettings:
        """Return the settings of the fit that a trial stands for; constants stay free unless groups hang on them."""
        changed = self.settings.updated(trial.candidate.changes(self.elements))
        return with_groups(changed, trial.candidate, trial.constants) if trial.candidate.groups else changed

    def _read(self) -> dict[str, Trial]:
        if self._journal is None or not self._journal.exists():
            return {}
        kept = {}
        for number, line in enumerate(self._journal.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                entry = json.loads(line)
                own, key, trial = entry["search"], entry["key"], Trial.from_mapping(entry["trial"])
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                if number == len(self._journal.read_text(encoding="utf-8").splitlines()):
                    continue  # the line a killed search was writing
                raise MliuqError(f"{self._journal}: line {number} is damaged ({error}); remove the file") from error
            if own != self.identity:
                raise MliuqError(
                    f"{self._journal}: holds trials of other data or settings; give another folder or remove the file"
                )
            kept[key] = trial
        return kept

    def _write(self, trial: Trial, n: int, constants: dict[str, float] | None) -> None:
        if self._journal is not None:
            entry = {"search": self.identity, "key": _key(trial.candidate, n, constants), "trial": trial.to_mapping()}
            with open(self._journal, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry) + "\n")


def _key(candidate: Candidate, n: int, constants: dict[str, float] | None) -> str:
    return f"{candidate!r} on {n} with {sorted((constants or {}).items())}"


def _halving(search: _Search) -> list[Trial]:
    """Return the trials of the last round that was reached."""
    options, n = search.options, len(search.data.train)
    cutoffs = options.cutoffs(search.data.train)
    families = [(j, False) for j in options.twojmax] + [(j, True) for j in options.quadratic]
    alive = [Candidate(j, cutoff, quadratic) for j, quadratic in families for cutoff in cutoffs]
    sizes = sorted({min(n, max(_FEWEST, n >> shift)) for shift in range(_ROUNDS)})
    last: list[Trial] = []
    for number, size in enumerate(sizes, start=1):
        trials = search.run(alive, size, f"round {number} of {len(sizes)}, {size} configurations")
        if not trials:
            break
        last = trials
        alive = []
        for family in families:
            own = sorted((t for t in trials if t.candidate.family == family), key=lambda t: t.score)
            alive += [t.candidate for t in own[: (len(own) + 1) // 2]]
        alive.sort(key=lambda c: min(t.score for t in trials if t.candidate == c))  # the best while time lasts
    if not last:
        raise MliuqError(f"the budget of {options.budget:g} s was over before a candidate was judged")
    if last[0].configurations < n:
        log.warning("the budget was over before all configurations were looked at: %d of %d", last[0].configurations, n)
    return last


def _elements(search: _Search, best: Trial, n_elements: int, last: list[Trial]) -> Trial:
    """Vary radii (the largest stays 0.5) and weights of elements one at a time, on the configurations of `best`."""
    snap = search.settings.snap
    start = {"radii": snap.radii or (0.5,) * n_elements, "weights": snap.weights or (1.0,) * n_elements}
    for name, steps in (("radii", _RADII), ("weights", _WEIGHTS)):
        for element in range(n_elements):
            tried = []
            for step in steps:
                values = list(getattr(best.candidate, name) or start[name])
                values[element] *= step
                if name == "radii":
                    values = [0.5 * value / max(values) for value in values]
                changed = tuple(round(value, 4) for value in values)
                tried.append(
                    replace(best.candidate, radii=changed)
                    if name == "radii"
                    else replace(best.candidate, weights=changed)
                )
            trials = search.run(tried, best.configurations, f"{name} of {search.elements[element]}")
            last += trials
            best = min([best, *trials], key=lambda t: t.score)
    return best


def _groups(search: _Search, best: Trial, last: list[Trial]) -> Trial:
    """Vary the weights of groups one at a time, at the constants of `best`."""
    group_key = search.settings.data.group_key
    names = sorted({str(g) for atoms in search.data.train if (g := atoms.info.get(group_key)) is not None})
    fixed = {**_given_constants(search.settings), **best.constants}
    for name in names if len(names) > 1 else []:
        tried = [replace(best.candidate, groups=(*best.candidate.groups, (name, factor))) for factor in _GROUPS]
        trials = [replace(t, constants=fixed) for t in search.run(tried, best.configurations, f"group {name}", fixed)]
        last += trials
        best = min([best, *trials], key=lambda t: t.score)
    return best


def _given_constants(settings: FitSettings) -> dict[str, float]:
    named = {"energy": settings.weights.energy, "force": settings.weights.force, "stress": settings.weights.stress}
    return {kind: float(value) for kind, value in named.items() if value != "auto"}

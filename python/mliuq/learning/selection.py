"""Which structures to label: few, and different ones.

The pool is looked through in blocks.  What stays of a structure is its score (8 bytes, and 8 for its fingerprint); its
rows are made again when its turn comes.  Structures are taken one by one, each as if those before it were labelled.

Where scores only fall as others are taken, the last score of a structure bounds the present one: the best bound is
made anew until it is the best score (lazy greedy; Minoux, Optimization Techniques, 234 (1978)), which gives the greedy
batch of the whole pool at little more than one pass over it.  Elsewhere the `shortlist`
structures best by themselves are scored anew for every choice.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from mliuq.errors import MliuqError
from mliuq.fitting.data import configurations
from mliuq.learning.aim import Aim, CriterionName
from mliuq.learning.duplicates import Seen
from mliuq.learning.queue import Blocks, Lazy, Shortlist
from mliuq.model import Model
from mliuq.readers.fingerprints import fingerprints
from mliuq.regression.distributed import Progress
from mliuq.regression.rows import Ints

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """Why a structure was taken.

    Attributes
    ----------
    index : place in the pool, from 0
    score : at the time of the choice, in the unit of the selection
    atom : the atom that most speaks for it, from 0; None where none does
    reason : in words
    """

    index: int
    score: float
    atom: int | None
    reason: str


@dataclass(frozen=True)
class Selection:
    """The structures to label, in the order they were taken.

    Attributes
    ----------
    choices : one for each
    criterion, unit : of the scores; the unit is empty where there is none
    identical : structures of the pool passed over because they are known or are there before, to 1e-4 Å
    similar : those passed over because they are nearly ones known or taken
    """

    choices: tuple[Choice, ...]
    criterion: CriterionName
    unit: str
    identical: int
    similar: int

    @property
    def indices(self) -> tuple[int, ...]:
        """Places in the pool, in the order taken."""
        return tuple(choice.index for choice in self.choices)


def select(
    pool: Sequence[Atoms],
    model: Model,
    n: int,
    *,
    criterion: CriterionName = "information",
    rows: Sequence[str] = ("energy", "forces"),
    region: Sequence[Atoms] | None = None,
    target: Sequence[Atoms] | None = None,
    coefficients: Sequence[float] | None = None,
    values: ArrayLike | None = None,
    known: Sequence[Atoms] | None = None,
    similar: float = 1e-3,
    weights: Mapping[str, float] | None = None,
    seed: int = 0,
    shortlist: int = 1000,
    block: int = 256,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Selection:
    """Choose the structures whose labels would teach a model most.

    Parameters
    ----------
    pool : unlabelled structures; only a block of them is looked at together, so that they may be read from a file as
        they are asked for (`mliuq.readers.indexed_xyz`)
    model : a fit that carries what the criterion needs
    n : how many to choose; fewer are where the pool holds no more that differ
    criterion : "information", about all weights (nats); "mean_information", about the rows of `region` (nats);
        "representation", the share of the pool, or of `region`, that is like it and has no label to stand for it yet
        (of those `known`; `mliuq.fit` with `represent` weighs them so); "maxvol", the largest grade γ of an atom;
        "forces_err", the largest predicted error of a force (eV/Å);
        "property", by how much the squared bar of `target` or of `values` would fall; "random", a control
    rows : what a label holds: some of "energy", "forces", "stress".  Those that the fit gives no weight do not count
    region : structures the model is to be good for; "representation" does with the pool
    target : structures whose labels (`rows`) are wanted, or, with `coefficients`, whose combination of energies is
    coefficients : of the energies of `target`, as `mliuq.compare` takes them
    values : in place of `target`, properties propagated through the members: (M,) or (k, M) by every member, NaN where
        one failed (`mliuq.learning.propagated`); all have the same say
    known : structures labelled already; those the model was fitted to are known by their fingerprints in any case, but
        "representation" needs all of them here
    similar : relative distance up to which structures are the same (`mliuq.learning.duplicates`); 0: identical ones
        alone
    weights : weights of energy (per atom), forces, stress in the fit to come; those of the model's own fit by default
    seed : of random draws
    shortlist : structures, best by themselves, among which "mean_information", "maxvol" and "property" choose, or
        drawn at random, for "representation"; `n` at least
    block : structures looked at together; their rows take 64 MiB at most, or what one structure needs
    threads : OpenMP threads
    progress : called as ``progress(stage, done, total)``

    Raises
    ------
    MliuqError
        for options that make no sense together, a model that does not carry what is needed, and structures that cannot
        be evaluated.
    """
    for name, value in (("n", n), ("shortlist", shortlist), ("block", block)):
        if value < 1:
            raise MliuqError(f"{name} is {value}, expected at least 1")
    if not 0.0 <= similar < 1.0:
        raise MliuqError(f"similar is {similar}, expected a number from 0 to below 1")
    if isinstance(pool, Atoms | list) or not isinstance(pool, Sequence):  # any other reads a file, maybe
        pool = configurations(pool, "pool")
    known = configurations(known or (), "known")
    region, target = (
        None if given is None else configurations(given, name)
        for name, given in (("region", region), ("target", target))
    )
    aim = Aim(criterion, rows, weights, region, target, coefficients, values)
    aim.validate()
    if criterion == "representation":
        _warn_of_unknown(model, known)
    new = _new(pool, model, known)
    judge = aim.judge(model, pool, new, known, seed, threads or 0)
    blocks = Blocks(pool, judge, block, 3 * model.theta.size)
    identical = len(pool) - len(new)
    if judge.drawn and len(new) > max(n, shortlist):
        new = np.sort(np.random.default_rng(seed).choice(new, max(n, shortlist), replace=False))
    scores = np.empty(len(new))
    done = 0
    for places, prepared in blocks.prepared(new):
        scores[done : done + len(places)] = [judge.score(one) for one in prepared]
        done += len(places)
        if progress:
            progress("looking through the pool", places[-1] + 1, len(pool))
    queue = (
        Lazy(new, scores, judge, blocks) if judge.falls else Shortlist(new, scores, judge, blocks, max(n, shortlist))
    )
    seen = Seen(known, model.params, similar)
    choices: list[Choice] = []
    passed = 0
    while len(choices) < n and (found := queue.best()) is not None:
        index, score, one = found
        atoms = pool[index]
        if seen.holds(atoms):
            passed += 1
            continue
        choices.append(Choice(index, score, *judge.explain(atoms, one, score)))
        if len(choices) < n:
            judge.take(one)
            queue.taken()
        if progress:
            progress("choosing", len(choices), n)
    if len(choices) < n:
        log.warning("%d structures were asked for, the pool of %d holds %d that differ", n, len(pool), len(choices))
    return Selection(tuple(choices), criterion, judge.unit, identical, passed)


def _warn_of_unknown(model: Model, known: Sequence[Atoms]) -> None:
    """Structures of the fit that are not given cannot stand for anything."""
    fitted = model.arrays.get("data.fingerprints", np.zeros(0)).ravel()
    if missing := int(np.count_nonzero(~np.isin(fitted, fingerprints(known)))):
        log.warning(
            "%d of the %d configurations of the fit are not among those known: they stand for nothing in the pool, and"
            " others like them are chosen; give all that are labelled",
            missing,
            len(fitted),
        )


def _new(pool: Sequence[Atoms], model: Model, known: Sequence[Atoms]) -> Ints:
    """Return the places of structures that are not known, the first of each that are identical."""
    own = np.fromiter((fingerprints([atoms])[0] for atoms in pool), np.float64, len(pool))
    labelled = np.concatenate([fingerprints(known), model.arrays.get("data.fingerprints", np.zeros(0)).ravel()])
    _, first = np.unique(own, return_index=True)
    return np.asarray(np.sort(first[~np.isin(own[first], labelled)]), dtype=np.int64)

"""Whose turn it is: the structures of a pool, best first, as scores change with what is taken."""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from mliuq.errors import MliuqError
from mliuq.learning.criteria import Criterion
from mliuq.readers.origin import describe
from mliuq.regression.rows import BLOCK_NUMBERS, Floats, Ints


class Blocks:
    """The structures of a pool, looked at in blocks.

    Parameters
    ----------
    size : structures in a block, at most
    per_atom : numbers that a prepared structure has for each atom: they bound a block, too
    """

    def __init__(self, pool: Sequence[Atoms], judge: Criterion[Any], size: int, per_atom: int) -> None:
        self._pool, self._judge, self._size, self._per_atom = pool, judge, size, per_atom

    def prepared(self, indices: Ints) -> Iterator[tuple[list[int], list[Any]]]:
        """Yield places in the pool and the structures there, prepared, block by block."""
        waiting: list[Atoms] = []
        places: list[int] = []
        numbers = 0
        for index in indices.tolist():
            atoms = self._pool[index]
            more = len(atoms) * self._per_atom
            if waiting and (len(waiting) == self._size or numbers + more > BLOCK_NUMBERS):
                yield places, self._prepare(waiting, places)
                waiting, places, numbers = [], [], 0
            waiting.append(atoms)
            places.append(index)
            numbers += more
        if waiting:
            yield places, self._prepare(waiting, places)

    def one(self, index: int) -> Any:
        """Return one structure, prepared."""
        return self._prepare([self._pool[index]], [index])[0]

    def _prepare(self, structures: list[Atoms], places: list[int]) -> list[Any]:
        try:
            return self._judge.prepare(structures, places)
        except MliuqError:
            for atoms, index in zip(structures, places, strict=True):  # which of them?
                try:
                    self._judge.prepare([atoms], [index])
                except MliuqError as error:
                    raise MliuqError(f"pool: {describe(atoms, index)}: {error}") from error
            raise


class Queue(ABC):
    """Gives the best structure that has not been given; `taken` says that the last one given was taken."""

    @abstractmethod
    def best(self) -> tuple[int, float, Any] | None:
        """Return place, score and what was prepared of the best structure left; None at the end."""

    @abstractmethod
    def taken(self) -> None:
        """Scores are others now."""


class Lazy(Queue):
    """For scores that only fall: one made before is a bound, and most are never made again."""

    def __init__(self, indices: Ints, scores: Floats, judge: Criterion[Any], blocks: Blocks) -> None:
        self._judge, self._blocks, self._taken = judge, blocks, 0
        order = np.argsort(-scores, kind="stable")
        self._indices, self._scores, self._next = indices[order], scores[order], 0
        self._heap: list[tuple[float, int, int]] = []  # of those whose score was made again: −score, place, when

    def best(self) -> tuple[int, float, Any] | None:
        """See `Queue.best`."""
        while (found := self._pop()) is not None:
            bound, index, made = found
            one = self._blocks.one(index)
            if made == self._taken:
                return index, -bound, one
            heapq.heappush(self._heap, (-self._judge.score(one), index, self._taken))
        return None

    def _pop(self) -> tuple[float, int, int] | None:
        """Return the best bound, its place and when it was made."""
        first = None
        if self._next < len(self._indices):
            first = (-float(self._scores[self._next]), int(self._indices[self._next]), 0)
        if self._heap and (first is None or self._heap[0] < first):
            return heapq.heappop(self._heap)
        self._next += 1
        return first

    def taken(self) -> None:
        """See `Queue.taken`."""
        self._taken += 1


class Shortlist(Queue):
    """For other scores: those of some structures, made again after every choice.

    What is prepared of them is kept as far as 64 MiB go.
    """

    def __init__(self, indices: Ints, scores: Floats, judge: Criterion[Any], blocks: Blocks, n: int) -> None:
        best = np.sort(np.argsort(-scores, kind="stable")[:n])
        self._left: dict[int, float] = dict(zip(indices[best].tolist(), scores[best].tolist(), strict=True))
        self._judge, self._blocks = judge, blocks
        self._kept: dict[int, Any] = {}
        self._room = BLOCK_NUMBERS

    def best(self) -> tuple[int, float, Any] | None:
        """See `Queue.best`."""
        if not self._left:
            return None
        index = max(self._left, key=lambda i: (self._left[i], -i))
        one = self._kept.pop(index, None)
        return index, self._left.pop(index), self._blocks.one(index) if one is None else one

    def taken(self) -> None:
        """See `Queue.taken`."""
        for index in self._left.keys() & self._kept.keys():
            self._left[index] = self._judge.score(self._kept[index])
        rest = np.array(sorted(self._left.keys() - self._kept.keys()), dtype=np.int64)
        for places, prepared in self._blocks.prepared(rest):
            for index, one in zip(places, prepared, strict=True):
                self._left[index] = self._judge.score(one)
                self._keep(index, one)

    def _keep(self, index: int, one: Any) -> None:
        size = sum(np.size(part) for part in one) if isinstance(one, tuple) else np.size(one)
        if size <= self._room:
            self._room -= size
            self._kept[index] = one

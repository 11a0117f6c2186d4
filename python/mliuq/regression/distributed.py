"""Work shared between ranks, with results that do not depend on how many there are.

Blocks are dealt out in contiguous runs.  A reduction over blocks always follows the same binary tree over block
indices, whoever owns the leaves: node (level, i) joins blocks i·2^level … (i+1)·2^level − 1.  A rank folds its own run
into the few complete nodes it contains (at most two per level), hands them to its left neighbour in a tree of ranks,
and rank 0 finishes.  One rank or fifty perform the very same floating-point operations.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mliuq.errors import MliuqError

T = TypeVar("T")
Node = tuple[int, int, Any]
Progress = Callable[[str, int, int], None]

_LAUNCHED = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")  # what MPICH's and Open MPI's launchers tell a rank


class Team:
    """A team of one; the ranks of `MpiTeam` answer to the same calls."""

    rank = 0
    size = 1

    def share(self, n_blocks: int) -> range:
        """Return the contiguous run of blocks this rank works on."""
        return range(n_blocks * self.rank // self.size, n_blocks * (self.rank + 1) // self.size)

    def reduce(self, first: int, values: Iterable[T], combine: Callable[[T, T], T]) -> T | None:
        """Combine one value per block over all ranks; `first` is the index of this rank's first block.

        Every rank gets the result; None if there are no blocks at all.
        """
        nodes: list[Node] = []
        for index, value in enumerate(values, start=first):
            _push(nodes, (0, index, value), combine)
        nodes = self._collect(nodes, combine)
        result = None
        while nodes:  # what is left on rank 0 is one node per set bit of n_blocks: join from the right
            value = nodes.pop()[2]
            result = value if result is None else combine(value, result)
        return self.broadcast(result)

    def gather(self, part: NDArray[Any]) -> NDArray[Any]:
        """Join the arrays of all ranks, in rank order, along their first axis; every rank gets the result."""
        return part

    def broadcast(self, value: T) -> T:
        """Return rank 0's value on every rank."""
        return value

    def abort(self) -> None:
        """End the other ranks too, after a failure on this one."""

    def _collect(self, nodes: list[Node], combine: Callable[[Any, Any], Any]) -> list[Node]:
        return nodes


class MpiTeam(Team):
    """The ranks of an MPI communicator (mpi4py)."""

    def __init__(self, comm: Any) -> None:
        self.comm = comm
        self.rank = int(comm.Get_rank())
        self.size = int(comm.Get_size())

    def gather(self, part: NDArray[Any]) -> NDArray[Any]:
        """See `Team.gather`."""
        return np.concatenate(self.comm.allgather(part), axis=0)

    def broadcast(self, value: T) -> T:
        """See `Team.broadcast`."""
        result: T = self.comm.bcast(value, root=0)
        return result

    def abort(self) -> None:
        """See `Team.abort`."""
        self.comm.Abort(1)

    def _collect(self, nodes: list[Node], combine: Callable[[Any, Any], Any]) -> list[Node]:
        stride = 1
        while stride < self.size:
            if self.rank % (2 * stride):
                self.comm.send(nodes, dest=self.rank - stride)
                return []
            if self.rank + stride < self.size:
                for node in self.comm.recv(source=self.rank + stride):
                    _push(nodes, node, combine)
            stride *= 2
        return nodes


def world() -> Team:
    """Return the team this process was started in: MPI's when run under mpirun, a team of one otherwise.

    mpi4py is imported only when the environment shows an MPI launcher, so that nobody else needs it.

    Raises
    ------
    MliuqError
        if mpi4py is missing, or belongs to another MPI than the launcher: every rank would then take itself for alone.
    """
    launched = next((int(os.environ[key]) for key in _LAUNCHED if os.environ.get(key, "").isdigit()), 1)
    if launched == 1:
        return Team()
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise MliuqError(f"started as one of {launched} MPI ranks, but mpi4py cannot be imported: {error}") from error
    if MPI.COMM_WORLD.Get_size() != launched:
        raise MliuqError(
            f"started as one of {launched} MPI ranks, but mpi4py ({MPI.get_vendor()[0]}) sees "
            f"{MPI.COMM_WORLD.Get_size()}: use the mpirun of the MPI that mpi4py loads (see MPI4PY_LIBMPI)"
        )
    return MpiTeam(MPI.COMM_WORLD)


def _push(nodes: list[Node], node: Node, combine: Callable[[Any, Any], Any]) -> None:
    """Append a node, joining siblings as long as the last two are a left and a right one."""
    nodes.append(node)
    while len(nodes) > 1:
        (level, index, left), (right_level, right_index, right) = nodes[-2:]
        if level != right_level or index % 2 or right_index != index + 1:
            return
        nodes[-2:] = [(level + 1, index // 2, combine(left, right))]

"""Reductions follow one tree whoever owns the leaves; MPI ranks give the serial answer."""

from __future__ import annotations

import numpy as np
import pytest
from mliuq.regression.distributed import Team, _push


class _Pretend(Team):
    def __init__(self, rank, size):
        self.rank, self.size = rank, size


def join(a, b):
    return f"({a}{b})"


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 13])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_tree_is_the_same_for_any_number_of_ranks(n, size):
    expected = Team().reduce(0, [str(i % 10) for i in range(n)], join)
    nodes = []
    for rank in range(size):
        share = _Pretend(rank, size).share(n)
        own = []
        for i in share:
            _push(own, (0, i, str(i % 10)), join)
        for node in own:
            _push(nodes, node, join)
    result = None
    while nodes:
        value = nodes.pop()[2]
        result = value if result is None else join(value, result)
    assert result == expected


def test_shares_cover_all_blocks_once():
    shares = [_Pretend(rank, 4).share(10) for rank in range(4)]
    assert [i for share in shares for i in share] == list(range(10))


def test_no_blocks_reduce_to_none():
    assert Team().reduce(0, [], np.add) is None

"""One thread of BLAS for few weights, wherever a fit is made."""

from __future__ import annotations

from pathlib import Path

import mliuq
import pytest
from mliuq.fitting.data import choose_data
from mliuq.fitting.settings import FitSettings
from mliuq.readers import read_structures
from mliuq.regression import blas
from mliuq.tuning.trial import Candidate, judge
from threadpoolctl import threadpool_info, threadpool_limits

SETTINGS = FitSettings().updated({"snap.twojmax": 2, "posterior.members": 4, "posterior.calibrate": False})


def threads() -> set[int]:
    return {int(pool["num_threads"]) for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_few_weights_take_one_thread_and_many_what_there_is() -> None:
    with threadpool_limits(2, user_api="blas"):
        around = threads()
        assert around == {2}
        with blas.blas_threads(1000):
            assert threads() == {1}
        assert threads() == around
        with blas.blas_threads(1001):
            assert threads() == around


@pytest.mark.parametrize(("small", "expected"), [(1000, {1}), (5, {2})])
@pytest.mark.parametrize("what", ["fit", "adopt", "tune"])
def test_every_fit_obeys(
    what: str, small: int, expected: set[int], tungsten: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blas, "SMALL", small)
    seen: list[set[int]] = []
    structures = read_structures(tungsten)[::9]

    def progress(*_: object) -> None:
        seen.append(threads())

    with threadpool_limits(2, user_api="blas"):
        if what == "fit":
            mliuq.fit(structures, settings=SETTINGS, progress=progress)
        elif what == "adopt":
            model = mliuq.fit(structures, settings=SETTINGS)
            mliuq.adopt(model, structures, SETTINGS, progress=progress)
        else:
            data = choose_data(structures, [], SETTINGS.snap.params(structures), SETTINGS)
            judge(Candidate(2, 4.7), data, ("W",), SETTINGS, progress=progress)
    assert seen
    assert set().union(*seen) == expected

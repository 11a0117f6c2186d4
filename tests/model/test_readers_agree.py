"""A file is a model to both readers or to none."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
from mutants import mutants, verdicts
from systems import PARAMS, random_model

CORPUS = Path(__file__).parents[2] / "cpp" / "fuzz" / "corpus" / "model_file"


def test_mutants(tmp_path: Path) -> None:
    path = tmp_path / "m.mliuq"
    random_model(PARAMS["binary"], members=2, zbl=(1.5, 3.0), noise=True).save(path)
    found = []
    for mutant in islice(mutants(path.read_bytes(), np.random.default_rng(1)), 600):
        path.write_bytes(mutant)
        found.append(verdicts(path))
    assert all(python == core for python, core in found)
    assert 20 < sum(python for python, _ in found) < 580


def test_corpus(tmp_path: Path) -> None:
    """What fuzzing found worth keeping: two bytes of header length, header, arrays."""
    path, seeds = tmp_path / "m.mliuq", sorted(CORPUS.iterdir())
    assert len(seeds) > 10
    for seed in seeds:
        content = seed.read_bytes()
        size = int.from_bytes(content[:2], "little")
        path.write_bytes(size.to_bytes(8, "little") + content[2:])
        python, core = verdicts(path)
        assert python == core, seed.name

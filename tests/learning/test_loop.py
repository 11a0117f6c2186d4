"""The loop as a whole: what it leaves behind, and that stopping it changes nothing."""

from __future__ import annotations

from mliuq.learning import frames_files, learn
from mliuq.model import Model


def test_a_loop_leaves_what_it_has_done(setting_up, made, tmp_path) -> None:
    result = learn(setting_up(), tmp_path / "out")
    assert result.reason == "rounds"
    assert [log["round"] for log in result.logs] == [0, 1, 2]
    labels = [frames_files.read(tmp_path / "out" / f"round_00{i}" / "labels.xyz") for i in range(3)]
    assert [len(part) for part in labels] == [6, 2, 2]
    assert len(made()) == len(set(made())) == 10
    for i, log in enumerate(result.logs):
        assert log["labels_spent"] == sum(map(len, labels[: i + 1]))
    last = Model.load(result.model)
    assert last.metadata["data"]["configurations"] == 10
    assert (tmp_path / "out" / "learn.png").read_bytes().startswith(b"\x89PNG")

"""Runs a property with the best fit and with every member: in this process, in others, or on a cluster."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mliuq.errors import MliuqError
from mliuq.model import Model
from mliuq.model.fingerprint import fingerprint
from mliuq.propagation.calculator import WeightsCalculator, weights_of
from mliuq.propagation.comparisons import agreement
from mliuq.propagation.property import Property
from mliuq.propagation.results import Curve, Estimate, Failure, Line, Measurement, Noise, PropertyResult, Value
from mliuq.propagation.settings import PropagationSettings

Progress = Callable[[str, int, int | None], None]

BEST_FIT = -1


def propagate(
    prop: Property,
    model: Model,
    settings: PropagationSettings | None = None,
    *,
    executor: Executor | None = None,
    threads: int | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> PropertyResult:
    """Compute a property with error bars.

    Parameters
    ----------
    prop : Property
        What to compute.
    model : Model
        With members.
    settings : PropagationSettings, optional
        Members, relaxation, failures.
    executor : concurrent.futures.Executor, optional
        Runs the best fit, then members side by side (``ProcessPoolExecutor``, ``mpi4py.futures.MPIPoolExecutor``,
        dask's ``client.get_executor()``); without one they run here, one after another.
    threads : int, optional
        OpenMP threads of each evaluation; default: what OpenMP would take, one under an executor.
    checkpoint : path, optional
        A file that finished members are added to. When it holds members of this very calculation they are not
        computed again; one of another calculation is an error.
    progress : callable, optional
        Called as ``progress(stage, done, total)``.

    Raises
    ------
    MliuqError
        When the model has no members, or the best fit itself fails for every object.
    """
    settings = settings or PropagationSettings()
    chosen = settings.choose(model.n_members)
    if settings.engine == "both":
        options: dict[str, Any] = {"executor": executor, "threads": threads, "progress": progress}
        again = replace(settings, engine="resampling")
        resampled = propagate(prop, model, again, checkpoint=checkpoint, **options)
        implicit = propagate(prop, model, replace(settings, engine="implicit"), **options)
        return replace(
            resampled,
            comparisons={**resampled.comparisons, "implicit": agreement(resampled, implicit)},
            settings={**resampled.settings, "engine": "both"},
        )
    if progress:
        progress(f"{prop.name}: best fit", 0, None)
    followed = model.members[chosen] if settings.engine == "implicit" and model.members is not None else None
    best_fit = prop, weights_of(model), followed, settings, threads
    # Where members run, not here: workers forked after phonopy started its threads would wait for ever.
    best = executor.submit(_measure_best, *best_fit).result() if executor else _measure_best(*best_fit)
    if not best.values:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in best.failures.items())
        raise MliuqError(f"{prop.name}: the best fit itself failed ({reasons})")
    described = {"property": prop.describe(), "propagation": settings.of_one_member(), "model": fingerprint(model)}
    found = _read_checkpoint(checkpoint, described) if checkpoint else {}
    missing = [m for m in chosen if m not in found]
    stream = _open_checkpoint(checkpoint, described) if checkpoint else None
    try:
        for member, measured in _run(prop, model, settings, best, missing, executor, threads):
            found[member] = measured
            if stream:
                stream.write(json.dumps({"member": member, **_to_plain(measured)}) + "\n")
                stream.flush()
            if progress:
                progress(prop.name, len(found), len(chosen))
    finally:
        if stream:
            stream.close()
    result = assemble(prop, model, settings, best, {m: found[m] for m in chosen})
    if checkpoint:
        checkpoint.unlink(missing_ok=True)
    return result


def _measure_best(
    prop: Property,
    weights: Model,
    members: NDArray[np.float64] | None,
    settings: PropagationSettings,
    threads: int | None,
) -> Measurement:
    """The property by the best fit, which the given members follow."""
    return prop.measure(WeightsCalculator(weights, threads=threads, members=members), settings, None)


def measure_member(
    prop: Property, weights: Model, settings: PropagationSettings, start: Measurement, threads: int | None
) -> Measurement:
    """The property by one member; failures are part of the answer."""
    try:
        measured = prop.measure(WeightsCalculator(weights, threads=threads), settings, start)
    except (MliuqError, np.linalg.LinAlgError, FloatingPointError) as error:
        objects = {name for name, _ in start.values}
        return Measurement(failures={name: str(error) for name in sorted(objects)})
    return Measurement(measured.values, measured.lines, failures=measured.failures)


def _run(
    prop: Property,
    model: Model,
    settings: PropagationSettings,
    best: Measurement,
    members: Sequence[int],
    executor: Executor | None,
    threads: int | None,
) -> Iterator[tuple[int, Measurement]]:
    """Members as they finish."""
    if executor is None:
        for member in members:
            yield member, measure_member(prop, weights_of(model, member), settings, best, threads)
        return
    waiting = {
        executor.submit(measure_member, prop, weights_of(model, member), settings, best, threads or 1): member
        for member in members
    }
    for future in as_completed(waiting):
        yield waiting[future], future.result()


def assemble(
    prop: Property,
    model: Model,
    settings: PropagationSettings,
    best: Measurement,
    members: dict[int, Measurement],
) -> PropertyResult:
    """Best fit and members as estimates, curves, failures and comparisons."""
    scale = model.error_scale
    estimates = []
    for (name, quantity), value in best.values.items():
        numbers = np.array(
            [m.values[name, quantity].number if (name, quantity) in m.values else np.nan for m in members.values()]
        )
        reason = _reason(numbers, settings)
        alpha = float(getattr(scale, f"alpha_{value.kind}"))
        floor = value.noise.floor(scale)
        estimates.append(Estimate(name, quantity, value.unit, value.number, numbers, alpha, floor, reason))
    curves = []
    for name, line in best.lines.items():
        missing = np.full_like(line.y, np.nan)
        stack = np.array([m.lines[name].y if name in m.lines else missing for m in members.values()])
        curves.append(Curve(name, line.x, line.y, stack, line.x_label, line.y_label, line.ticks))
    failures = [Failure(BEST_FIT, name, reason) for name, reason in best.failures.items()]
    failures += [Failure(m, name, reason) for m, found in members.items() for name, reason in found.failures.items()]
    return PropertyResult(
        prop.name,
        estimates,
        curves,
        failures,
        prop.compare(estimates),
        {**prop.describe(), **settings.to_mapping()},
        {
            "fingerprint": fingerprint(model),
            "elements": list(model.params.elements),
            "members": model.n_members,
            "seed": model.metadata.get("seed", (model.metadata.get("fit") or {}).get("seed")),
        },
        list(members),
    )


def _reason(numbers: np.ndarray, settings: PropagationSettings) -> str:
    failed = int(np.isnan(numbers).sum())
    if failed == len(numbers):
        return f"all {failed} members failed"
    if failed > settings.max_failed * len(numbers):
        return f"{failed} of {len(numbers)} members failed, more than the {settings.max_failed:.0%} allowed"
    return ""


def _to_plain(measured: Measurement) -> dict[str, Any]:
    return {
        "values": [
            [*key, v.number, v.unit, v.noise.energy, v.noise.stress, v.kind] for key, v in measured.values.items()
        ],
        "lines": [
            [name, line.x.tolist(), line.y.tolist(), line.x_label, line.y_label]
            for name, line in measured.lines.items()
        ],
        "failures": dict(measured.failures),
    }


def _from_plain(found: dict[str, Any]) -> Measurement:
    return Measurement(
        {(o, q): Value(number, unit, Noise(e, s), kind) for o, q, number, unit, e, s, kind in found["values"]},
        {name: Line(np.array(x), np.array(y), xl, yl) for name, x, y, xl, yl in found["lines"]},
        failures=found["failures"],
    )


def _read_checkpoint(path: Path, described: dict[str, Any]) -> dict[int, Measurement]:
    """Members that an interrupted run finished; a last line that was cut short is left out."""
    if not path.exists():
        return {}
    head, *lines = path.read_text(encoding="utf-8").split("\n")
    try:
        same = json.loads(head) == json.loads(json.dumps(described))
    except (ValueError, RecursionError):
        same = False
    if not same:
        raise MliuqError(
            f"{path} holds members of another calculation (model or settings differ): remove it to start anew"
        )
    found = {}
    for number, line in enumerate(lines[:-1], start=2):  # what follows the last line end is empty or half a line
        try:
            record = json.loads(line)
            found[int(record["member"])] = _from_plain(record)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise MliuqError(f"{path}: line {number} is damaged ({error}): remove the file to start anew") from error
    return found


def _open_checkpoint(path: Path, described: dict[str, Any]) -> Any:
    if not path.exists():
        path.write_text(json.dumps(described) + "\n", encoding="utf-8")
    else:  # drop half a line, lest the next one be glued to it
        text = path.read_text(encoding="utf-8")
        path.write_text(text[: text.rindex("\n") + 1], encoding="utf-8")
    return path.open("a", encoding="utf-8")

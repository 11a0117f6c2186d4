"""Errors of mliuq's fits beside those of the published potentials of the same cutoff, 2J and data.

    python benchmarks/published_fits.py ../shared/data          # where the data sets are

Settings: examples/fits/*.toml.  "fitted" are errors on the data fitted, "left out" those on each one under the
fit without it (closed form).  Published numbers: Mo on the training split, W on configurations held out from it, Ta on
the data fitted; Mo and Ta are mean absolute errors, W root mean square errors.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mliuq.fitting.fit import run_fit
from mliuq.fitting.settings import FitSettings
from mliuq.readers import read_structures

FITS = Path(__file__).resolve().parents[1] / "examples" / "fits"
#: settings: data, measure, published energy error in meV/atom, published force error in eV/Å
PUBLISHED = {
    "Mo_SNAP": ("Mo_Zuo2020_train.xyz.gz", "mae", 5.05, 0.204),
    "Mo_qSNAP": ("Mo_Zuo2020_train.xyz.gz", "mae", 2.84, 0.173),
    "W_SNAP": ("W_Szlachta2014_train.xyz.gz", "rmse", 14.2, 0.189),
    "W_qSNAP": ("W_Szlachta2014_train.xyz.gz", "rmse", 9.9, 0.167),
    "Ta_SNAP": ("Ta_JCP2014.xyz.gz", "mae", 112.787, 0.0757576),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--only", nargs="+", choices=PUBLISHED, default=list(PUBLISHED))
    arguments = parser.parse_args()
    print(f"{'':10s}{'':6s}{'published':>18s}{'fitted':>18s}{'left out':>18s}   energy meV/atom, force eV/Å")
    for name in arguments.only:
        file, measure, energy, force = PUBLISHED[name]
        settings = FitSettings.from_toml(FITS / f"{name}.toml").updated(
            {"posterior.kind": "hypercube", "posterior.members": 0, "posterior.extrapolation": False}
        )
        result = run_fit(read_structures(arguments.data / file), settings=settings)
        lines = {(line.of, line.kind): line for line in result.errors if line.group == "all"}
        text = f"{name:10s}{measure:6s}{energy:10.2f}{force:8.4f}"
        for of in ("train", "left out"):
            text += f"{1e3 * getattr(lines[of, 'energy'], measure):10.2f}{getattr(lines[of, 'force'], measure):8.4f}"
        print(text, flush=True)


if __name__ == "__main__":
    main()

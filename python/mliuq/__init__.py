"""mliuq: a SNAP interatomic potential that knows when it is wrong.

    import mliuq
    model = mliuq.fit(structures)                        # from reference data to a model with error bars
    model.save("W.mliuq"); mliuq.Model.load("W.mliuq")   # one file for the command line, ASE and LAMMPS
    model = mliuq.adopt("Ta06A.snapcoeff", structures)   # … or from a published potential to one with error bars
    atoms.calc = mliuq.MLIUQCalculator("W.mliuq")        # energies, forces, stress and how far to trust them
    mliuq.descriptors(atoms, mliuq.SnapParams(["W"]))    # the bispectrum itself

The command line is ``mliuq --help`` (or ``python -m mliuq --help``); in LAMMPS it is ``pair_style mliuq``.

Names are imported on first use, so that ``import mliuq`` (which LAMMPS does to find its plugin) costs nothing.
"""

from typing import TYPE_CHECKING

from mliuq.errors import MliuqError
from mliuq.lazy import imported_on_first_use

if TYPE_CHECKING:
    from mliuq.ase.calculator import MLIUQCalculator
    from mliuq.ase.evaluation import evaluate
    from mliuq.ase.frames import results_to_arrays
    from mliuq.ase.guard import UncertaintyGuard, UncertaintyHalt
    from mliuq.descriptor.bispectrum import descriptors
    from mliuq.descriptor.params import SnapParams
    from mliuq.fitting.adopt import adopt
    from mliuq.fitting.fit import fit
    from mliuq.model import Model
    from mliuq.propagation.combination import Comparison, compare

__version__ = "0.1.0"

_HOME = {
    "Comparison": "mliuq.propagation.combination",
    "MLIUQCalculator": "mliuq.ase.calculator",
    "Model": "mliuq.model.model",
    "SnapParams": "mliuq.descriptor.params",
    "UncertaintyGuard": "mliuq.ase.guard",
    "UncertaintyHalt": "mliuq.ase.guard",
    "adopt": "mliuq.fitting.adopt",
    "compare": "mliuq.propagation.combination",
    "evaluate": "mliuq.ase.evaluation",
    "descriptors": "mliuq.descriptor.bispectrum",
    "fit": "mliuq.fitting.fit",
    "results_to_arrays": "mliuq.ase.frames",
}

__all__ = [
    "Comparison",
    "MLIUQCalculator",
    "MliuqError",
    "Model",
    "SnapParams",
    "UncertaintyGuard",
    "UncertaintyHalt",
    "__version__",
    "adopt",
    "compare",
    "descriptors",
    "evaluate",
    "fit",
    "results_to_arrays",
]

__getattr__ = imported_on_first_use(__name__, _HOME)


def __dir__() -> list[str]:
    return sorted(__all__)

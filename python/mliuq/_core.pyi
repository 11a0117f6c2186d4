from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

version: str
compiler: str

class SnapParams:
    twojmax: int
    rcutfac: float
    rfac0: float
    rmin0: float
    switchflag: bool
    bzeroflag: bool
    bnormflag: bool
    chemflag: bool
    wselfallflag: bool
    switchinnerflag: bool
    quadraticflag: bool
    elements: list[str]
    radii: list[float]
    weights: list[float]
    sinner: list[float]
    dinner: list[float]
    @property
    def n_elements(self) -> int: ...
    @property
    def n_components(self) -> int: ...
    @property
    def n_weights(self) -> int: ...
    @property
    def max_cutoff(self) -> float: ...
    def __init__(self) -> None: ...
    def validate(self) -> None: ...

class ErrorScale:
    alpha_energy: float
    alpha_force: float
    alpha_stress: float
    noise_energy: float
    noise_force: float
    noise_stress: float
    def __init__(self) -> None: ...

class ModelFile:
    params: SnapParams
    error_scale: ErrorScale
    def __init__(
        self,
        params: SnapParams,
        theta: ArrayLike,
        members: ArrayLike,
        extrapolation_factor: ArrayLike,
        box: tuple[ArrayLike, ArrayLike, ArrayLike] | None,
        sharing: tuple[ArrayLike, ArrayLike] | None,
        zbl: tuple[float, float] | None,
        error_scale: ErrorScale,
    ) -> None: ...

class PackedStructure:
    n_owned: int
    n_atoms: int
    volume: float
    def __init__(
        self,
        positions: ArrayLike,
        species: ArrayLike,
        cell: ArrayLike,
        pairs: ArrayLike,
        shifts: ArrayLike,
        basis: ArrayLike,
        wraps: ArrayLike,
        n_elements: int,
        volume: float,
    ) -> None: ...
    def pairs(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]: ...
    def move(self, positions: ArrayLike) -> None: ...

class Potential:
    cutoff: float
    kernel: str
    has_members: bool
    has_box: bool
    has_extrapolation: bool
    def __init__(self, file: ModelFile, kernel: str = "", precision: str = "double") -> None: ...
    def evaluate(
        self,
        structure: PackedStructure,
        *,
        forces: bool = True,
        virial: bool = True,
        spreads: bool = False,
        committee: bool = False,
        atom_committee: bool = False,
        extrapolation: bool = False,
        atom_virials: bool = False,
        box: bool = False,
        extremes: bool = True,
        threads: int = 0,
    ) -> dict[str, Any]: ...
    def row_spreads(
        self, structure: PackedStructure, names: set[str], *, threads: int = 0, tile: int = 0
    ) -> dict[str, NDArray[np.float64]]: ...
    def spreads_of_rows(
        self, rows: ArrayLike, names: set[str], *, threads: int = 0
    ) -> dict[str, NDArray[np.float64]]: ...
    def energy_std_gradient(
        self, structure: PackedStructure, features: ArrayLike, *, threads: int = 0
    ) -> NDArray[np.float64]: ...
    def energies_std_gradient(
        self, structure: PackedStructure, scales: ArrayLike, *, threads: int = 0
    ) -> NDArray[np.float64]: ...

class RowBuilder:
    n_columns: int
    def __init__(self, params: SnapParams, kernel: str = "") -> None: ...
    def build(
        self,
        structures: Sequence[PackedStructure],
        *,
        energy: bool = True,
        forces: bool = True,
        stress: bool = False,
        threads: int = 0,
    ) -> list[NDArray[np.float64]]: ...

class Descriptor:
    def __init__(self, params: SnapParams, kernel: str = "") -> None: ...
    def compute(
        self, structure: PackedStructure, derivatives: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]: ...

def available_kernels() -> list[str]: ...
def default_kernel() -> str: ...
def default_plan(twojmax: int = 8) -> str: ...
def read_model_file(path: str) -> ModelFile: ...
def validate_zbl(inner: float, outer: float) -> None: ...
def read_snap_files(coeff_path: str, param_path: str) -> tuple[SnapParams, NDArray[np.float64]]: ...
def snap_texts(params: SnapParams, theta: ArrayLike) -> tuple[str, str]: ...
def evaluate_zbl(
    elements: Sequence[str], inner: float, outer: float, structure: PackedStructure
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...

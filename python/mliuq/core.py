"""The C++ extension, with a humane message where it is missing."""

try:
    from mliuq._core import (
        Descriptor,
        ErrorScale,
        ModelFile,
        PackedStructure,
        Potential,
        RowBuilder,
        available_kernels,
        compiler,
        default_kernel,
        default_plan,
        evaluate_zbl,
        read_model_file,
        read_snap_files,
        snap_texts,
        validate_zbl,
    )
    from mliuq._core import SnapParams as CoreParams
except ModuleNotFoundError as error:
    if error.name != "mliuq._core":
        raise
    raise ImportError(
        "mliuq's compiled extension mliuq._core was not found: this looks like a source folder. "
        "Install the package ('pip install .' in the project's root) and run from elsewhere."
    ) from error

__all__ = [
    "CoreParams",
    "Descriptor",
    "ErrorScale",
    "ModelFile",
    "PackedStructure",
    "Potential",
    "RowBuilder",
    "available_kernels",
    "compiler",
    "default_kernel",
    "default_plan",
    "evaluate_zbl",
    "read_model_file",
    "read_snap_files",
    "snap_texts",
    "validate_zbl",
]

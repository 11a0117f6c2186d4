"""One page that says how far to trust a model on a set of structures it has not seen."""

from mliuq.report.predictions import Predictions, predict
from mliuq.report.rows import ReferenceRows, reference_rows
from mliuq.report.write import check_report, describe_structures, write_report

__all__ = [
    "Predictions",
    "ReferenceRows",
    "check_report",
    "describe_structures",
    "predict",
    "reference_rows",
    "write_report",
]

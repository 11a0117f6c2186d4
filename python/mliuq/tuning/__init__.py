"""Which descriptor to fit: candidates judged by left-out errors and measured speed."""

from mliuq.tuning.search import TuneResult, tune
from mliuq.tuning.settings import TuneSettings

__all__ = ["TuneResult", "TuneSettings", "tune"]

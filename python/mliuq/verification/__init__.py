"""A battery of checks that any potential can be put through, with grades and figures."""

from mliuq.verification.battery import CHECKS, Certificate, Check, verify
from mliuq.verification.outcome import Curve, Outcome
from mliuq.verification.subject import Evaluation, Subject
from mliuq.verification.write import write_certificate

__all__ = ["CHECKS", "Certificate", "Check", "Curve", "Evaluation", "Outcome", "Subject", "verify", "write_certificate"]

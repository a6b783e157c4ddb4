"""Whether a model is bit-exact: compared on images, and proved for every input."""

from intsim.verification.compare import verify
from intsim.verification.prove import Certificate, prove
from intsim.verification.report import Comparison, Flips, Report, Tally

__all__ = ["Certificate", "Comparison", "Flips", "Report", "Tally", "prove", "verify"]

"""Whether a model is bit-exact: compared on images, and proved for every input."""

from intsim.verification.prove import Certificate, prove

__all__ = ["Certificate", "prove"]

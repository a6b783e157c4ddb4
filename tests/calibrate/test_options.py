"""Hyper-parameters of a method: parsed by type, refused in one line."""

from dataclasses import dataclass, fields
from typing import Literal

import pytest

from intsim.calibrate.method import METHODS
from intsim.calibrate.options import NoOptions, describe_options, parse_options
from intsim.errors import CalibrationError


@dataclass(frozen=True)
class Some:
    iterations: int = 1000
    rate: float = 1e-3
    units: str = "block"
    mode: Literal["parallel", "sequential"] = "sequential"
    tuned: bool = True
    norm: float | None = None

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise CalibrationError(f"iterations: expected at least 1, got {self.iterations}")


def test_values_are_parsed_and_the_others_keep_their_defaults() -> None:
    given = {"iterations": "20", "rate": "0.5", "mode": "parallel", "tuned": "False", "norm": "2.4"}
    assert parse_options(Some, given, "some") == Some(20, 0.5, "block", "parallel", False, 2.4)
    assert parse_options(Some, {"norm": "none"}, "some") == parse_options(Some, {}, "some") == Some()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"iteration": "3"}, "option of some 'iteration': expected iterations or rate .*mean 'iterations'"),
        ({"iterations": "3.5"}, "option iterations of some: expected a whole number, got '3.5'"),
        ({"norm": "two"}, "option norm of some: expected a number, got 'two'"),
        ({"tuned": "maybe"}, "option tuned of some: expected true or false, got 'maybe'"),
        ({"mode": "sequental"}, "option mode of some 'sequental': expected parallel or sequential.*'sequential'"),
        ({"iterations": "0"}, "options of some: iterations: expected at least 1, got 0"),
    ],
)
def test_bad_options_are_one_line(given: dict[str, str], message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        parse_options(Some, given, "some")


def test_a_method_without_options_takes_none() -> None:
    assert parse_options(NoOptions, {}, "mse") == NoOptions()
    with pytest.raises(CalibrationError, match="method 'mse' has no options, got rate"):
        parse_options(NoOptions, {"rate": "1"}, "mse")


@pytest.mark.parametrize("method", ["adaquant", "uwc", "rapq", "adaround", "brecq"])
@pytest.mark.parametrize("rate", ["-1", "nan", "inf"])
def test_rates_are_finite_and_not_negative(method: str, rate: str) -> None:
    kind = METHODS[method].options
    names = [field.name for field in fields(kind) if field.name.endswith("_rate") or field.name == "regulariser"]
    assert names
    for name in names:
        with pytest.raises(CalibrationError, match=f"{name}: expected a finite number of at least 0, got {rate}"):
            parse_options(kind, {name: rate}, method)


def test_options_are_described_in_order() -> None:
    described = describe_options(Some)
    assert described[0] == ("iterations", "a whole number", "1000")
    assert described[3:] == [
        ("mode", "parallel or sequential", "sequential"),
        ("tuned", "true or false", "true"),
        ("norm", "a number or none", "none"),
    ]

"""Numbers of a target file: each with its unit and the source that it was taken from.

    bandwidth = { value = 64, unit = "bit/cycle", source = "LPDDR4-3200 x16 at 500 MHz, rounded down" }

A unit is part of the type, so a file that states pJ where pJ/bit is meant does not load.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from intsim.errors import CostError


class Record(BaseModel):
    """A table of a target file: nothing unknown, nothing missing, never changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Count(Record):
    """A whole number above zero."""

    value: int = Field(gt=0, strict=True)
    unit: str
    source: str = Field(min_length=1)


class Amount(Record):
    """A real number, zero or above."""

    value: float = Field(ge=0, strict=True)
    unit: str
    source: str = Field(min_length=1)


Q = TypeVar("Q", Count, Amount)
T = TypeVar("T")


def _in_unit(unit: str) -> AfterValidator:
    def check(quantity: Q) -> Q:
        if quantity.unit != unit:
            raise ValueError(
                f"expected the unit '{unit}', got '{quantity.unit}'; convert the value and write that unit"
            )
        return quantity

    return AfterValidator(check)


Units = Annotated[Count, _in_unit("unit")]
Bits = Annotated[Count, _in_unit("bit")]
BitsPerCycle = Annotated[Count, _in_unit("bit/cycle")]
BitsPerCyclePerPort = Annotated[Count, _in_unit("bit/cycle/port")]
Cycles = Annotated[Count, _in_unit("cycle")]
Luts = Annotated[Count, _in_unit("LUT")]
Ratio = Annotated[Amount, _in_unit("1")]
Megahertz = Annotated[Count, _in_unit("MHz")]
Picojoules = Annotated[Amount, _in_unit("pJ")]
PicojoulesPerBit = Annotated[Amount, _in_unit("pJ/bit")]
PicojoulesPerCycle = Annotated[Amount, _in_unit("pJ/cycle")]


def checked(where: str, validate: Callable[[], T]) -> T:
    """What `validate` returns; its first complaint becomes one CostError that names the field."""
    try:
        return validate()
    except ValidationError as error:
        raise CostError(f"{where}: {_complaint(error.errors(include_url=False)[0])}") from None


# Tags of unions: steps on the way to a field in pydantic's eyes, but no keys of the file.
_TAGS = {"systolic", "scalesim3", "fusion", "serial", "streaming", "fit", "per_step", "per_cycle"}


def _complaint(error: ErrorDetails) -> str:
    """`field: what is wrong with it`, on one line."""
    keys = [str(key) for key in error["loc"] if str(key) not in _TAGS]
    context, got = error.get("ctx", {}), error["input"]
    match error["type"]:
        case "missing":
            problem = "missing field; it must be stated, with its unit and source where it is a number"
        case "extra_forbidden":
            problem = "unknown field; remove it or correct its spelling"
        case "value_error":
            problem = error["msg"].removeprefix("Value error, ")
        case "union_tag_not_found":
            keys.append(context["discriminator"].strip("'"))
            problem = "missing field; it says what the rest of the table means"
        case "union_tag_invalid":
            keys.append(context["discriminator"].strip("'"))
            problem = f"expected one of {context['expected_tags']}, got '{context['tag']}'"
        case "model_type":
            problem = f"expected a table such as {{ value = .., unit = .., source = .. }}, got {got!r}"
        case _:
            problem = f"{error['msg'][0].lower()}{error['msg'][1:]}, got {got!r}"
    return f"{'.'.join(keys)}: {problem}"

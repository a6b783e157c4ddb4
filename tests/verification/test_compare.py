"""What `verify` reports: the three claims apart, layers by name, and why plain fake-quantization may differ."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from intsim.arithmetic.rounding import Rounding
from intsim.backends.reference import ReferenceBackend
from intsim.errors import BackendError, InputError
from intsim.ir.chain import Clamp
from intsim.ir.file import Model
from intsim.ir.quantized import QuantizedGraph
from intsim.lower import lower
from intsim.verification import Comparison, compare, verify
from intsim.verification.flips import float32_reason
from intsim.verification.report import Tally
from tests.verification.faults import with_op
from tests.verification.networks import FORMS, images, small_network


def claim(comparison: Comparison | None) -> Comparison:
    assert comparison is not None
    return comparison


def origin(model: Model) -> QuantizedGraph:
    assert model.quantized is not None
    return model.quantized


def model_of(form: str) -> Model:
    quantized = small_network(form)
    return Model(lower(quantized), quantized)


@pytest.mark.parametrize("form", FORMS)
def test_everything_is_equal_on_every_element(form: str) -> None:
    model = model_of(form)
    report = verify(model, [images(40)], sample=16)
    document = json.loads(json.dumps(report.to_dict()))
    per_image = {name: model.graph.types[name].elements() for name in model.graph.by_name}
    assert document["bit_exact"] is True and document["first_layer"] is None
    assert [c["sides"] for c in document["claims"]["backends"]] == [
        ["reference", "native"], ["reference", "numba"], ["native", "numba"]]  # fmt: skip
    assert [c["elements"] for c in document["claims"]["backends"]] == [
        16 * sum(per_image.values()), 16 * sum(per_image.values()), 40 * sum(per_image.values())]  # fmt: skip
    assert document["claims"]["mirror"]["elements"] == 40 * sum(per_image.values())
    assert [layer["name"] for layer in document["layers"]] == [node.name for node in model.graph]
    for layer in document["layers"]:
        assert (layer["elements"], layer["mismatches"]) == (40 * per_image[layer["name"]], 0)
        assert layer["max_abs_difference"] == 0


def test_with_powers_of_two_plain_fake_quantization_is_proved_not_to_flip() -> None:
    report = verify(model_of("shift"), [images(64)], ["native"])
    proved = [name for name, why in report.flips.items() if why.reason is None]
    assert proved == ["relu1.u4", "relu6.u8", "relu6.u4", "relu2.u8"]
    assert all(claim(report.fake_quant).layers[name].mismatches == 0 for name in proved)
    assert report.to_dict()["claims"]["fake_quant"]["flips_where_proved_zero"] == []
    assert report.flips["gate.u8"].reason == "a function in float32"
    assert report.flips["average.u8"].reason == "an average divides in float32"


def test_flips_of_other_scales_lie_next_to_ties() -> None:
    report = verify(model_of("multiplier"), [images(400)], ["native"])
    assert report.bit_exact
    flips = {name: tally for name, tally in claim(report.fake_quant).layers.items() if tally.mismatches}
    assert flips, "float32 rounds somewhere"
    for name, tally in flips.items():
        assert tally.difference == 1
        distance = report.flips[name].tie_distance
        assert distance is not None and distance < 1e-4
        assert all(abs(ours - theirs) == 1 for _, ours, theirs in tally.examples)
        assert report.to_dict()["claims"]["fake_quant"]["mismatches"] >= tally.mismatches


def test_a_layer_that_float32_cannot_hold_says_how_far_it_goes() -> None:
    model = model_of("shift")
    wide = replace(origin(model).weights["conv1"], bias=np.array([1 << 24, 0, 0, 0]))
    quantized = replace(origin(model), weights={**origin(model).weights, "conv1": wide})
    reason = float32_reason(Model(lower(quantized), quantized), "relu1.u4")
    assert reason is not None and reason.startswith("sums of up to 167") and reason.endswith("beyond 2**24")


def test_a_bound_that_float32_rounds_is_no_proof() -> None:
    model = model_of("shift")
    chain = origin(model).chains["relu6.u8"]
    steps = (chain.steps[0], Clamp(0.0, 0.1), *chain.steps[2:])
    quantized = replace(origin(model), chains={**origin(model).chains, "relu6.u8": replace(chain, steps=steps)})
    assert float32_reason(Model(model.graph, quantized), "relu6.u8") == "a bound that is not a float32"


def test_a_mismatch_is_counted_and_shown() -> None:
    model = model_of("shift")
    wrong = Model(with_op("relu1.u4", rounding=Rounding.FLOOR)(model.graph), model.quantized)
    report = verify(wrong, [images(8)], ["native"])
    document = report.to_dict()
    assert not report.bit_exact and document["first_layer"] == "relu1.u4"
    (layer,) = (entry for entry in document["layers"] if entry["name"] == "relu1.u4")
    assert layer["mismatches"] > 0 and layer["max_abs_difference"] == 1
    example = layer["examples"][0]
    right = ReferenceBackend(model.graph).run(images(8), wanted=["relu1.u4"])["relu1.u4"].codes
    bad = ReferenceBackend(wrong.graph).run(images(8), wanted=["relu1.u4"])["relu1.u4"].codes
    index = tuple(example["index"])
    assert example["sides"] == ["integers", "mirror"]
    assert example["values"] == [bad[index], right[index]]
    assert claim(report.mirror).layers["relu1.u4"].mismatches == np.count_nonzero(bad != right)


def test_a_layer_that_the_mirror_does_not_have_differs_everywhere() -> None:
    model = model_of("shift")
    renamed = tuple(
        replace(n, name="conv_one") if n.name == "conv1"
        else replace(n, inputs=tuple("conv_one" if i == "conv1" else i for i in n.inputs)) for n in model.graph.nodes
    )  # fmt: skip
    report = verify(Model(replace(model.graph, nodes=renamed), model.quantized), [images(2)], ["native"])
    assert report.first_layer == "conv_one"
    tally = claim(report.mirror).layers["conv_one"]
    assert tally.mismatches == tally.elements and tally.difference is None
    assert report.flips["relu1.u4"].reason == "integers of another network"


def test_small_batches_give_the_same_report(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = verify(model_of("multiplier"), [images(21)], ["native"], sample=10).to_dict()
    monkeypatch.setattr(compare, "ELEMENTS_AT_ONCE", 4000)
    calls: list[tuple[str, int, int]] = []
    parts = verify(model_of("multiplier"), [images(21)], ["native"], sample=10,
                   progress=lambda *call: calls.append(call))  # fmt: skip
    assert parts.to_dict() == whole
    assert calls[0] == ("verify", 0, 21) and calls[-1] == ("verify", 21, 21) and ("verify", 10, 21) in calls


def test_a_model_without_its_origin_says_what_is_not_checked() -> None:
    report = verify(Model(model_of("shift").graph), [images(3)], ["native"])
    assert report.bit_exact and report.mirror is None and report.fake_quant is None
    assert report.to_dict()["unchecked"] == "claims 2 and 3: the model has no quantized graph to compare with"


def test_without_pytorch_the_backends_are_compared_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "find_spec", lambda name: None)
    report = verify(model_of("shift"), [images(3)], ["native"])
    assert report.bit_exact and report.unchecked == "claims 2 and 3: PyTorch is not installed"


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="at least one backend and one image"):
        verify(model_of("shift"), [images(0)])
    with pytest.raises(InputError, match="backend 'fast'"):
        verify(model_of("shift"), [images(1)], ["fast"])
    with pytest.raises(BackendError, match="expected shape"):
        verify(model_of("shift"), [images(1)[:, :2]], ["native"])


def test_a_tally_keeps_the_first_mismatches_with_their_image() -> None:
    tally = Tally()
    tally.add(np.array([[1, 2]], np.uint8), np.array([[1, 2]]), 0)
    tally.add(np.array([[0, 9], [3, 0]], np.uint8), np.array([[255, 9], [3, 7]]), 5)
    assert (tally.elements, tally.mismatches, tally.difference) == (6, 2, 255)
    assert tally.examples == [((5, 0), 0, 255), ((6, 1), 0, 7)]

"""The learned quantizers as modules, and what `convert` puts where."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from intsim.calibrate.convert import convert, fit
from intsim.calibrate.lsq import StepQuantizer, StepWeight
from intsim.calibrate.n2uq import EntropyWeight, RPReLU, ThresholdQuantizer
from intsim.errors import CalibrationError
from intsim.frontend.capture import capture
from intsim.verbs import quantize
from intsim.verification import prove, verify


class Residual(nn.Module):
    """A stem, a residual block with a ReLU behind the addition, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv1, self.conv2 = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 1)
        self.bn, self.head = nn.BatchNorm2d(6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        y = nn.functional.relu(self.bn(self.conv1(x)))
        x = (self.conv2(y) + x).relu()
        return self.head(x.mean((2, 3)))


def test_fresh_thresholds_are_the_uniform_quantizer_of_0_to_2() -> None:
    x = torch.linspace(-1, 3, 1001)
    result = ThresholdQuantizer(2)(x)
    off_ties = ((x * 1.5) % 1 - 0.5).abs() > 1e-3
    torch.testing.assert_close(result[off_ties], (torch.round(x * 1.5).clamp(0, 3) / 1.5)[off_ties])


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_entropy_weights_use_all_levels_about_equally(bits: int) -> None:
    """For weights of a uniform distribution, each of the 2**bits levels equally often: the largest entropy."""
    weight = torch.linspace(-0.3, 0.3, 20_000).reshape(2, -1)[:, torch.randperm(10_000)]
    weight = torch.cat([weight[0], weight[1]])[torch.randperm(20_000)].reshape(2, -1)
    result = EntropyWeight(bits)(weight)
    for row, values in zip(weight, result, strict=True):
        reach = row.abs().mean() * (2**bits - 1) / 2 ** (bits - 1)
        odd = torch.round(values / reach * (2**bits - 1)).int()
        levels, counts = odd.unique(return_counts=True)
        assert levels.tolist() == list(range(1 - 2**bits, 2**bits, 2))
        assert counts.float().std() < 0.05 * counts.float().mean()


def test_learned_steps_have_their_gradient_scaled() -> None:
    x = torch.randn(10, 30)
    quantizer = StepQuantizer(2)
    (got,) = torch.autograd.grad(quantizer(x).sum(), quantizer.step)
    inside = (x.round() >= 0) & (x.round() <= 3)
    by_hand = torch.where(inside, x.round() - x, x.round().clamp(0, 3)).sum()
    torch.testing.assert_close(got, by_hand / (x.numel() * 3) ** 0.5)


def test_a_step_that_training_took_past_zero_stands_for_its_size() -> None:
    converted = convert(Residual(), 2, 2, "lsq")
    steps = converted.conv1.parametrizations.weight[0].step, converted.conv1_input.step
    weight = converted.conv1.weight.detach().clone()
    with torch.no_grad():
        for step in steps:
            step.neg_()
    torch.testing.assert_close(converted.conv1.weight, weight, rtol=0, atol=0)
    graph = capture(converted.eval(), torch.zeros(2, 3, 8, 8))
    scales = [graph.by_name["conv1"].grid.scale.array, graph.by_name[graph.by_name["conv1"].inputs[0]].arrays["scale"]]
    for scale, step in zip(scales, steps, strict=True):
        np.testing.assert_array_equal(scale, -step.detach().numpy())


def test_rprelu_moves_bends_and_moves() -> None:
    module = RPReLU(2)
    with torch.no_grad():
        module.before[:] = torch.tensor([1.0, -1.0])
        module.after[:] = torch.tensor([0.5, 0.0])
    x = torch.tensor([[-3.0, 2.0]])
    for value in (x, x[:, :, None, None]):
        assert module(value).flatten().tolist() == [-2 * 0.25 + 0.5, 1.0]
    with pytest.raises(CalibrationError, match=r"RPReLU: expected 2 channels on axis 1, got \(1, 3\)"):
        module(torch.zeros(1, 3))


def test_a_slope_below_zero_counts_as_zero_and_can_come_back() -> None:
    module, x = RPReLU(2), torch.tensor([[-3.0, -3.0]])
    with torch.no_grad():
        module.slope[:] = torch.tensor([-0.01, -0.01])
    module(x).backward(torch.tensor([[1.0, -1.0]]))  # the result has to fall, and to rise
    assert module.slope.grad.tolist() == [-3.0, 0.0]  # type: ignore[union-attr]
    assert module(x).tolist() == [[0, 0]]


def test_a_scale_that_training_took_past_zero_stands_for_its_size() -> None:
    converted = convert(Residual(), 2, 2).eval()
    images = torch.randn(4, 3, 8, 8)
    fit(converted, images)
    wanted = converted(images)
    with torch.no_grad():
        converted.conv1_input.output_scale.neg_()
    torch.testing.assert_close(converted(images), wanted, rtol=0, atol=0)
    capture(converted, images[:2])


@pytest.mark.parametrize("method", ["n2uq", "lsq"])
def test_a_channel_of_zeros_becomes_integers(method: str) -> None:
    network = Residual().eval()
    with torch.no_grad():
        network.conv1.weight[2] = 0
    images = torch.randn(40, 3, 8, 8)
    converted = convert(network, 2, 2, method).eval()  # type: ignore[arg-type]
    fit(converted, images)
    model = quantize(converted, (images.numpy(), None), weight_bits=2, act_bits=2, scales="threshold")
    assert verify(model, (images.numpy(),), sample=2).bit_exact
    assert prove(model).proved


class Bottlenecks(nn.Module):
    """Layers that read what may be negative: a linear bottleneck, and a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.narrow, self.wide = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.again, self.head = nn.Conv2d(8, 6, 1), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.narrow(torch.relu(self.stem(x)))
        return self.head(self.again(torch.relu(self.wide(x))).mean((2, 3)))


@pytest.mark.parametrize("method", ["n2uq", "lsq"])
def test_what_may_be_negative_has_codes_for_it(method: str) -> None:
    torch.manual_seed(0)
    network, images = Bottlenecks().eval(), torch.randn(64, 3, 8, 8)
    converted = convert(network, 8, 8, method).eval()  # type: ignore[arg-type]
    fit(converted, images)
    wanted = network(images)
    assert (converted(images) - wanted).abs().max() < 0.05 * wanted.abs().max()
    model = quantize(converted, (images.numpy(), None), scales="threshold")
    assert verify(model, (images.numpy(),), sample=2).bit_exact
    assert prove(model).proved


class Pooled(nn.Module):
    """What is not negative behind pools, joins and shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1), nn.Conv2d(12, 6, 1)
        self.hidden, self.head, self.pool = nn.Linear(6, 8), nn.Linear(8, 4), nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(torch.relu(self.stem(x)))
        x = torch.relu(self.two(torch.cat([x, torch.relu(self.one(x))], 1)))
        return self.head(torch.relu(self.hidden(x.mean((2, 3)))))


def test_no_codes_are_kept_for_what_is_never_negative() -> None:
    converted = convert(Pooled(), 2, 2, "lsq")
    quantizers = [m for m in converted.modules() if isinstance(m, StepQuantizer)]
    assert len(quantizers) == 3 and {m.low for m in quantizers} == {0}


class Shifted(nn.Module):
    """A constant takes what comes of a ReLU below zero."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.head = nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.inner(torch.relu(self.stem(x)) + -0.5))


def test_a_sum_with_a_constant_may_be_negative() -> None:
    (quantizer,) = (m for m in convert(Shifted(), 2, 2, "lsq").modules() if isinstance(m, StepQuantizer))
    assert quantizer.low == -2


@pytest.mark.parametrize("order", ["ordinary", "paper"])
def test_the_papers_nonlinearity_knows_its_channels(order: str) -> None:
    converted = convert(Pooled(), 2, 2, rprelu=True, order=order)  # type: ignore[arg-type]
    assert converted(torch.randn(5, 3, 8, 8)).shape == (5, 4)


def test_thresholds_replace_relus_and_stand_behind_those_of_the_stream() -> None:
    network = Residual()
    converted = convert(network, 2, 3)
    text = converted.code
    assert "self.conv1_input(relu)" in text and "self.conv2_input(bn)" in text
    assert text.count("relu") > 0 and "parametrizations" not in "".join(network.state_dict())
    quantizers = {name: m for name, m in converted.named_modules() if isinstance(m, ThresholdQuantizer)}
    assert set(quantizers) == {"conv1_input", "conv2_input"}
    assert all(len(m.intervals) == 7 for m in quantizers.values())
    for layer in (converted.conv1, converted.conv2):
        assert isinstance(layer.parametrizations.weight[0], EntropyWeight)
    for layer in (converted.stem, converted.head):
        assert not hasattr(layer, "parametrizations")


def test_lsq_has_its_own_quantizers() -> None:
    converted = convert(Residual(), 2, 2, "lsq")
    assert isinstance(converted.conv1_input, StepQuantizer)
    assert isinstance(converted.conv1.parametrizations.weight[0], StepWeight)


def test_the_papers_order_bends_the_stream_too() -> None:
    converted = convert(Residual(), 2, 2, rprelu=True, order="paper")
    assert "relu(" not in converted.code.replace("rprelu(", "")
    assert sum(isinstance(m, RPReLU) for m in converted.modules()) == 4
    assert converted(torch.randn(2, 3, 8, 8)).shape == (2, 4)


def test_eight_bits_fitted_stay_near_the_network() -> None:
    torch.manual_seed(0)
    network = Residual().eval()
    images = torch.randn(16, 3, 8, 8)
    for method in ("n2uq", "lsq"):
        converted = convert(network, 8, 8, method)  # type: ignore[arg-type]
        fit(converted, images)
        error = (converted.eval()(images) - network(images)).abs().max()
        assert error < 0.05 * network(images).abs().max()


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("network", "bits", "message"),
    [
        (nn.Linear(3, 3), 2, "expected layers between the first and the last"),
        (Branching(), 2, "Branching cannot be traced by torch.fx"),
        (Residual(), 9, "weight_bits: expected 2 to 8 bits, got 9"),
    ],
)
def test_what_cannot_be_converted_is_refused_in_one_line(network: nn.Module, bits: int, message: str) -> None:
    with pytest.raises(CalibrationError, match=message) as caught:
        convert(network, bits, 2)
    assert "\n" not in str(caught.value)

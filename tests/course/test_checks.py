"""The judges name the mistake that was made, and accuse nothing that is right."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fastflow_lite.course import checks
from fastflow_lite.flows.transforms import ActNorm, AdditiveCoupling, AffineCoupling, Permute, Sequential, Transform

Spoil = Callable[[Tensor, Tensor], Tensor]  # (log_det, x) -> what a learner returned instead


class Spoiled(Transform):
    """A right transform whose log_det, way there or way back went through a learner's hands."""

    def __init__(self, right: Transform, log_det: Spoil | None = None, inverse: Callable | None = None) -> None:
        super().__init__()
        self.right, self.log_det, self.back = right, log_det or (lambda d, x: d), inverse or right.inverse

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_det = self.right(x)
        return z, self.log_det(log_det, x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, log_det = self.back(z)
        return x, self.log_det(log_det, z)


def conv(channels_in: int, channels_out: int) -> nn.Module:
    return nn.Conv2d(channels_in, channels_out, 1)


def coupling(channels: int = 6, maps: bool = False, dtype: torch.dtype = torch.float64) -> AffineCoupling:
    return checks.perturb(AffineCoupling(channels, conv if maps else nn.Linear), scale=0.8).to(dtype)


def vectors(channels: int = 6, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(12, channels, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def images(channels: int = 6) -> Tensor:
    return torch.randn(3, channels, 2, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def everywhere(d: Tensor) -> Tensor:
    return d.sum(dim=(1, 2), keepdim=True).expand_as(d)


def message(judge: Callable[[], object]) -> str:
    with pytest.raises(AssertionError) as caught:
        judge()
    return str(caught.value).splitlines()[0]


ON_VECTORS: list[tuple[Spoil, str]] = [
    (lambda d, x: -d, "log_det has the wrong sign in 12 of 12 samples"),
    (lambda d, x: d * torch.where(torch.arange(12) < 5, -1, 1), "log_det has the wrong sign in 5 of 12 samples"),
    (lambda d, x: 2 * d, "log_det is twice what it must be"),
    (lambda d, x: d / 2, "log_det is half of what it must be"),
    (lambda d, x: d / 3, "log_det is 1/3 of what it must be: a mean over 3 channels, not their sum?"),
    (lambda d, x: d / 6, "log_det is 1/6 of what it must be: a mean over 6 channels, not their sum?"),
    (lambda d, x: 0 * d, "log_det is 0 everywhere: the change of volume is not counted"),
    (lambda d, x: d.exp(), "log_det is the determinant: take its logarithm"),
    (lambda d, x: d / math.log(2), "log_det is in bits: take the natural logarithm"),
    (lambda d, x: d.sum().expand(12), "log_det is the sum over the 12 samples, the same for each"),
    (lambda d, x: d.mean().expand(12), "log_det is the mean over the 12 samples, the same for each"),
    (lambda d, x: d + 0.25, "log_det is wrong in 12 of 12 samples: sample 0 has"),
    (lambda d, x: d + 0.25 * (x[:, 0] == vectors()[7, 0]), "log_det is wrong in 1 of 12 samples: sample 7 has"),
    (lambda d, x: torch.where(torch.arange(12) < 2, math.nan, d), "log_det is not finite in 2 of 12 samples"),
]

ON_MAPS: list[tuple[Spoil, str]] = [
    (lambda d, x: -d, "log_det has the wrong sign in 3 of 3 samples"),
    (lambda d, x: everywhere(d), "log_det holds the sum over all 10 positions at each of them"),
    (lambda d, x: everywhere(d) / 100, "log_det is 1/10 of what it must be: a mean over positions, not their sum?"),
]

SHAPES: list[tuple[Spoil, str]] = [
    (lambda d, x: d.sum(dim=(1, 2)), "(3,), must be (3, 2, 5); the sum over positions is taken already"),
    (lambda d, x: d[:, None], "(3, 1, 2, 5), must be (3, 2, 5); drop the channel dimension"),
    (lambda d, x: d[:, None].expand_as(x), "(3, 6, 2, 5), must be (3, 2, 5); sum it over the channels"),
    (lambda d, x: d.sum(), "(), must be (3, 2, 5); this is one number for the whole batch"),
    (lambda d, x: d.sum() * torch.ones(6), "(6,), must be (3, 2, 5); this is one number for each channel"),
    (lambda d, x: d[..., :1], "(3, 2, 1), must be (3, 2, 5)"),
]


@pytest.mark.parametrize(("spoil", "sentence"), ON_VECTORS + ON_MAPS, ids=[s for _, s in ON_VECTORS + ON_MAPS])
def test_mistake_in_a_log_det(spoil: Spoil, sentence: str) -> None:
    maps = (spoil, sentence) in ON_MAPS
    wrong, x = Spoiled(coupling(maps=maps), spoil), images() if maps else vectors()
    assert sentence in message(lambda: checks.check_log_det(wrong, x))


@pytest.mark.parametrize("check", [checks.check_shapes, checks.check_log_det, checks.check_inverse])
@pytest.mark.parametrize(("spoil", "sentence"), SHAPES, ids=[s for _, s in SHAPES])
def test_mistake_in_the_shape(check: Callable, spoil: Spoil, sentence: str) -> None:
    said = message(lambda: check(Spoiled(coupling(maps=True), spoil), images()))
    assert said.startswith("Spoiled: log_det has shape") and sentence in said


def test_mistake_in_the_inverse_is_laid_to_the_inverse() -> None:
    right = coupling()
    wrong = Spoiled(right, inverse=lambda z: (right.inverse(z)[0], -right.inverse(z)[1]))
    assert "inverse's log_det has the wrong sign" in message(lambda: checks.check_log_det(wrong, vectors()))


def test_rounding_is_called_rounding() -> None:
    nearly = Spoiled(coupling(), lambda d, x: d * (1 + 1e-7))
    said = message(lambda: checks.check_log_det(nearly, vectors()))
    assert "is wrong in 12 of 12 samples" in said and "rounding" not in said
    single, x = coupling(dtype=torch.float32), vectors(dtype=torch.float32)
    said = message(lambda: checks.check_log_det(single, x, 1e-12))
    assert "this may be rounding alone" in said and "sign" not in said
    assert "this may be rounding alone" in message(lambda: checks.check_inverse(single, x))


def test_values_cut_off_from_the_input_cannot_be_judged() -> None:
    class Detached(Spoiled):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.right(x.detach())

    assert "cut off by detach()" in message(lambda: checks.check_log_det(Detached(coupling()), vectors()))


def test_inverse_that_does_what_forward_does() -> None:
    right = coupling()
    said = message(lambda: checks.check_inverse(Spoiled(right, inverse=right), vectors()))
    assert "inverse(forward(x)) is not x: 36 of 72 values (50%) differ, by up to" in said
    assert "all in channels [3, 4, 5]; inverse does what forward does" in said


def test_inverse_that_does_nothing() -> None:
    wrong = Spoiled(coupling(), inverse=lambda z: (z, torch.zeros(12, dtype=z.dtype)))
    assert message(lambda: checks.check_inverse(wrong, vectors())).endswith("inverse returns what it was given")


def test_inverse_with_the_shift_in_the_wrong_order() -> None:
    right = coupling()

    def back(z: Tensor) -> tuple[Tensor, Tensor]:
        s, t = right.scale_and_shift(right.subnet(z[:, :3]))
        return torch.cat([z[:, :3], z[:, 3:] * (-s).exp() - t], dim=1), -s.sum(dim=1)

    said = message(lambda: checks.check_inverse(Spoiled(right, inverse=back), vectors()))
    assert said.endswith("all in channels [3, 4, 5]"), "neither the forward map nor the identity: nothing is guessed"


def test_amount_and_place_of_what_the_inverse_leaves() -> None:
    def back(z: Tensor) -> tuple[Tensor, Tensor]:
        off = torch.zeros_like(z)
        off[:3, 1] = 0.125
        return z + off, torch.zeros(12, dtype=z.dtype)

    identity = Permute(torch.arange(6)).double()
    said = message(lambda: checks.check_inverse(Spoiled(identity, inverse=back), vectors()))
    assert "3 of 72 values (4%) differ, by up to 1.2e-01, all in channels [1]" in said


def test_inverse_that_works_on_one_side_only() -> None:
    """The inverse undoes forward, yet forward does not undo the inverse: forward reaches no value above 1."""
    wrong = Spoiled(Permute(torch.arange(6)), inverse=lambda z: (2 * z, torch.zeros(12, dtype=z.dtype)))
    wrong.forward = lambda x: ((x / 2).clamp(max=1.0), torch.zeros(12, dtype=x.dtype))
    said = message(lambda: checks.check_inverse(wrong, vectors().clamp(max=1.5)))
    assert "forward(inverse(x)) is not x" in said and "by up to 5.0e-01" in said


def test_random_forward_is_named() -> None:
    dropout = AffineCoupling(6, lambda i, o: nn.Sequential(nn.Linear(i, o), nn.Dropout(0.5))).double()
    assert message(lambda: checks.check_inverse(dropout, vectors())).endswith("dropout in training mode?")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: -d, "; inverse's has the sign of forward's"),
        (lambda d: 0 * d, "; inverse's is 0 everywhere"),
        (lambda d: d / 3, "they add up to"),
    ],
)
def test_log_dets_that_do_not_cancel(change: Callable[[Tensor], Tensor], sentence: str) -> None:
    right = coupling()
    wrong = Spoiled(right, inverse=lambda z: (right.inverse(z)[0], change(right.inverse(z)[1])))
    said = message(lambda: checks.check_inverse(wrong, vectors()))
    assert "must add up to 0" in said and sentence in said


def test_a_log_det_that_is_forgotten() -> None:
    wrong = Spoiled(coupling())
    wrong.forward = lambda x: wrong.right(x)[0]
    said = message(lambda: checks.check_shapes(wrong, vectors()))
    assert said == "Spoiled must return two tensors, values and log_det, got Tensor"
    wrong.forward = lambda x: (wrong.right(x)[0], 0)
    assert message(lambda: checks.check_log_det(wrong, vectors())).endswith("got (Tensor, int)")


def flow() -> Sequential:
    """Over two channels, with small weights: its density fits into [-10, 10]^2."""
    found = Sequential(ActNorm(2), AffineCoupling(2, nn.Linear), Permute(torch.tensor([1, 0]))).double().eval()
    for parameter in found.parameters():
        nn.init.zeros_(parameter)
    return checks.perturb(found, scale=0.2)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda d, x: -d, "; with log_det with the other sign it would be 1"),
        (lambda d, x: 2 * d, "; with log_det half as large it would be 1"),
        (lambda d, x: d / 2, "; with log_det twice as large it would be 1"),
        (lambda d, x: 0 * d, "; log_det is 0 everywhere"),
        (lambda d, x: d + math.log(1.25), "the density integrates to 1.2500, not to 1: 25.0% too much"),
        (lambda d, x: d - math.log(2), "the density integrates to 0.5000, not to 1: 50.0% of the mass is missing"),
        (lambda d, x: d[:, None], "log_det has shape (160000, 1), must be (160000,)"),
    ],
)
def test_mistake_in_a_density(spoil: Spoil, sentence: str) -> None:
    assert sentence in message(lambda: checks.check_density(Spoiled(flow(), spoil), reach=10.0))


def test_a_grid_that_is_too_small_or_too_coarse_is_blamed_first() -> None:
    assert "make `reach` larger" in message(lambda: checks.check_density(flow(), reach=1.0))
    assert "make `points` more" in message(lambda: checks.check_density(flow(), reach=10.0, points=10))


def test_gradient_that_is_cut_off_or_hidden_by_a_zero() -> None:
    wrong = Spoiled(coupling())
    wrong.forward = lambda x: tuple(part.detach() for part in wrong.right(x))
    assert "cut off from the input" in message(lambda: checks.check_gradients(wrong, vectors()))
    del wrong.forward
    wrong.unused = nn.Parameter(torch.ones(1))
    assert "no gradient reaches unused" in message(lambda: checks.check_gradients(wrong, vectors()))
    fresh = AffineCoupling(6, lambda i, o: nn.Sequential(nn.Linear(i, 4), nn.Linear(4, o))).double()
    nn.init.zeros_(fresh.subnet[1].weight)
    assert "gradient is 0 at subnet.0.weight" in message(lambda: checks.check_gradients(fresh, vectors()))


@pytest.mark.parametrize(
    "right",
    [coupling(), AdditiveCoupling(6, nn.Linear), Permute(torch.tensor([1, 0, 3, 2, 5, 4])), checks.perturb(ActNorm(6))],
    ids=lambda t: type(t).__name__,
)
def test_what_is_right_is_accused_of_nothing(right: Transform) -> None:
    """Also where log_det is 0, where the inverse is the forward map, and through a wrapper that spoils nothing."""
    for transform in (right.double().eval(), Spoiled(right)):
        checks.check_inverse(transform, vectors())
        checks.check_log_det(transform, vectors())
        checks.check_log_det(transform, vectors()[:1])
        checks.check_gradients(transform, vectors())
    assert checks.check_density(Spoiled(flow()), reach=10.0) == pytest.approx(1, abs=1e-3)


@pytest.fixture(autouse=True)
def no_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_verdicts", {})


def unfinished() -> None:
    raise NotImplementedError("your turn: 1.2")


def test_judge_prints_one_line_and_lets_the_reason_through(capsys: pytest.CaptureFixture) -> None:
    checks.judge("1.1", lambda: checks.check_log_det(coupling(), vectors()))
    checks.judge("1.2", unfinished)
    assert capsys.readouterr().out == "1.1 passed\n1.2 not started\n"
    wrong = Spoiled(coupling(), lambda d, x: -d)
    assert "wrong sign" in message(lambda: checks.judge("1.3", lambda: checks.check_log_det(wrong, vectors())))
    with pytest.raises(NameError):
        checks.judge("1.4", lambda: my_forgotten_cell)  # noqa: F821
    assert capsys.readouterr().out == ""


def test_a_base_class_that_was_not_filled_in_is_not_started(capsys: pytest.CaptureFixture) -> None:
    checks.judge("1.1", lambda: checks.check_shapes(Transform(), vectors()))
    assert capsys.readouterr().out == "1.1 not started\n"


@pytest.mark.parametrize("no", [False, torch.tensor(False), np.bool_(False)], ids=["bool", "torch", "numpy"])
def test_a_comparison_that_comes_out_false_fails(no: object) -> None:
    assert message(lambda: checks.judge("1.1", lambda: no)) == "1.1: this is not the answer that was asked for"


@pytest.mark.parametrize("yes", [True, torch.tensor(True), None, 0.0, torch.tensor(0.0)])
def test_an_error_of_zero_is_no_failure(yes: object) -> None:
    checks.judge("1.1", lambda: yes)


def test_summary_has_the_latest_verdict_of_each(capsys: pytest.CaptureFixture) -> None:
    for name, check in (("1.1", unfinished), ("1.2", unfinished), ("1.1", lambda: None), ("1.4", lambda: None)):
        checks.judge(name, check)
    message(lambda: checks.judge("1.3", lambda: False))
    capsys.readouterr()
    checks.summary()
    assert capsys.readouterr().out == "passed 2 of 4: 1.1, 1.4\nnot started 1 of 4: 1.2\nfailed 1 of 4: 1.3\n"

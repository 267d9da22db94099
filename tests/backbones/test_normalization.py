"""The normalization of features: what each kind computes, and the fit of one kind."""

import copy
import math

import pytest
import torch

from fastflow_lite import FastFlow
from fastflow_lite.backbones import Normalize, UncountedAffine
from fastflow_lite.errors import ArgumentError, DataError, NotTrainedError


def test_each_kind_takes_out_the_mean_and_deviation_of_its_own_dimensions() -> None:
    x = 3 * torch.randn(4, 8, 5, 7) + torch.arange(8.0)[:, None, None]
    for kind, dims in (("layer", (1,)), ("map", (1, 2, 3))):
        z = Normalize(kind, 8)(x)
        deviation = x.std(dim=dims, correction=0, keepdim=True)
        torch.testing.assert_close(z, (x - x.mean(dim=dims, keepdim=True)) / deviation, atol=1e-4, rtol=1e-4)
    assert Normalize("none", 8)(x) is x
    with pytest.raises(ArgumentError, match="normalize must be one of"):
        Normalize("batch", 8)


def test_the_fitted_kind_divides_by_the_deviation_and_by_a_thousandth_at_least() -> None:
    normalize = Normalize("channel", 3)
    normalize.fit(torch.tensor([1.0, 2.0, 0.0]), torch.tensor([1.0 + 4.0, 4.0, 1e-4]))
    assert normalize.std.flatten().tolist() == pytest.approx([2.0, 1e-3, 1e-2])
    x = torch.tensor([3.0, 2.0, 0.5]).view(1, 3, 1, 1)
    assert normalize(x).flatten().tolist() == pytest.approx([1.0, 0.0, 50.0])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_statistics_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(DataError, match="training features are not finite"):
        Normalize("channel", 1).fit(torch.zeros(1), torch.tensor([value]))


def test_the_fitted_kind_is_not_used_before_it_is_fitted() -> None:
    """Without statistics it would return the features unchanged."""
    normalize, x = Normalize("channel", 3), torch.rand(2, 3, 4, 4)
    assert normalize.needs_fit()
    with pytest.raises(NotTrainedError, match=r"call fit\(model, images\) first"):
        normalize(x)
    model = FastFlow("resnet18", steps=1, hidden=4, normalize="channel")
    for use in (model, model.features, model.predict, model.prepared_for_inference()):
        with pytest.raises(NotTrainedError):
            use(torch.rand(1, 3, 32, 32))
    normalize.fit(torch.zeros(3), torch.ones(3))
    assert not normalize.needs_fit()
    loaded = Normalize("channel", 3)
    loaded.load_state_dict(normalize.state_dict())
    for ready in (normalize, loaded, copy.deepcopy(normalize)):
        assert not ready.needs_fit()
        torch.testing.assert_close(ready(x), x)


def test_the_uncounted_affine_takes_one_size() -> None:
    affine = UncountedAffine(2, 3, 4)
    with torch.no_grad():
        affine.scale.fill_(2)
        affine.shift.fill_(-1)
    torch.testing.assert_close(affine(torch.ones(1, 2, 3, 4)), torch.ones(1, 2, 3, 4))
    with pytest.raises(ArgumentError, match=r"built for maps \(2, 3, 4\), got \(2, 4, 3\)"):
        affine(torch.ones(1, 2, 4, 3))

"""Noise painted into a latent comes back as a change of features, where it was painted and nowhere far."""

from functools import cache

import pytest
import torch

from fastflow_lite import FastFlow
from fastflow_lite.course import checks
from fastflow_lite.course.latent_edits import Edit, add_noise, dilate, edit, receptive_radius, rectangle, share_inside

REGION = rectangle((16, 16), top=5, left=6, height=2, width=3)


@cache
def model() -> FastFlow:
    """Two steps, (3, 1): on the finest scale a reach of 2 on maps of 16 x 16; not at its zero start."""
    model = FastFlow("resnet18", weights="bundled", steps=2, seed=1)
    checks.perturb(model.flows, 0.05, seed=0)
    return model.eval()


@cache
def features() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, c, s, s, generator=generator) for c, s in ((64, 16), (128, 8), (256, 4))]


def edited(strength: float = 3.0, seed: int = 0) -> Edit:
    return edit(model(), features(), 0, REGION, strength, seed)


def test_paint_changes_the_region_alone_by_noise_of_the_strength() -> None:
    z = features()[0]
    added = add_noise(z, REGION, strength=2.0, seed=3) - z
    assert not added[..., ~REGION].any()
    assert abs(float(added[..., REGION].std()) - 2.0) < 0.1
    assert torch.equal(add_noise(z, REGION, 2.0, seed=3) - z, added)
    assert not torch.equal(add_noise(z, REGION, 2.0, seed=4) - z, added)


def test_a_position_meets_the_same_noise_in_every_region() -> None:
    z, wider = features()[0], dilate(REGION, 2)
    assert torch.equal(add_noise(z, REGION)[..., REGION], add_noise(z, wider)[..., REGION])


def test_region_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"region is \(16, 16\), but z has maps of \(8, 8\)"):
        add_noise(features()[1], REGION)


def test_nothing_painted_changes_nothing() -> None:
    assert float(edited(strength=0.0).change.max()) < 1e-6


def test_the_change_reaches_exactly_the_receptive_field() -> None:
    """Not a position farther than `reach`, and not a position less (every weight is perturbed)."""
    # What rounding leaves where nothing was painted is far below the least change inside.
    changed = edited().change.amax(dim=0) > 1e-8
    assert receptive_radius(model().flows[0]) == 2
    assert torch.equal(changed, dilate(REGION, 2))
    assert share_inside(edited().change, dilate(REGION, 2)) > 0.999


def test_what_comes_back_has_the_painted_latent() -> None:
    found = edited()
    with torch.no_grad():
        z, _ = model().flows[0](found.after)
    assert float((z - found.painted).abs().max()) < 1e-4
    assert torch.equal(found.before, features()[0])


def test_the_mode_of_the_model_is_kept() -> None:
    model().flows.train()
    try:
        edited()
        assert model().flows[0].training
    finally:
        model().flows.eval()


def test_box_is_cut_at_the_border() -> None:
    assert rectangle((4, 4), top=-1, left=3, height=3, width=9).nonzero().tolist() == [[0, 3], [1, 3]]
    assert not rectangle((4, 4), top=-3, left=0, height=2, width=2).any()

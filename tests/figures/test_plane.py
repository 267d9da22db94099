"""The plane under a map and under a flow."""

import pytest
import torch

from fastflow_lite.course import checks
from fastflow_lite.course.plane import mlp_subnet, points
from fastflow_lite.figures import plane
from fastflow_lite.flows import stages
from fastflow_lite.flows.transforms import ActNorm, AffineCoupling, Permute, Sequential


def a_flow(steps: int = 2) -> Sequential:
    swap = torch.tensor([1, 0])
    parts = [Sequential(ActNorm(2), Permute(swap), AffineCoupling(2, mlp_subnet(16))) for _ in range(steps)]
    return Sequential(*parts).eval()


def test_grid_lines_run_along_both_axes() -> None:
    lines = plane.grid_lines(count=3, resolution=5, reach=2.0)
    assert lines.shape == (6, 5, 2)
    assert lines[:3, :, 1].std(dim=1).max() == 0 and lines[3:, :, 0].std(dim=1).max() == 0
    assert lines[0, :, 0].tolist() == [-2, -1, 0, 1, 2]


def test_point_clouds_color_the_parts() -> None:
    x, part = points("rings", 50)
    figure = plane.point_clouds({"a": x, "b": x}, part)
    figure.canvas.draw()
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]
    colors = figure.axes[0].collections[0].get_facecolor()
    assert len({tuple(color) for color in colors}) == 2 and torch.equal(
        torch.tensor(colors[:, 0] == colors[part == 0][0, 0]), part == 0
    )


def test_a_map_moves_the_squares() -> None:
    figure = plane.transformed_planes({"x": lambda p: p, "moved": lambda p: p + torch.tensor([1.0, 0.0])})
    before, after = ([patch.get_xy() for patch in axes.patches] for axes in figure.axes)
    assert len(before) == 3
    for one, other in zip(before, after, strict=True):
        assert other[:, 0] == pytest.approx(one[:, 0] + 1) and other[:, 1] == pytest.approx(one[:, 1])


def test_the_density_of_the_identity_is_the_normal_one_and_its_rows_lie_along_the_second_axis() -> None:
    density = plane.density_on_grid(Sequential(), reach=1.0, resolution=3)
    assert density[1, 1] == pytest.approx(1 / (2 * torch.pi))
    shifted = ActNorm(2).train()
    shifted(torch.randn(500, 2) * torch.tensor([1.0, 0.1]))
    density = plane.density_on_grid(shifted.eval(), reach=1.0, resolution=3)
    assert density[1, 0] > 0.05 > density[0, 1], "wide along the first axis, narrow along the second"


def test_densities_share_one_scale() -> None:
    figure = plane.flow_densities({"a": a_flow(), "b": Sequential()})
    assert len({axes.images[0].get_clim() for axes in figure.axes[:2]}) == 1
    assert figure.axes[2].get_ylabel() == "density", "a color bar"


def test_samples_and_density_has_a_row_for_each_set() -> None:
    x, _ = points("rings", 50)
    figure = plane.samples_and_density({"rings": (x, a_flow()), "moons": (x, Sequential())})
    figure.canvas.draw()
    assert [axes.get_title() for axes in figure.axes[:3]] == ["data", "samples", "density"]
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == ["rings", "moons"]
    assert len(figure.axes[1].collections[0].get_offsets()) == 50


def test_every_chosen_step_shows_its_points() -> None:
    (x, part), flow = points("rings", 50), checks.perturb(a_flow(), 0.2)
    figure = plane.flow_step_grids({"rings": (x, part, flow)}, (0, 2))
    assert [axes.get_title() for axes in figure.axes] == ["data", "after step 2"]
    shown = torch.tensor(figure.axes[1].collections[0].get_offsets().data, dtype=torch.float32)
    torch.testing.assert_close(shown, stages(flow, x)[2].detach())

"""A figure in a notebook is sharp, light, as large as its text needs, and described."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from fastflow_lite.figures import curves, pictures
from fastflow_lite.figures.layout import new_grid
from fastflow_lite.figures.scores import roc_and_pro
from fastflow_lite.figures.style import NORMAL


def weave() -> np.ndarray:
    """A picture of many colors with threads and noise, as photographs of parts are."""
    rows, columns = np.mgrid[:256, :256]
    threads = 0.5 + 0.2 * np.sin(rows / 2) * np.sin(columns / 2)
    color = np.stack([rows / 512, columns / 512, (rows + columns) / 1024], axis=-1)
    noise = 0.02 * np.random.default_rng(0).standard_normal((256, 256, 3))
    return (0.6 * threads[..., None] + 0.6 * color + noise).clip(0, 1)


def textured(side: float) -> Figure:
    figure, grid = new_grid(2, 3, side)
    for axes in grid.ravel():
        axes.imshow(weave())
    return figure


def opened(data: dict[str, str]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(next(iter(data.values())))))


def test_a_chart_is_a_light_png_at_twice_the_resolution_of_the_page() -> None:
    figure = curves.loss_curve([3.0, 2.0, 1.0])
    data, metadata = pictures.to_output(figure)
    image, shown = opened(data), metadata["image/png"]
    assert list(data) == ["image/png"] and len(data["image/png"]) < 30_000
    assert image.width > 1.6 * shown["width"] > 700
    assert abs(shown["width"] / pictures.SHOWN - figure.get_figwidth()) < 0.5, "ten points are shown as ten points"
    assert shown["alt"] == "A chart: bits per dimension over epoch; training images (mean over the epoch)."


def test_texture_is_a_jpeg_of_less_quality_where_it_is_heavy() -> None:
    small, _ = pictures.to_output(textured(0.6))
    large, metadata = pictures.to_output(textured(2.5))
    assert list(large) == ["image/jpeg"]
    assert len(base64.b64decode(next(iter(small.values())))) <= pictures.LIGHT
    assert opened(large).width == round(metadata["image/jpeg"]["width"] * pictures.COARSE / pictures.SHOWN)
    assert len(base64.b64decode(large["image/jpeg"])) < 1.1 * len(pictures._jpeg(opened(large), 40))


def test_a_chart_of_many_points_is_a_png_of_fewer_pixels_and_its_text_stays_black() -> None:
    figure, grid = new_grid(2, 3, 2.2)
    for axes in grid.ravel():
        across, up = np.random.default_rng(0).standard_normal((2, 1500))
        axes.scatter(across, up, s=2, c=across, cmap="viridis")
    data, metadata = pictures.to_output(figure)
    image, shown = opened(data), metadata["image/png"]
    assert list(data) == ["image/png"] and 1.2 < image.width / shown["width"] < 1.3
    assert abs(shown["width"] / pictures.SHOWN - figure.get_figwidth()) < 0.5, "ten points are shown as ten points"
    assert min(sum(color) for _, color in image.convert("RGB").getcolors()) < 30
    assert len(base64.b64decode(data["image/png"])) < 0.6 * len(pictures.light_png(pictures._drawn(figure, 160)))


def test_pictures_keep_their_colors_where_sixty_four_are_too_few() -> None:
    """Small pictures, each of other colors, make a light PNG of few colors, in which orange and blue become gray."""
    figure, grid = new_grid(2, 4, 0.6)
    for axes, color in zip(grid.ravel(), np.random.default_rng(0).random((8, 8, 8, 3)), strict=True):
        axes.imshow(color)
    drawn = pictures._drawn(figure, pictures.DRAWN)
    few = pictures.light_png(drawn)
    assert len(few) < pictures.LIGHT and not pictures._keeps_colors(drawn, few)
    data, _ = pictures.to_output(figure)
    assert list(data) == ["image/png"] and len(_colors(data)) > 8 * 8 * 8


def test_areas_beside_a_map_of_many_colors_do_not_turn_gray() -> None:
    """A palette of colors far apart is spent on the map, and has no light blue for the areas below the curves."""
    parts = np.zeros((96, 96), dtype=int)
    parts[8:38, 8:38], parts[76:79, 28::20] = 1, 2
    normal = (parts == 0).sum()
    scores = np.where(parts == 1, 0.99 * normal, 0.5 * normal)
    scores[parts == 0] = np.random.default_rng(0).permutation(normal)
    data, _ = pictures.to_output(roc_and_pro(parts > 0, scores))
    blue = [round(255 - 0.35 * (255 - 255 * part)) for part in to_rgb(NORMAL)]
    width, height = opened(data).size
    near = [np.abs(np.subtract(color, blue)).max() < 12 and count for count, color in _colors(data)]
    assert sum(near) > 0.1 * width * height


def _colors(data: dict[str, str]) -> list[tuple[int, tuple[int, int, int]]]:
    return opened(data).convert("RGB").getcolors(1 << 20)


def test_a_description_names_titles_rows_and_color_bars_once() -> None:
    figure, grid = new_grid(2, 2, 1.5)
    for axes in grid.ravel():
        drawn = axes.imshow(np.eye(3))
        axes.set_title("$z$, a map")
    grid[1, 0].set_ylabel("bad\npart")
    figure.colorbar(drawn, ax=grid.ravel().tolist(), label="energy in nats")
    assert pictures.describe(figure) == "4 panels: z, a map. z, a map; bad part. colors: energy in nats."


def test_a_figure_is_drawn_as_before_after_it_was_kept() -> None:
    """Layout is switched off while files are compared, and on again."""
    figure = textured(1.2)
    engine = figure.get_layout_engine()
    assert engine is not None
    pictures.to_output(figure)
    assert figure.get_layout_engine() is engine


def test_a_figure_is_drawn_once_to_be_saved_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(pictures, "_drawn", lambda *how, draw=pictures._drawn: drawn.append(how[0]) or draw(*how))
    figure = curves.loss_curve([3.0, 2.0, 1.0])
    expected = pictures.to_output(curves.loss_curve([3.0, 2.0, 1.0]))
    drawn.clear()
    pictures.save(figure, tmp_path / "lines.png")
    assert pictures.to_output(figure) == expected and len(drawn) == 1
    with Image.open(tmp_path / "lines.png") as saved:
        assert np.abs(np.asarray(saved, float) - np.asarray(pictures._drawn(figure, pictures.DRAWN))).max() == 0


def test_a_figure_that_was_changed_after_it_was_saved_is_drawn_anew(tmp_path: Path) -> None:
    figure = curves.loss_curve([3.0, 2.0, 1.0])
    before = pictures.to_output(figure)
    pictures.save(figure, tmp_path / "lines.png")
    figure.axes[0].set_ylim(0, 10)
    assert pictures.to_output(figure) != before

"""A loop is one light picture that plays without end, and its first frame is a picture of its own."""

import base64
import io
from collections.abc import Iterator

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image, ImageSequence

from fastflow_lite.course import plane
from fastflow_lite.figures import loops
from fastflow_lite.flows.transforms import Permute, Sequential


def bars(heights: tuple[int, ...] = (1, 2, 3)) -> Iterator[Figure]:
    for height in heights:
        figure, axes = plt.subplots(figsize=(2.0, 1.5))
        axes.bar([0], [height])
        axes.set(ylim=(0, 4), title=f"height {height}")
        yield figure


def opened(loop: loops.Loop) -> Image.Image:
    return Image.open(io.BytesIO(loop.data))


def frames(loop: loops.Loop) -> list[np.ndarray]:
    return [np.asarray(frame.convert("RGB"), float) for frame in ImageSequence.Iterator(opened(loop))]


def test_it_has_every_frame_in_order_and_plays_without_end() -> None:
    made = loops.loop(bars())
    assert opened(made).n_frames == 3 and opened(made).info["loop"] == 0
    alone = [np.asarray(loops._drawn(figure), float) for figure in bars()]
    errors = [[abs(shown - drawn).mean() for drawn in alone] for shown in frames(made)]
    assert np.argmin(errors, axis=1).tolist() == [0, 1, 2] and np.diag(errors).max() < 2


def test_a_frame_holds_only_what_changes_where_that_is_lighter() -> None:
    still = np.random.default_rng(0).integers(0, 8, (60, 80)).astype(np.uint8) * 30
    images = []
    for k in range(3):
        pixels = still.copy()
        pixels[:5, 20 * k :] = 255  # a bar that grows smaller: what it covered comes back
        pixels[-1, -1] = 50 * k  # so that the whole frame counts as changed
        images.append(Image.fromarray(pixels).convert("RGB"))
    data = loops._animated(images, 64, 100)
    alone = loops._animated(images[:2], 64, 100)
    assert len(data) - len(alone) < 300, "a frame of noise has 2000 bytes"
    shown = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(Image.open(io.BytesIO(data)))]
    assert all(np.array_equal(one, np.asarray(image)) for one, image in zip(shown, images, strict=True))


def test_the_ends_are_shown_longest() -> None:
    image, shown = opened(loops.loop(bars((1, 2, 3, 4)))), []
    for k in range(image.n_frames):
        image.seek(k)
        shown.append(image.info["duration"])
    assert shown == [loops.REST, loops.PACE, loops.PACE, loops.REST]


def test_a_notebook_gets_a_png_with_its_size_and_its_words() -> None:
    made = loops.loop(bars())
    data, metadata = made._repr_mimebundle_()
    assert list(data) == list(metadata) == ["image/png"] and base64.b64decode(data["image/png"]) == made.data
    alt = "A loop of 3 pictures. The first: A chart: height 1. The last: A chart: height 3."
    assert metadata["image/png"] == {"width": 192, "height": 144, "alt": alt}
    assert len(repr(made)) < 200, "a notebook keeps this too"


def test_a_pace_of_ones_own() -> None:
    image = opened(loops.loop(bars(), pace=600))
    image.seek(1)
    assert image.info["duration"] == 600


def test_the_same_figures_make_the_same_bytes_and_leave_none_open() -> None:
    before = plt.get_fignums()
    assert loops.loop(bars()).data == loops.loop(bars()).data != loops.loop(bars((1, 2, 4))).data
    assert plt.get_fignums() == before


def test_heavy_frames_get_fewer_colors() -> None:
    def noisy() -> Iterator[Figure]:
        for seed in range(2):
            figure = plt.figure(figsize=(2.6, 1.8))
            figure.figimage(np.random.default_rng(seed).random((172, 249, 3)))
            yield figure

    made = loops.loop(noisy())
    colors = opened(made).convert("RGB").getcolors()
    assert len(made.data) <= loops.LIGHT and len(colors) < loops.COLORS[0]


def test_a_flow_of_two_swaps_shows_the_points_where_they_are() -> None:
    x, part = plane.points("moons", 200)
    flow = Sequential(*[Permute(torch.tensor([1, 0])) for _ in range(2)])
    assert all(torch.equal(way, x) for way in loops._unswapped(flow, x)), "the swap is undone"
    made = loops.through_the_steps(flow, x, part, count=3)
    assert len(made.data) <= loops.LIGHT
    assert made.alt == "A loop of 3 pictures. The first: A chart: data. The last: A chart: step 2 of 2."


def test_a_training_shows_each_state_and_the_loss_up_to_it() -> None:
    flows = {0: Sequential(), 2: Sequential(Permute(torch.tensor([1, 0]))), 4: Sequential()}
    made = loops.training(flows, [3.0, 2.5, 2.2, 2.1])
    assert opened(made).n_frames == 3 and len(made.data) <= loops.LIGHT
    assert "first: 2 panels: density after 0 updates. nats per point over update. The last: " in made.alt
    lines = [(frame[:, frame.shape[1] // 2 :].sum(axis=2) < 3 * 200).sum() for frame in frames(made)]
    assert lines[0] < lines[1] < lines[2], "the line of the loss grows"


def test_a_moving_threshold_counts_both_errors() -> None:
    scores, labels = np.array([0.0, 1.0, 2.0, 3.0]), np.array([False, False, True, True])
    made = loops.moving_threshold(scores, labels, count=3)
    assert opened(made).n_frames == 3 and len(made.data) <= loops.LIGHT
    assert "first: A chart: false alarms: 2 of 2, missed defects: 0 of 2;" in made.alt
    assert "last: A chart: false alarms: 0 of 2, missed defects: 1 of 2;" in made.alt

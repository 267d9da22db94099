"""What both baselines share: the interface of the model, and errors that name the image."""

import time
from typing import Any

import pytest
import torch
from tiny import TwoLevels

from fastflow_lite.baselines import BASELINES, Baseline
from fastflow_lite.errors import ArgumentError, DataError, DivergedError, NotTrainedError

KINDS = tuple(BASELINES.values())
pytestmark = pytest.mark.parametrize("kind", KINDS, ids=BASELINES)


def fitted(kind: type[Baseline]) -> Any:
    made: Any = kind
    model = made(TwoLevels())
    model.fit(torch.rand(6, 3, 32, 48), progress=False)
    return model


def test_an_image_unlike_the_training_images_has_the_highest_score_and_is_marked(kind: type[Baseline]) -> None:
    model, images = fitted(kind), 0.4 + 0.2 * torch.rand(5, 3, 32, 48)
    model.fit(0.4 + 0.2 * torch.rand(20, 3, 32, 48), progress=False)
    images[2, :, 8:16, 20:28] = 1
    maps, scores = model.predict(images)
    assert maps.shape == (5, 1, 32, 48) and scores.shape == (5,) and not maps.requires_grad
    assert scores.argmax() == 2
    y, x = divmod(int(maps[2].argmax()), 48)
    assert 6 <= y < 18 and 18 <= x < 30


def test_what_is_fitted_may_take_part_in_later_gradients(kind: type[Baseline]) -> None:
    """Fitting is done in inference mode, whose tensors autograd refuses."""
    model = fitted(kind)
    assert not any(tensor.is_inference() for tensor in model.state_dict().values())


def test_the_seconds_of_both_stages_add_up(kind: type[Baseline]) -> None:
    made: Any = kind
    began = time.monotonic()
    history = made(TwoLevels()).fit(torch.rand(6, 3, 32, 48), progress=False)
    assert min(history.seconds.values()) >= 0
    assert sum(history.seconds.values()) <= time.monotonic() - began


def test_prepared_it_computes_the_same(kind: type[Baseline]) -> None:
    model, images = fitted(kind), torch.rand(4, 3, 32, 48)
    prepared = model.prepared_for_inference()
    for one, other in zip(model.predict(images), prepared.predict(images), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert prepared.model is model
    with pytest.raises(ArgumentError, match="precision must be one of 'float32', 'bf16', got 'half'"):
        model.predict(images, precision="half")
    rounded, exact = model.predict(images, precision="bf16")[1], model.predict(images)[1]
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.1, atol=0.1)


def test_without_a_fit_it_is_said(kind: type[Baseline]) -> None:
    made: Any = kind
    model = made(TwoLevels())
    for refused in (lambda: model.predict(torch.rand(1, 3, 32, 48)), lambda: model.save("never")):
        with pytest.raises(NotTrainedError, match=r"not been fitted: call model.fit\(images\)"):
            refused()


def test_images_are_checked_as_by_the_model(kind: type[Baseline]) -> None:
    model = fitted(kind)
    assert model.input_format.image_size == (32, 48)
    with pytest.raises(ArgumentError, match="divide 8-bit images by 255"):
        model.predict(255 * torch.rand(1, 3, 32, 48))
    with pytest.raises(DivergedError, match="maps are not finite: look for NaN"):
        model.predict(torch.full((1, 3, 32, 48), torch.nan))
    with pytest.raises(ArgumentError, match="map must be one of 'distance', got 'nll'"):
        model.anomaly_map(model(torch.rand(1, 3, 32, 48)), (32, 48), "nll")


def test_what_cannot_be_fitted_to_is_named_and_the_model_stays(kind: type[Baseline]) -> None:
    model, images = fitted(kind), torch.rand(3, 3, 32, 48)
    before = [part.clone() for part in model.predict(images)]
    with pytest.raises(DataError, match=r"image 1 of train .*NaN"):
        bad = torch.rand(3, 3, 48, 32)
        bad[1, 0, 0, 0] = torch.nan
        model.fit(bad, progress=False)
    with pytest.raises(ArgumentError, match="batch_size"):
        model.fit(images, batch_size=0)
    assert all(torch.equal(a, b) for a, b in zip(before, model.predict(images), strict=True))


def test_features_too_large_for_float16_are_named(kind: type[Baseline]) -> None:
    made: Any = kind
    model, images = made(TwoLevels()), torch.rand(3, 3, 32, 48)
    model.backbone.network.fine.weight.fill_(1e5)
    images[:2] = 0
    with pytest.raises(DataError, match=r"features of image 2 of train are not finite in float16"):
        model.fit(images, batch_size=2, progress=False)


def test_a_second_fit_replaces_the_first_and_repeats(kind: type[Baseline]) -> None:
    model, images = fitted(kind), torch.rand(5, 3, 16, 32)
    history = model.fit(images, progress=False)
    again = fitted(kind)
    again.fit(images, progress=False)
    assert torch.equal(model.predict(images)[1], again.predict(images)[1])
    record = history.to_record()
    assert set(record["seconds"]) == {"features", "training"} and min(record["seconds"].values()) > 0
    assert record["train_images"] == 5 and len(record["train_sha256"]) == 64 and history.epochs == 1


def test_progress_is_on_standard_error(kind: type[Baseline], capsys: pytest.CaptureFixture[str]) -> None:
    model = fitted(kind)
    model.fit(torch.rand(3, 3, 32, 48))
    assert capsys.readouterr().out == ""

"""Training: what it sees, that it repeats, continues and refuses."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fastflow_lite import FastFlow, fit
from fastflow_lite.datasets import Data, ImageSet, open_dataset
from fastflow_lite.datasets.input_format import InputFormat
from fastflow_lite.errors import ArgumentError, CheckpointError, DataError
from fastflow_lite.flows.likelihood import bits, nats_per_dim
from fastflow_lite.training import History
from fastflow_lite.training.checkpoint import Checkpoint
from fastflow_lite.training.feature_cache import FeatureCache, cache_features
from fastflow_lite.training.trainer import mean_bits_per_dim

Small = Callable[..., FastFlow]
Train = Callable[..., tuple[FastFlow, History]]


@pytest.fixture
def data(category: Path) -> Data:
    return open_dataset(category.parent, category.name, image_size=(64, 48))


@pytest.fixture
def small(device: torch.device) -> Small:
    """Make small models on the device of the tests."""

    def made(**options: Any) -> FastFlow:
        options = {"steps": 2, "hidden": 16, "kernels": (3, 1), **options}
        return FastFlow("resnet18", weights="bundled", **options).to(device)

    return made


@pytest.fixture
def train(small: Small) -> Train:
    """Train a small model, or the one given."""

    def trained(data: Data, model: FastFlow | None = None, **options: Any) -> tuple[FastFlow, History]:
        model = model or small()
        history = fit(model, data.train, **{"epochs": 3, "batch_size": 2, "progress": False, **options})
        return model, history

    return trained


def same(a: FastFlow, b: FastFlow) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_loss_falls_and_only_the_flows_move(data: Data, train: Train, small: Small) -> None:
    start = small()
    model, history = train(data)
    assert history.bits_per_dim[-1] < history.bits_per_dim[0] - 0.05
    assert not same(start.flows, model.flows)
    assert same(start.backbone, model.backbone)
    assert not model.training


def test_same_seed_same_weights_other_seed_others(data: Data, train: Train, small: Small) -> None:
    first, again, other = train(data)[0], train(data)[0], train(data, seed=1)[0]
    assert same(first, again)
    assert not same(first, other)
    assert not same(first, train(data, small(seed=1))[0])


def test_every_epoch_sees_every_image_once_in_an_order_of_its_own(
    data: Data, monkeypatch: pytest.MonkeyPatch, train: Train
) -> None:
    seen, get = [], FeatureCache.__getitem__

    def watch(self: FeatureCache, batch: list[int]) -> list[torch.Tensor]:
        seen.append(list(batch))
        return get(self, batch)

    monkeypatch.setattr(FeatureCache, "__getitem__", watch)
    train(data, epochs=3)
    epochs = np.array(seen[:9]).reshape(3, 6)  # three batches of two images each; what follows is no training
    assert (np.sort(epochs, axis=1) == np.arange(6)).all()
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_training_does_not_touch_the_global_random_state(data: Data, train: Train) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train(data)
    assert torch.equal(torch.rand(1), expected)


class Stop(Exception):
    """An interruption, as Ctrl-C or a dead machine would be."""


@pytest.mark.parametrize("after", [1, 2])
def test_resume_ends_with_the_same_result(
    data: Data, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch, train: Train
) -> None:
    undisturbed, history = train(data)
    file, save, saved = tmp_path / "run.ckpt", Checkpoint.save, []

    def save_then_stop(self: Checkpoint, state: dict[str, Any]) -> None:
        save(self, state)
        saved.append(state)
        if len(saved) == after:
            raise Stop

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Checkpoint, "save", save_then_stop)
        train(data, checkpoint=file)
    resumed, resumed_history = train(data, checkpoint=file)
    assert same(undisturbed, resumed)
    assert resumed_history.bits_per_dim == history.bits_per_dim


def test_a_number_of_updates_is_resolved_to_whole_passes(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train: Train
) -> None:
    """Six images in batches of four: two steps a pass, so three steps take two passes."""
    by_epochs, expected = train(data, batch_size=4, epochs=2)
    by_updates, history = train(data, batch_size=4, epochs=None, updates=3, checkpoint=tmp_path / "run.ckpt")
    assert same(by_epochs, by_updates)
    assert (history.settings, history.epochs) == (expected.settings, 2)
    monkeypatch.setattr("fastflow_lite.training.loop.TrainingLoop.step", None)  # the same run, since of as many passes
    assert train(data, batch_size=4, epochs=2, checkpoint=tmp_path / "run.ckpt")[1].epochs == 2
    with pytest.raises(ArgumentError, match="give epochs=2 or updates=3, not both"):
        train(data, epochs=2, updates=3)


def test_a_finished_run_is_not_run_again(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train: Train
) -> None:
    model, history = train(data, checkpoint=tmp_path / "run.ckpt")
    monkeypatch.setattr("fastflow_lite.training.loop.TrainingLoop.step", None)
    again, again_history = train(data, checkpoint=tmp_path / "run.ckpt")
    assert same(model, again)
    assert again_history.bits_per_dim == history.bits_per_dim


def test_damaged_checkpoints_are_refused_by_name(data: Data, tmp_path: Path, train: Train) -> None:
    file = tmp_path / "run.ckpt"
    train(data, checkpoint=file, epochs=1)
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (whole[: len(whole) // 2], bytes(flipped), whole[:40]):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"run\.ckpt is damaged or cut short; delete it"):
            train(data, checkpoint=file, epochs=1)
    file.write_bytes(b"something else altogether")
    with pytest.raises(CheckpointError, match=r"run\.ckpt is not a training checkpoint"):
        train(data, checkpoint=file, epochs=1)


def test_checkpoint_of_another_run_says_what_differs(data: Data, tmp_path: Path, train: Train, small: Small) -> None:
    file = tmp_path / "run.ckpt"
    train(data, checkpoint=file, epochs=1)
    with pytest.raises(
        CheckpointError,
        match=r"settings\.epochs is 1 there and 2 here; settings\.seed is 0 there and 4.*"
        r"Use its settings to continue it\. For a new run choose another file or folder",
    ):
        train(data, checkpoint=file, epochs=2, seed=4)
    with pytest.raises(CheckpointError, match=r"model\.coupling is affine there and additive here"):
        train(data, small(coupling="additive"), checkpoint=file, epochs=1)


def test_a_checkpoint_continues_compiled_or_not_but_not_in_another_precision(
    data: Data, tmp_path: Path, train: Train
) -> None:
    file = tmp_path / "run.ckpt"
    train(data, checkpoint=file, epochs=1)
    assert train(data, checkpoint=file, epochs=1, compile=False)[1].epochs == 1
    with pytest.raises(CheckpointError, match=r"settings\.precision is None there and bf16 here"):
        train(data, checkpoint=file, epochs=1, precision="bf16")


def test_failed_write_keeps_the_old_checkpoint(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "run.ckpt"
    keeper = Checkpoint(file, {"run": 1})
    keeper.save({"epoch": 1})
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        keeper.save({"epoch": 2})
    assert keeper.load() == {"epoch": 1}
    assert [p.name for p in tmp_path.iterdir() if "ckpt" in p.name] == ["run.ckpt"]


def test_features_that_are_not_finite_name_their_image(data: Data, train: Train, small: Small) -> None:
    model = small(steps=1, normalize="none")
    with torch.no_grad():
        model.backbone.network.conv1.weight[0, 0, 0, 0] = math.nan
    with pytest.raises(DataError, match=r"not finite.*train/good/000\.png"):
        train(data, model)


def test_a_bad_image_names_itself_before_training(data: Data, train: Train) -> None:
    path = data.train.samples[3].image
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"003\.png cannot be decoded"):
        train(data)


def test_test_images_cannot_be_trained_on(data: Data, train: Train, small: Small) -> None:
    with pytest.raises(DataError, match="named as defects"):
        fit(small(steps=1), data.test, epochs=1, progress=False)
    with pytest.raises(ValueError, match="epochs must be a whole number of at least 1, got 0"):
        train(data, epochs=0)


def test_held_out_images_are_normal(data: Data, train: Train) -> None:
    with pytest.raises(DataError, match=r"held_out must be normal images only, but 3 of 6 .*square/000\.png"):
        train(data, held_out=data.test)
    with pytest.raises(DataError, match="held_out holds no image"):
        train(data, held_out=data.test.subset([]))


@pytest.mark.filterwarnings("ignore:images of 96 x 96 pixels")
def test_a_checkpoint_belongs_to_its_held_out_images(data: Data, tmp_path: Path, train: Train) -> None:
    def go_on(file: str, held_out: Any) -> History:
        return train(data, checkpoint=tmp_path / file, epochs=1, held_out=held_out)[1]

    first, other = data.test.subset([0, 1]), data.test.subset([0, 2])
    large = ImageSet(first.samples, (96, 96), first.root)
    go_on("held.ckpt", first)
    go_on("none.ckpt", None)
    assert len(go_on("held.ckpt", first).held_out) == 1
    for file, held_out in (("held.ckpt", other), ("held.ckpt", None), ("none.ckpt", first)):
        with pytest.raises(CheckpointError, match=r"held_out_sha256 is .* there and .* here"):
            go_on(file, held_out)
    with pytest.raises(CheckpointError, match=r"held_out_size is \[64, 48\] there and \[96, 96\] here"):
        go_on("held.ckpt", large)


@pytest.mark.parametrize("kind", ["layer", "map", "channel"])
def test_normalizations_do_what_they_say(data: Data, kind: str, small: Small) -> None:
    model = small(steps=1, normalize=kind)
    cache = cache_features(model, data.train, 4)
    maps = cache[range(len(cache))][1].cpu()
    dims = {"layer": (1,), "map": (1, 2, 3), "channel": (0, 2, 3)}[kind]
    assert torch.allclose(maps.mean(dim=dims), torch.tensor(0.0), atol=5e-3)
    std = maps.std(dim=dims, correction=0)
    living = std > 0.9  # a channel that is dead on such plain images stays small, not blown up
    assert torch.allclose(std[living], torch.tensor(1.0), atol=2e-2)
    assert living.float().mean() > 0.5
    assert std.max() < 1.02


def test_the_typical_position_comes_from_training_images(data: Data, train: Train) -> None:
    """`fit` learns each scale's medians: half of all training positions lie on either side."""
    model, _ = train(data)
    images = torch.stack([image for image, _ in data.train]).to(model.device)
    for (z, log_det), (energy, share) in zip(model(images), model.training_medians.tolist(), strict=True):
        assert 0.45 < (z.square().mean(dim=1) / 2 < energy).float().mean() < 0.55
        assert 0.45 < (log_det / z.shape[1] < share).float().mean() < 0.55


def test_uncounted_affine_is_trained_but_not_counted(data: Data, train: Train, small: Small) -> None:
    model, _ = train(data, small(steps=1, uncounted_affine=(64, 48)), epochs=1)
    assert not torch.equal(model.affine[0].scale, torch.ones_like(model.affine[0].scale))
    with pytest.raises(ValueError, match="one image size only"), pytest.warns(UserWarning, match="trained on 64 x 48"):
        model.predict(torch.rand(1, 3, 64, 64))


def test_save_and_load(data: Data, tmp_path: Path, train: Train, small: Small) -> None:
    # A batch of all images: ActNorm's start from two of them does not suit the others' constant channels.
    model, _ = train(data, small(coupling="additive", normalize="channel", map="nll"), batch_size=6)
    model.save(tmp_path / "m.safetensors")
    loaded = FastFlow.load(tmp_path / "m.safetensors").to(model.device)
    images = torch.rand(2, 3, 64, 48)
    for a, b in zip(model.predict(images), loaded.predict(images), strict=True):
        assert torch.equal(a, b)
    assert loaded.backbone.weights_info == model.backbone.weights_info
    assert (loaded.map, loaded.config) == ("nll", model.config)
    assert loaded.input_format == model.input_format == InputFormat((64, 48))


def test_round_trip_through_a_trained_flow(data: Data, train: Train) -> None:
    model, _ = train(data)
    features = model.features(data.test[4][0][None].to(model.device))
    for flow, x in zip(model.flows, features, strict=True):
        z, log_det = flow(x)
        back, inverse_log_det = flow.inverse(z)
        assert torch.allclose(back, x, atol=1e-4)
        assert torch.allclose(log_det, -inverse_log_det, atol=1e-3)


def test_one_image_is_enough_to_train(tmp_path: Path, train: Train) -> None:
    for part in ("train/good", "test/good"):
        (tmp_path / "one" / part).mkdir(parents=True)
        noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "one" / part / "0.png")
    _, history = train(open_dataset(tmp_path, "one", image_size=32), epochs=1)
    assert math.isfinite(history.bits_per_dim[0])


def test_the_likelihood_of_held_out_images_does_not_depend_on_the_batches(data: Data, small_model: FastFlow) -> None:
    """Six images in batches of four: each image counts the same, also those of the smaller batch."""
    cache, model = cache_features(small_model, data.train, 4), small_model.eval()
    with torch.no_grad():
        expected = bits(nats_per_dim(model.flow(cache[list(range(6))])).item())
        each = [bits(nats_per_dim(model.flow(cache[[k]])).item()) for k in range(6)]
    assert np.std(each) > 1e-4
    for batch_size in (1, 4, 5, 6, 100):
        assert mean_bits_per_dim(model, cache, batch_size) == pytest.approx(expected, rel=1e-6)

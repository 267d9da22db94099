"""Training with features that change in every step; the paper's settings."""

from pathlib import Path

import pytest
import torch

from fastflow_lite import FastFlow, fit
from fastflow_lite.datasets import Data, open_dataset
from fastflow_lite.datasets.augmentation import Augmentation
from fastflow_lite.devices.feature_storage import GIBIBYTE
from fastflow_lite.training import recipes
from fastflow_lite.training.augmented_features import BUDGET, AugmentedFeatures
from fastflow_lite.training.checkpoint import Checkpoint

NEVER = {"horizontal": 0.0, "vertical": 0.0, "rotation": 0.0}


@pytest.fixture
def data(category: Path) -> Data:
    return open_dataset(category.parent, category.name, image_size=(64, 48))


def test_fresh_features_change_with_the_epoch_and_repeat_with_the_seed(data: Data, small_model: FastFlow) -> None:
    fresh = AugmentedFeatures(small_model.eval(), data.train, Augmentation())
    found = []
    for seed in (0, 0, 1):
        fresh.start_epoch(seed)
        found.append(fresh[[0, 1]][0])
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2])
    still = Augmentation(**NEVER)
    kept, read = (AugmentedFeatures(small_model, data.train, still, budget) for budget in (GIBIBYTE, 0))
    for _ in range(2):
        torch.testing.assert_close(kept[[3]], read[[3]])
    torch.testing.assert_close(kept[[3]], small_model.features(data.train[3][0][None].to(small_model.device)))


def test_decoded_images_are_kept_up_to_the_budget(data: Data, small_model: FastFlow) -> None:
    assert BUDGET == 2 * 2**30
    one = 3 * 64 * 48
    for budget, kept in ((one - 1, []), (2 * one, [5, 0])):
        fresh = AugmentedFeatures(small_model, data.train, Augmentation(**NEVER), budget)
        fresh[[5, 0, 1]]
        assert list(fresh._kept) == kept


def test_augmented_training_resumes_to_the_same_result(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: torch.device
) -> None:
    settings = {"epochs": 3, "batch_size": 2, "augment": Augmentation(), "progress": False, "schedule": "constant"}

    def model() -> FastFlow:
        return FastFlow("resnet18", weights="bundled", steps=2, hidden=16).to(device)

    whole, stopped, resumed = model(), model(), model()
    fit(whole, data.train, **settings)
    save, saved = Checkpoint.save, []

    def save_then_die(self: Checkpoint, state: dict[str, object]) -> None:
        save(self, state)
        saved.append(state)
        if len(saved) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_then_die)
        with pytest.raises(KeyboardInterrupt):
            fit(stopped, data.train, checkpoint=tmp_path / "run.ckpt", **settings)
    history = fit(resumed, data.train, checkpoint=tmp_path / "run.ckpt", **settings)
    assert history.epochs == 3
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_the_papers_settings_train(data: Data) -> None:
    model = FastFlow(config=recipes.model_config("paper", "resnet18"), steps=2, hidden=16)
    assert (model.config.kernels, model.map) == ((3,), "exp_energy")
    history = fit(model, data.train, recipes.training_settings("paper"), progress=False, epochs=12, batch_size=6)
    assert history.bits_per_dim[-1] < history.bits_per_dim[0] - 0.1
    assert history.settings.augment == Augmentation(0.5, 0.3, 0.7)

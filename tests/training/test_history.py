"""The history's record: as it was before the settings of precision and compilation, unless they are used."""

from dataclasses import asdict

import pytest

from fastflow_lite.training import History, Settings
from fastflow_lite.training.history import settings_record

BEFORE = ["epochs", "batch_size", "lr", "weight_decay", "clip", "seed", "schedule", "augment"]


def test_the_summary_has_the_losses_of_the_last_epoch() -> None:
    history = History(Settings(), [2.0, 1.5])
    assert (history.epochs, history.summary()) == (2, "1.500 bits/dim")
    history.held_out = [2.5, 1.75]
    assert history.summary() == "1.500 bits/dim (1.750 held out)"


def test_defaults_leave_the_record_as_it_was() -> None:
    assert list(settings_record(Settings())) == BEFORE
    record = History(Settings(epochs=3), [1.5]).to_record()
    whole = asdict(History(Settings(epochs=3), [1.5])) | {"settings": settings_record(Settings(epochs=3))}
    assert record == {name: value for name, value in whole.items() if name != "set_backs"}
    assert record["settings"]["epochs"] == 3
    assert (record["seconds"], record["train_images"]) == ({"features": 0.0, "training": 0.0}, 0)


@pytest.mark.parametrize("compiled", [True, False])
def test_other_choices_are_recorded(compiled: bool) -> None:
    record = settings_record(Settings(precision="bf16", compile=compiled))
    assert list(record) == [*BEFORE, "precision", "compile"]
    assert (record["precision"], record["compile"]) == ("bf16", compiled)

"""What is compared and refused when the file of a model over a backbone is read."""

from pathlib import Path

import pytest

from fastflow_lite.backbones.stored_models import check_network_forms, refuse_what_does_not_fit
from fastflow_lite.backbones.timm_networks import features_to_fill
from fastflow_lite.errors import ArgumentError, CheckpointError


def test_tensors_of_another_network_are_named() -> None:
    network = features_to_fill("resnet18", (1, 2))
    forms = {
        f"backbone.network.{key}": ("F32" if t.is_floating_point() else "I64", tuple(t.shape))
        for key, t in network.state_dict().items()
    }
    check_network_forms(forms | {"flows.0.weight": ("F32", (1,))}, "resnet18", (1, 2))
    with pytest.raises(ArgumentError, match=r"it has or lacks backbone\.network\.layer3"):
        check_network_forms(forms, "resnet18", (1, 2, 3))
    wide = forms | {"backbone.network.conv1.weight": ("F32", (64, 3, 9, 9))}
    with pytest.raises(ArgumentError, match=r"conv1\.weight is F32 \(64, 3, 9, 9\) there, F32 \(64, 3, 7, 7\) here"):
        check_network_forms(wide, "resnet18", (1, 2))


def test_whatever_is_raised_names_the_file_and_what_to_do() -> None:
    with (
        pytest.raises(
            CheckpointError, match=r"m\.st holds a model over 'net' .*: no room; .* give Kind\.load\(path, b"
        ),
        refuse_what_does_not_fit(Path("m.st"), "net", "Kind"),
    ):
        raise RuntimeError("no room")
    with pytest.raises(CheckpointError, match=r"^ours$"), refuse_what_does_not_fit(Path("m.st"), "net", "Kind"):
        raise CheckpointError("ours")

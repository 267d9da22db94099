"""The readout of a flow: the maps and scores of the model, by the settings of the call."""

import math

import torch

from fastflow_lite import FastFlow
from fastflow_lite.scoring.maps import MAPS


def test_it_computes_the_maps_and_scores_of_the_model(small_model: FastFlow) -> None:
    small_model.image_score, small_model.smoothing = "top", 1.0
    small_model.sharpness, small_model.scale_weights = 2.0, "rising"
    small_model.training_medians.copy_(torch.tensor([[0.4, -0.1], [0.5, 0.1], [0.6, 0.2]]))
    readout = small_model.readout()
    with torch.no_grad():
        outputs = small_model(torch.rand(2, 3, 32, 48))
        expected = {kind: small_model.anomaly_map(outputs, (32, 48), kind) for kind in MAPS}
        scores = small_model.maps_and_scores(outputs, (32, 48))[1]
    small_model.image_score, small_model.smoothing = "max", 0.0
    small_model.sharpness, small_model.scale_weights = 1.0, "equal"
    terms = readout.terms(outputs)
    assert tuple(readout.kinds) == tuple(MAPS)
    assert [len(term) for term in terms] == [2] * 6
    for kind, maps in expected.items():
        assert torch.equal(readout.maps(terms, (32, 48), kind), maps)
    assert torch.equal(readout.scores(expected[small_model.map], terms), scores)
    assert math.isfinite(readout.mean_nats(outputs))

"""The likelihood: its constant."""

from fastflow_lite.flows import likelihood


def test_the_constant_is_half_the_logarithm_of_two_pi() -> None:
    assert abs(likelihood.HALF_LOG_TWO_PI - 0.9189385332) < 1e-9

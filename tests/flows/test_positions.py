import torch

from fastflow_lite.flows.positions import GRID, StandardizePositions, resample


def test_features_of_each_position_get_mean_0_and_deviation_1() -> None:
    torch.manual_seed(0)
    mean, std = torch.randn(3, GRID, GRID), torch.rand(3, GRID, GRID) + 0.5
    transform = StandardizePositions(3)
    transform.fit(mean, std.square(), shrinkage=1e-9)
    z, log_det = transform(mean + std * torch.randn(4000, 1, 1, 1))
    torch.testing.assert_close(z.mean(dim=0), torch.zeros_like(mean), atol=0.1, rtol=0)
    torch.testing.assert_close(z.std(dim=0), torch.ones_like(mean), atol=0.1, rtol=0)
    torch.testing.assert_close(log_det[0], -std.log().sum(dim=0), atol=1e-4, rtol=1e-4)


def test_it_is_the_identity_until_it_is_fitted() -> None:
    x = torch.randn(2, 3, 5, 7)
    z, log_det = StandardizePositions(3)(x)
    assert torch.equal(z, x) and torch.equal(log_det, torch.zeros(2, 5, 7))


def test_the_shrinkage_bounds_the_scale_where_training_images_are_equal() -> None:
    variance = torch.ones(1, GRID, GRID)
    variance[..., 0, 0] = 0
    transform = StandardizePositions(1)
    transform.fit(torch.zeros_like(variance), variance, shrinkage=0.25)
    z, _ = transform(torch.ones(1, 1, GRID, GRID))
    assert 1.9 < z[..., 0, 0].item() < 2.1


def test_statistics_follow_the_size_of_the_map() -> None:
    ramp = torch.arange(float(GRID)).expand(1, GRID, GRID)
    transform = StandardizePositions(1)
    transform.fit(ramp, torch.ones_like(ramp))
    for size in (4, GRID, 2 * GRID, 50):
        mean, _ = transform.at((size, size))
        expected = (torch.arange(size) + 0.5) * GRID / size - 0.5
        torch.testing.assert_close(mean[0, 0, 0], expected.clamp(0, GRID - 1), atol=1e-4, rtol=0)


def test_resampling_keeps_a_constant_and_takes_any_size() -> None:
    for size in ((1, 1), (3, 50), (50, 3), (32, 32)):
        assert torch.allclose(resample(torch.full((1, 2, 16, 24), 2.5), size), torch.full((1, 2, *size), 2.5))

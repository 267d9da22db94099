"""Means per channel of batches of several sizes."""

import torch

from fastflow_lite.training.channel_statistics import ChannelStatistics


def test_means_are_those_of_all_images_and_positions() -> None:
    maps = torch.randn(7, 3, 4, 5, generator=torch.Generator().manual_seed(0)) + torch.tensor([0.0, 5, 500]).view(
        3, 1, 1
    )
    statistics = ChannelStatistics()
    for batch in maps.split(3):
        statistics.add(batch)
    mean, mean_of_squares = statistics.means()
    by_channel = maps.double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(mean, by_channel.mean(dim=1))
    torch.testing.assert_close(mean_of_squares, by_channel.square().mean(dim=1))
    torch.testing.assert_close(statistics.center.flatten(), maps[:3].mean(dim=(0, 2, 3)))

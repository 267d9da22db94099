"""A line scan of 200 megapixels judged in tiles: seconds and peak memory.

    python benchmarks/line_scan.py [--height 10000] [--width 20000] [--cheap]

A gray PNG file is drawn, and judged by a detector with tiles of 256 pixels that share 64, by ResNet-18 with 8 flow
steps. With --cheap, means of 16 x 16 pixels take the place of the network: the memory of the image and its map, and the
seconds that are not the network's. Pixels of the image take 1 byte, those of its map 4; mask and regions are not made.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from fastflow_lite import FastFlow
from fastflow_lite.datasets.input_format import InputFormat
from fastflow_lite.detection import Detector, tile_corners
from fastflow_lite.machine import peak_memory_mib

TILE, OVERLAP = 256, 64


class Means(nn.Module):
    """In place of a network: the means of 16 x 16 pixels."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [nn.functional.avg_pool2d(x, 16).repeat(1, 2, 1, 1)]


def draw(path: Path, height: int, width: int) -> None:
    """Write a file with the noise of a sensor, one block of rows repeated."""
    rows = np.random.default_rng(0).normal(128, 4, (500, width)).astype(np.uint8)
    Image.fromarray(np.tile(rows, (height // 500 + 1, 1))[:height]).save(path, compress_level=1)


def detector(cheap: bool) -> Detector:
    """Calibrated on some small pictures, since scores mean nothing here."""
    network = FastFlow(Means(), steps=1, hidden=4) if cheap else FastFlow("resnet18", "bundled", steps=8)
    with torch.no_grad():
        network.train()(torch.rand(4, 3, TILE, TILE))
    network.input_format = InputFormat((TILE, TILE))
    images = [torch.rand(3, TILE, TILE + 100) for _ in range(3)]
    return Detector.calibrate(network.eval(), images, rule="quantile", tile=TILE, overlap=OVERLAP)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=20_000)
    parser.add_argument("--cheap", action="store_true", help="without the network")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "line.png"
        draw(path, args.height, args.width)
        judge = detector(args.cheap)
        before, began, used = peak_memory_mib()["host"], time.perf_counter(), time.process_time()
        finding = judge(path)
        seconds, processor = time.perf_counter() - began, time.process_time() - used
    tiles = len(tile_corners(finding.size, TILE, OVERLAP))
    print(f"{finding.size[0] * finding.size[1] / 1e6:.0f} megapixels, {tiles} tiles, score {finding.score:.3f}")
    print(f"{seconds:.0f} s, {processor:.0f} s of the processor, {1000 * processor / tiles:.1f} ms a tile")
    print(f"peak memory {peak_memory_mib()['host']:.0f} MiB, of it {before:.0f} before (drawing the file included)")


if __name__ == "__main__":
    main()

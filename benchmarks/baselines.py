"""Our PatchCore and PaDiM beside anomalib's, on the same images, the same features and for PaDiM the same channels.

    python benchmarks/baselines.py mvtec/bottle toothbrush --weights resnet18.safetensors --train 60

Both have the same weights of ResNet-18 and their default settings. Each run is a process of its own. The coresets are
random (the first entry, the projection), so --seeds repeats it all, and anomalib's PatchCore is also judged with our
memory bank: there both AUROCs must be equal to .005, and the means over seeds where each has its own bank. `--train`
takes evenly spread training images, since anomalib computes all distances for one entry of the bank at a time. Seconds
are those of the processor, of all threads together, so that other work on the machine does not count. Records go to
results/baselines.json, and the table is printed; without a folder it is printed again.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import harness
import peer
import torch
from harness import markdown
from torch import Tensor

from fastflow_lite.backbones import IMAGENET_MEAN, IMAGENET_STD
from fastflow_lite.baselines import BASELINES
from fastflow_lite.datasets import ImageSet, open_dataset
from fastflow_lite.machine import peak_memory_mib
from fastflow_lite.scoring.metrics import image_metrics, pixel_metrics

SIZE, BATCH = 256, 8
METRICS = ("image_auroc", "pixel_auroc", "aupro")
SAME = 0.005  # how far an AUROC may differ
OURS, THEIRS, OUR_BANK = "ours", "anomalib", "anomalib, our bank"


class Theirs:
    """anomalib's model with the weights, and the random channels, of ours."""

    def __init__(self, method: str, ours: Any) -> None:
        peer.anomalib_version()
        from anomalib.models.image.padim.torch_model import PadimModel
        from anomalib.models.image.patchcore.torch_model import PatchcoreModel

        self.model: Any
        if method == "patchcore":
            self.model = PatchcoreModel(["layer2", "layer3"], "resnet18", pre_trained=False)
        else:
            self.model = PadimModel("resnet18", pre_trained=False)
            self.model.idx = ours.chosen.clone()
        state = ours.backbone.network.state_dict()
        missing, _ = self.model.feature_extractor.feature_extractor.load_state_dict(state, strict=False)
        if missing:
            raise RuntimeError(f"the backbones differ: {missing[:3]} only in anomalib's")

    @torch.inference_mode()
    def fit(self, images: ImageSet) -> None:
        self.model.train()
        for batch, _ in images.batches(BATCH):
            self.model(normalized(batch))
        if hasattr(self.model, "subsample_embedding"):
            self.model.subsample_embedding(0.1)
        else:
            self.model.fit()
        self.model.eval()

    @torch.inference_mode()
    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        found = self.model(normalized(images))
        return found.anomaly_map, found.pred_score.flatten()

    def learned(self) -> int:
        """Bytes of what was fitted."""
        names = ("memory_bank",) if hasattr(self.model, "subsample_embedding") else ("mean", "inv_covariance")
        return sum(t.nbytes for name, t in self.model.state_dict().items() if name.split(".")[-1] in names)


class Ours:
    def __init__(self, model: Any) -> None:
        self.model = model

    def fit(self, images: ImageSet) -> None:
        self.model.fit(images, batch_size=BATCH, progress=False)
        self.predict = self.model.prepared_for_inference().predict

    def learned(self) -> int:
        """Bytes of what was fitted."""
        return sum(t.nbytes for name, t in self.model.state_dict().items() if not name.startswith("backbone."))


def normalized(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (images - mean) / std


def run(who: str, method: str, folder: Path, weights: str, train: int, seed: int) -> dict[str, Any]:
    """Fit on `train` images and judge the test images: metrics, seconds, peak memory, size of what was fitted."""
    torch.manual_seed(seed)
    data = open_dataset(folder, image_size=SIZE)
    count = min(train, len(data.train))
    chosen = torch.linspace(0, len(data.train) - 1, count).round().int().tolist()
    model = BASELINES[method]("resnet18", weights, seed=seed)
    judged: Any = Ours(model)
    if who == THEIRS:
        judged = Theirs(method, model)
    seconds, began = {}, time.process_time()
    judged.fit(data.train.subset(chosen))
    seconds["fit"] = time.process_time() - began
    if who == OUR_BANK:
        judged = Theirs(method, model)
        judged.model.memory_bank = model.bank.float()
        judged.model.eval()
    fitted, began = peak_memory_mib()["host"], time.process_time()
    maps, scores, masks = [], [], []
    for images, true in data.test.batches(BATCH):
        found = judged.predict(images)
        maps.append(found[0][:, 0].float())
        scores.append(found[1])
        masks.append(true)
    seconds["scoring"] = time.process_time() - began
    metrics = image_metrics(data.test.labels, torch.cat(scores).numpy())
    metrics |= pixel_metrics(torch.cat(masks).numpy().astype(bool), torch.cat(maps).numpy())
    return {
        "train_images": count,
        "train_sha256": data.train.subset(chosen).fingerprint(),
        "test_sha256": data.test.fingerprint(),
        "weights_sha256": model.backbone.weights_info.sha256,
        "metrics": {name: metrics[name] for name in METRICS},
        "processor_seconds": seconds,
        "fit_peak_mib": fitted,
        "learned_mib": judged.learned() / 2**20,
    }


def table(records: dict[str, dict[str, Any]]) -> str:
    """One row for each set, method and implementation: means over seeds, and how far both AUROCs are from ours."""
    groups: dict[tuple[str, ...], dict[str, dict[str, Any]]] = {}
    for key, record in records.items():
        *group, seed = key.split(" | ")
        groups.setdefault(tuple(group), {})[seed] = record
    rows = []
    for (category, method, who), by_seed in sorted(groups.items()):
        runs = list(by_seed.values())
        row: dict[str, Any] = {"set": category, "images": runs[0]["train_images"], "method": method, "by": who}
        row["seeds"] = len(runs)
        row |= {name: f"{_mean(runs, 'metrics', name):.4f}" for name in METRICS}
        row |= {f"{name}, s": f"{_mean(runs, 'processor_seconds', name):.1f}" for name in ("fit", "scoring")}
        row["peak, MiB"] = round(statistics.mean(run["fit_peak_mib"] for run in runs))
        row["learned, MiB"] = f"{runs[0]['learned_mib']:.1f}"
        ours = groups.get((category, method, OURS), {})
        row["apart"] = ""
        if who != OURS and (common := sorted(by_seed.keys() & ours.keys())):
            theirs, mine = ([part[seed] for seed in common] for part in (by_seed, ours))
            apart = max(abs(_mean(theirs, "metrics", name) - _mean(mine, "metrics", name)) for name in METRICS[:2])
            row["apart"] = f"{apart:.4f}" + ("" if apart <= SAME else " (more than .005)")
        rows.append(row)
    return markdown(rows)


def _mean(runs: list[dict[str, Any]], part: str, name: str) -> float:
    return statistics.mean(run[part][name] for run in runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", help="categories with train/good and test")
    parser.add_argument("--method", nargs="+", choices=BASELINES, default=list(BASELINES))
    parser.add_argument("--weights", help="a file of ResNet-18 weights")
    parser.add_argument("--train", type=int, default=60, help="training images of each category (default 60)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, help="of torch (default: its own choice)")
    args = parser.parse_args()
    for folder in args.folders:
        for method in args.method:
            for seed in args.seeds:
                for who in (OURS, THEIRS, OUR_BANK) if method == "patchcore" else (OURS, THEIRS):
                    asked = (who, method, folder, args.weights, args.train, seed)
                    with harness.Fresh(args.threads) as process:
                        record = process(run, *asked) | process(harness.provenance)
                    harness.keep("baselines", {" | ".join((folder.name, method, who, f"seed {seed}")): record})
                    print(folder.name, method, who, record["metrics"], record["processor_seconds"], flush=True)
    print(table(harness.read_json(harness.RESULTS / "baselines.json")))


if __name__ == "__main__":
    main()

"""Part a: is what the card computes right? Every path against float64 on the processor, then a real training.

The error is ||out - ref|| / ||ref|| of z, of log_det, of the gradient (input and weights, one vector), and of the input
that the plain inverse computes from this path's z. The flow is not a new one, whose couplings are the identity: its
last convolutions have random weights.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from harness import markdown
from torch import Tensor, nn

from fastflow_lite.flows import Transform, flow_steps
from fastflow_lite.flows.fast import apply_flow
from fastflow_lite.flows.likelihood import nats_per_dim
from fastflow_lite.model import FastFlow
from gpu_parts import data, training
from gpu_parts.card import tf32
from gpu_parts.run import Record, Row, Run

# The three maps of ResNet-18 at 256 pixels, and the widths of its sub-nets.
SHAPES: list[tuple[int, int, int]] = [(64, 64, 64), (128, 32, 32), (256, 16, 16)]
TINY_SHAPES: list[tuple[int, int, int]] = [(8, 8, 8), (16, 4, 4)]
STEPS, BATCH = 8, 4
PREDICTIONS = ("predict", "prepared", "prepared, compiled")
AUROCS = ("image_auroc", "pixel_auroc")
LARGEST = {"float32": 1e-4, "TF32": 2e-2, "bf16": 0.1}  # an error above is reported as too large
LARGEST_DIFFERENCE = 0.002  # of an AUROC in bf16 from float32's


@dataclass(frozen=True)
class Path:
    """One way to compute a flow."""

    name: str
    fast: bool = True
    save_memory: bool = False
    precision: str = "float32"
    compiled: bool = False
    tf32: bool = False

    @property
    def number_format(self) -> str:
        """The key of `LARGEST`."""
        return "TF32" if self.tf32 else self.precision

    def apply(self, flow: Transform, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute z and log_det."""
        if not self.fast:
            return flow(x)
        return apply_flow(
            flow, x, keep_activations=not self.save_memory, precision=self.precision, compiled=self.compiled
        )


PATHS = (
    Path("plain", fast=False),
    Path("fast"),
    Path("fast, save_memory", save_memory=True),
    Path("compiled", compiled=True),
    Path("fast, bf16", precision="bf16"),
    Path("fast, bf16, save_memory", precision="bf16", save_memory=True),
    Path("compiled, bf16", precision="bf16", compiled=True),
    Path("plain, TF32", fast=False, tf32=True),
    Path("fast, TF32", tf32=True),
)


def measure(run: Run, record: Record) -> None:
    """Compare the paths at every shape and train in both precisions; what compiles comes last, it takes the longest."""
    compare_paths(run, record, [path for path in PATHS if not path.compiled])
    category = data.categories(run)[0]
    model = train_in_both(run, record, category)
    for name in PREDICTIONS[:-1]:
        compare_maps(run, record, category, model, name)
    compare_paths(run, record, [path for path in PATHS if path.compiled])
    if not run.tiny:  # a compiled backbone takes a processor half a minute
        compare_maps(run, record, category, model, PREDICTIONS[-1])


def train_in_both(run: Run, record: Record, category: str) -> FastFlow:
    """Add a row for a training in float32 and one in bf16 on the same images; return the model of the first."""
    wanted = training.Training("ours", 2 if run.tiny else 8)
    row, model = training.train_once(run, category, wanted)
    record.add(row)
    other, _ = training.train_once(run, category, replace(wanted, precision="bf16"))
    differences = {name: other[name] - row[name] for name in AUROCS}
    ok = all(abs(difference) <= LARGEST_DIFFERENCE for difference in differences.values())
    record.add(other | {"differs from float32 by": differences, "ok": ok})
    return model


def compare_paths(run: Run, record: Record, paths: list[Path]) -> None:
    """Add a row for each of `paths` at each shape."""
    for shape in TINY_SHAPES if run.tiny else SHAPES:
        for row in compare(shape, 2 if run.tiny else STEPS, run.place, paths):
            record.add(row)


def compare(shape: tuple[int, int, int], steps: int, device: torch.device, paths: list[Path]) -> Iterator[Row]:
    """Yield a row for each of `paths` on one map `(C, h, w)`."""
    flow, x = random_flow(shape, steps), torch.randn(BATCH, *shape, generator=torch.Generator().manual_seed(1))
    exact = copy.deepcopy(flow).double()
    reference = outputs(PATHS[0], exact, x.double())
    on_card, x_card = flow.to(device), x.to(device)
    for path in paths:
        row: Row = {"path": path.name, "map": "x".join(map(str, shape))}
        try:
            yield row | errors_of(path, on_card, x_card, reference)
        except Exception as error:  # one path that fails must not hide the others
            yield row | failed(error)


def errors_of(path: Path, flow: Transform, x: Tensor, reference: dict[str, Tensor]) -> Row:
    """Return the relative errors of one path, and whether all are small enough."""
    with tf32(path.tf32):
        found = outputs(path, flow, x)
    errors = {name: relative_error(found[name], reference[name]) for name in reference}
    with torch.no_grad(), tf32(False):
        back, _ = flow.inverse(found["z"])
    errors["inverse"] = relative_error(back, x)
    return errors | {"ok": all(e <= LARGEST[path.number_format] for e in errors.values())}


def failed(error: Exception) -> Row:
    """Return the cells of a path that raised `error`."""
    return {"error": f"{type(error).__name__}: {error}"[:500], "ok": False}


def random_flow(shape: tuple[int, int, int], steps: int) -> Transform:
    """A flow with ActNorms set by noise and random weights in every convolution."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    flow = flow_steps(shape[0], steps, (3, 1), max(shape[0] // 2, 64))
    for module in flow.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            with torch.no_grad():
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator) / fan_in**0.5)
    with torch.no_grad():
        flow.train()(2 * torch.randn(8, *shape, generator=generator) + 1)
    return flow


def outputs(path: Path, flow: Transform, x: Tensor) -> dict[str, Tensor]:
    """Return z, log_det, and the gradient of the loss by the input and all weights as one vector."""
    flow.zero_grad(set_to_none=True)
    x = x.clone().requires_grad_()
    z, log_det = path.apply(flow, x)
    nats_per_dim([(z, log_det)]).backward()
    gradients = [x.grad, *(p.grad for p in flow.parameters() if p.requires_grad)]
    gradient = torch.cat([g.flatten().double().cpu() for g in gradients if g is not None])
    return {"z": z.detach(), "log_det": log_det.detach(), "gradient": gradient}


def relative_error(found: Tensor, reference: Tensor) -> float:
    """||found - reference|| / ||reference||, in float64."""
    found, reference = found.detach().double().cpu(), reference.detach().double().cpu()
    return float((found - reference).norm() / reference.norm())


def compare_maps(run: Run, record: Record, category: str, model: FastFlow, name: str) -> None:
    """Add the error of a trained model's anomaly maps in each precision, backbone included."""
    images, _ = next(data.open_category(run, category).test.batches(4))
    exact = copy.deepcopy(model).cpu().double().eval()
    with torch.inference_mode():
        reference, _ = exact.maps_and_scores(exact(images.double(), fast=False), images.shape[-2:])
    for precision in ("float32", "bf16"):
        row: Row = {"path": f"{name}, {precision}", "map": "anomaly map of a trained model"}
        try:
            with tf32(False):
                error = relative_error(predict(name, model, images, precision), reference)
            record.add(row | {"z": error, "ok": error <= LARGEST[precision]})
        except Exception as error:
            record.add(row | failed(error))


def predict(name: str, model: FastFlow, images: Tensor, precision: str) -> Tensor:
    """Compute anomaly maps in one of the ways of `PREDICTIONS`."""
    if name == "predict":
        return model.predict(images, precision)[0]
    return model.prepared_for_inference(precision, compiled="compiled" in name).predict(images)[0]


def tables(record: Row) -> list[str]:
    """The errors by path and map; the AUROCs."""
    errors = [row for row in record["rows"] if "path" in row]
    shown = [
        {"path": row["path"], "map": row["map"]}
        | {name: f"{row[name]:.1e}" if name in row else "" for name in ("z", "log_det", "gradient", "inverse")}
        | {"": "" if row["ok"] else row.get("error", "too large")}
        for row in errors
    ]
    trained = [
        training.shown(row) | {"bf16": "" if row.get("ok", True) else "differs too much"}
        for row in record["rows"]
        if "training" in row
    ]
    return [markdown(rows) for rows in (shown, trained) if rows]

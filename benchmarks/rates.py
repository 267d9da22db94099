"""The loss of deep flows by learning rate: which rate suits which depth, on features of convolutions and transformers.

No test image is used. Each line is one training on a few images of the toy set, with its loss on held-out normal images
after every epoch. A training that diverges is not mended (`halvings=0`), and its reason is printed.

    python benchmarks/rates.py                                # ResNet-18 with the bundled weights, 20 steps
    python benchmarks/rates.py --backbone deit_base_distilled_patch16_384 --weights random --image-size 224
"""

from __future__ import annotations

import argparse
import warnings

from fastflow_lite import FastFlow, fit, open_dataset
from fastflow_lite.errors import DivergedError
from fastflow_lite.training import Settings
from fastflow_lite.training.optimization import learning_rate


def main() -> None:
    """Train one flow a rate and print its losses."""
    args = arguments()
    images = open_dataset("toy", category=args.category, image_size=args.image_size).train
    train, held_out = images.subset(range(args.images)), images.subset(range(args.images, args.images + 8))
    print(f"{args.backbone} ({args.weights}), {args.category} at {args.image_size} px, {args.images} images, seed 0")
    for lr in args.rates or [3e-3, 3e-3 * 8 / args.steps, learning_rate(Settings(), args.steps)]:
        model = FastFlow(args.backbone, weights=args.weights, steps=args.steps)
        settings = Settings(epochs=args.epochs, lr=lr, halvings=0)
        try:
            history = fit(model, train, settings, held_out=held_out, progress=False)
            losses = " ".join(f"{loss:.3f}" for loss in history.held_out)
        except DivergedError as error:
            losses = str(error)
        print(f"{args.steps} steps, rate {lr:.2e}: {losses}", flush=True)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--weights", default="bundled")
    parser.add_argument("--category", default="weave")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rates", type=float, nargs="*")
    return parser.parse_args()


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message="IProgress not found")
    main()

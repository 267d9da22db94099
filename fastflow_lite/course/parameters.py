"""What a notebook's parameters may be: each is checked by its name, before an hour is spent on a slip of the pen.

A parameter means the same in every notebook, so a rule stands here once. `notebook.setup` calls `check`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastflow_lite.errors import ParameterError

STRIDE = 16  # the largest of the paper's backbones: images are a multiple of it a side
Given = Mapping[str, Any]  # the other parameters of the notebook, by name
Rule = Callable[[Any, Given], str | None]  # what a value must be, or None when it is that


def check(parameters: Given) -> None:
    """ParameterError, with name, value and choices, unless every one of `parameters` fits its rule.

    >>> check({"epochs": 8, "category": "weave", "image_size": 128})
    >>> check({"epochs": 0})
    Traceback (most recent call last):
    ...
    fastflow_lite.errors.ParameterError: epochs must be a whole number of at least 1, got 0
    """
    for name, value in parameters.items():
        if name not in RULES:
            raise ParameterError(
                f"there is no rule for the parameter {name!r}; fastflow_lite/course/parameters.py has them"
            )
        if must := RULES[name](value, parameters):
            raise ParameterError(f"{name} must be {must}, got {value!r}")


def whole(least: int, multiple: int = 1) -> Rule:
    """A whole number from `least` on, a multiple of `multiple`."""

    def rule(value: Any, given: Given) -> str | None:
        if type(value) is int and value >= least and value % multiple == 0:
            return None
        several = f", a multiple of {multiple}" if multiple > 1 else ""
        near = ""
        if several and type(value) is int and value >= least:
            near = f" (near: {value // multiple * multiple or multiple} and {(value // multiple + 1) * multiple})"
        return f"a whole number of at least {least}{several}{near}"

    return rule


def number(above: float = -math.inf, below: float = math.inf) -> Rule:
    """A finite number strictly between two."""

    def rule(value: Any, given: Given) -> str | None:
        if type(value) in (int, float) and math.isfinite(value) and above < value < below:
            return None
        limits = [f"above {above:g}"] * math.isfinite(above) + [f"below {below:g}"] * math.isfinite(below)
        return " ".join(["a number", " and ".join(limits)]).strip()

    return rule


def one_of(*choices: str) -> Rule:
    return lambda value, given: None if value in choices else _choices(choices)


def of_type(kind: type, said: str) -> Rule:
    return lambda value, given: None if type(value) is kind else said


def or_preset(rule: Rule) -> Rule:
    """Where a notebook has the parameter `preset`, 0 stands for the preset's own."""

    def either(value: Any, given: Given) -> str | None:
        if "preset" in given and type(value) is int and value == 0:
            return None
        must = rule(value, given)
        return f"{must}, or 0 for the preset's" if must and "preset" in given else must

    return either


def words(rule: Rule, empty: bool = False) -> Rule:
    """Text whose words, separated by spaces, all fit `rule`."""

    def each(value: Any, given: Given) -> str | None:
        if not isinstance(value, str):
            return "text: words with spaces between"
        if not value.split():
            return None if empty else "one word or more"
        wrong = [must for word in value.split() if (must := rule(word, given))]
        return f"words with spaces between, each {wrong[0]}" if wrong else None

    return each


def is_category(value: Any, given: Given) -> str | None:
    """Those of the drawn sets are known; other sets name theirs when they are opened."""
    from fastflow_lite.datasets.cifar10 import CLASSES
    from fastflow_lite.synthetic.formula_classes import FORMULA_CLASSES
    from fastflow_lite.synthetic.toy import CATEGORIES

    known = {"toy": CATEGORIES, "formulas": FORMULA_CLASSES, "cifar10": CLASSES}.get(str(given.get("dataset", "toy")))
    if not isinstance(value, str):
        return "text"
    return None if known is None or value in known else f"{_choices(known)} of {given.get('dataset', 'toy')}"


def is_class(value: Any, given: Given) -> str | None:
    """A category, or "" for the first."""
    return None if value == "" else is_category(value, given)


def is_dataset(value: Any, given: Given) -> str | None:
    known = ("toy", "mvtec", "btad", "cifar10", "formulas")
    if isinstance(value, str) and (value in known or (value and Path(value).is_dir())):
        return None
    return f"{_choices(known)}, or the path of a folder that exists"


def is_backbone(value: Any, given: Given) -> str | None:
    from fastflow_lite.backbones import PRESETS, import_timm

    if value in PRESETS:
        return None
    names = import_timm().list_models()
    if value in names:
        return None
    import difflib

    near = difflib.get_close_matches(str(value), [*PRESETS, *names], 3)
    return f"{_choices(PRESETS)} or a name of timm's" + (f" (near: {', '.join(near)})" if near else "")


def is_weights(value: Any, given: Given) -> str | None:
    """A word, or a file that is there. Only the ResNet-18 has bundled weights."""
    known = ("bundled", "timm", "random")
    if value == "bundled" and (backbone := given.get("backbone", "resnet18")) != "resnet18":
        return f"'timm', 'random' or a file with weights of {backbone} (bundled ones are resnet18's)"
    if isinstance(value, str) and (value in known or Path(value).is_file()):
        return None
    return f"{_choices(known)}, or a file that exists"


def is_folder(value: Any, given: Given) -> str | None:
    return None if isinstance(value, str) and (not value or Path(value).is_dir()) else "'' or a folder that exists"


def is_file(value: Any, given: Given) -> str | None:
    return None if isinstance(value, str) and (not value or Path(value).is_file()) else "'' or a file that exists"


def is_side(value: Any, given: Given) -> str | None:
    """Of an image: a multiple of 16, which the paper's backbones need; another backbone checks its own stride."""
    from fastflow_lite.backbones import PRESETS

    known = given.get("backbone", "resnet18") in PRESETS
    return or_preset(whole(STRIDE, STRIDE if known else 1))(value, given)


def is_map(value: Any, given: Given) -> str | None:
    from fastflow_lite.scoring.maps import MAPS

    return one_of(*MAPS)(value, given)


def is_normalize(value: Any, given: Given) -> str | None:
    from fastflow_lite.backbones.normalization import NORMALIZATIONS

    return one_of(*NORMALIZATIONS)(value, given)


def is_kernel(value: Any, given: Given) -> str | None:
    return None if type(value) is int and value > 0 and value % 2 else "an odd whole number of at least 1"


def is_text(value: Any, given: Given) -> str | None:
    return None if isinstance(value, str) and value else "text"


def _is_seed_word(value: Any, given: Given) -> str | None:
    return None if str(value).isdecimal() else "a whole number of at least 0"


def _choices(names: Any) -> str:
    return "one of " + ", ".join(map(repr, names))


COUNTS = ("steps", "flow_steps", "train_steps", "updates", "hidden", "samples", "draws", "scenes")
FLAGS = ("fast", "only_kernels")
RULES: dict[str, Rule] = {
    **dict.fromkeys(COUNTS, whole(1)),
    **dict.fromkeys(FLAGS, of_type(bool, "True or False")),
    "seed": whole(0),
    "seeds": words(_is_seed_word),
    "out_dir": is_text,
    "records": is_text,
    "dataset": is_dataset,
    "category": is_class,
    "categories": words(is_category),
    "classes": words(is_category, empty=True),
    "data_root": is_folder,
    "protocol": one_of("one_class", "leave_one_out", "both"),
    "backbone": is_backbone,
    "weights": is_weights,
    "other_weights": is_file,
    "preset": one_of("ours", "paper"),
    "kernels": one_of("", "3-1", "3"),
    "map": is_map,
    "normalize": is_normalize,
    "metric": one_of("image_auroc", "pixel_auroc"),
    "image_size": is_side,
    "camera_size": whole(STRIDE),
    "epochs": or_preset(whole(1)),
    "batch_size": or_preset(whole(1)),
    "train_images": whole(0),
    "test_images": whole(0),
    "channels": whole(4, 2),
    "kernel": is_kernel,
    "margin": whole(0),
    "lr": number(above=0),
    "clamp": number(above=0),
    "noise": number(above=0),
    "strength": number(above=0),
    "slope": number(above=0),
    "twist": number(),
    "alpha": number(above=0, below=1),
}

"""Rules for the parameters of notebooks, by name. `notebook.setup` validates them before training starts.

A parameter has the same meaning in every notebook, so each rule stands here once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastflow_lite.errors import ArgumentError, ParameterError
from fastflow_lite.machine import choose_device, count_devices

STRIDE = 16  # the largest of the paper's backbones: images are a multiple of it a side
Given = Mapping[str, Any]  # the other parameters of the notebook, by name
Rule = Callable[[Any, Given], str | None]  # what a value must be, or None when it is that


def check(parameters: Given) -> None:
    """Raise ParameterError, with name, value and choices, unless each of `parameters` fits its rule.

    >>> check({"epochs": 8, "category": "weave", "image_size": 128})
    >>> check({"epochs": 0})
    Traceback (most recent call last):
    ...
    fastflow_lite.errors.ParameterError: epochs must be a whole number of at least 1, got 0
    """
    for name, value in parameters.items():
        if name not in RULES:
            raise ParameterError(f"there is no rule for the parameter {name!r} in fastflow_lite/course/parameters.py")
        if must := RULES[name](value, parameters):
            raise ParameterError(f"{name} must be {must}, got {value!r}")


def whole(least: int, multiple: int = 1) -> Rule:
    """Make the rule: a whole number of at least `least` and a multiple of `multiple`."""

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
    """Make the rule: a finite number strictly between two."""

    def rule(value: Any, given: Given) -> str | None:
        if type(value) in (int, float) and math.isfinite(value) and above < value < below:
            return None
        limits = [f"above {above:g}"] * math.isfinite(above) + [f"below {below:g}"] * math.isfinite(below)
        return " ".join(["a number", " and ".join(limits)]).strip()

    return rule


def one_of(*choices: str) -> Rule:
    """Make the rule: one of `choices`."""
    return lambda value, given: None if value in choices else _choices(choices)


def of_type(kind: type, description: str) -> Rule:
    """Make the rule: a value of the type `kind`."""
    return lambda value, given: None if type(value) is kind else description


def or_recipe(rule: Rule) -> Rule:
    """Make the rule: `rule`, or 0 for the value of the recipe in a notebook with the parameter `recipe`."""

    def either(value: Any, given: Given) -> str | None:
        if "recipe" in given and type(value) is int and value == 0:
            return None
        must = rule(value, given)
        return f"{must}, or 0 for the recipe's" if must and "recipe" in given else must

    return either


def words(rule: Rule, empty: bool = False) -> Rule:
    """Make the rule: words separated by spaces, each of which fits `rule`."""

    def each(value: Any, given: Given) -> str | None:
        if not isinstance(value, str):
            return "text: words with spaces between"
        if not value.split():
            return None if empty else "one word or more"
        wrong = [must for word in value.split() if (must := rule(word, given))]
        return f"words with spaces between, each {wrong[0]}" if wrong else None

    return each


def is_category(value: Any, given: Given) -> str | None:
    """Check a category of a drawn set; the categories of others are checked when they are opened."""
    from fastflow_lite.datasets.cifar10 import CLASSES
    from fastflow_lite.synthetic.formula_classes import FORMULA_CLASSES
    from fastflow_lite.synthetic.toy import CATEGORIES

    known = {"toy": CATEGORIES, "formulas": FORMULA_CLASSES, "cifar10": CLASSES}.get(str(given.get("dataset", "toy")))
    if not isinstance(value, str):
        return "text"
    return None if known is None or value in known else f"{_choices(known)} of {given.get('dataset', 'toy')}"


def is_class(value: Any, given: Given) -> str | None:
    """Check a category, or "" for the first."""
    return None if value == "" else is_category(value, given)


def is_photographs(value: Any, given: Given) -> str | None:
    """Check the name of a set of photographs, or "" for drawn pictures."""
    from fastflow_lite.course.photographs import PHOTOGRAPHS

    return one_of(*PHOTOGRAPHS, "")(value, given)


def is_dataset(value: Any, given: Given) -> str | None:
    """Check the name of a data set, or the path of a folder."""
    from fastflow_lite.datasets.opening import OPENERS

    known = tuple(OPENERS)
    if isinstance(value, str) and (value in known or (value and Path(value).is_dir())):
        return None
    return f"{_choices(known)}, or the path of a folder that exists"


def is_backbone(value: Any, given: Given) -> str | None:
    """Check the name of a backbone of the paper or of timm."""
    from fastflow_lite.backbones import IMAGENET_FOR, PRESETS, import_timm

    if value in PRESETS or value == IMAGENET_FOR:
        return None
    timm = import_timm()
    if isinstance(value, str) and timm.is_model(value):  # also with a tag, such as resnet18.tv_in1k
        return None
    import difflib

    names = timm.list_models()
    near = difflib.get_close_matches(str(value), [*PRESETS, *names], 3)
    return f"{_choices(PRESETS)} or a name of timm's" + (f" (near: {', '.join(near)})" if near else "")


def is_weights(value: Any, given: Given) -> str | None:
    """Check the name of weights or a file that exists. "bundled" and "imagenet" are each of one backbone."""
    from fastflow_lite.backbones.weights import MADE_FOR

    known = (*MADE_FOR, "timm", "random")
    owner = MADE_FOR.get(value) if isinstance(value, str) else None
    if owner and (backbone := given.get("backbone", owner)) != owner:
        return f"'timm', 'random' or a file with weights of {backbone} ({value} ones are {owner}'s)"
    if isinstance(value, str) and (value in known or Path(value).is_file()):
        return None
    return f"{_choices(known)}, or a file that exists"


def is_folder(value: Any, given: Given) -> str | None:
    """Check a folder that exists, or ""."""
    return None if isinstance(value, str) and (not value or Path(value).is_dir()) else "'' or a folder that exists"


def is_file(value: Any, given: Given) -> str | None:
    """Check a file that exists, or ""."""
    return None if isinstance(value, str) and (not value or Path(value).is_file()) else "'' or a file that exists"


def is_side(value: Any, given: Given) -> str | None:
    """Check the side of an image: a multiple of 16 for the paper's backbones and Lite0; others check their own stride.

    In a notebook on one's own `folder` it is the size of an image: text such as 256x512.
    """
    from fastflow_lite.backbones import IMAGENET_FOR, PRESETS

    if "folder" in given:
        sides = value.split("x") if isinstance(value, str) else []
        fits = len(sides) == 2 and all(side.isdecimal() and int(side) and int(side) % STRIDE == 0 for side in sides)
        return None if fits else f"height x width such as '256x512', each a multiple of {STRIDE}"
    known = given.get("backbone", "resnet18") in (*PRESETS, IMAGENET_FOR)
    return or_recipe(whole(STRIDE, STRIDE if known else 1))(value, given)


def is_map(value: Any, given: Given) -> str | None:
    """Check a kind of anomaly map."""
    from fastflow_lite.scoring.maps import ALIASES, MAPS

    return None if value in ALIASES else one_of(*MAPS)(value, given)


def is_normalize(value: Any, given: Given) -> str | None:
    """Check a normalization of features."""
    from fastflow_lite.backbones.normalization import NORMALIZATIONS

    return one_of(*NORMALIZATIONS)(value, given)


def is_recipe(value: Any, given: Given) -> str | None:
    """Check the name of a recipe."""
    from fastflow_lite.training.recipes import RECIPES

    return one_of(*RECIPES)(value, given)


def is_protocol(value: Any, given: Given) -> str | None:
    """Check a protocol of CIFAR-10, or "both"."""
    from fastflow_lite.datasets.cifar10 import PROTOCOLS

    return one_of(*PROTOCOLS, "both")(value, given)


def is_device(value: Any, given: Given) -> str | None:
    """Check the name of a device of this machine."""
    try:
        choose_device(value)
    except ArgumentError:
        return _choices(["auto", *(kind for kind, count in count_devices().items() if count)]) + ", the devices here"
    return None


def is_precision(value: Any, given: Given) -> str | None:
    """Check the number format of products."""
    from fastflow_lite.flows import PRECISIONS

    return one_of(*PRECISIONS)(value, given)


def is_kernel(value: Any, given: Given) -> str | None:
    """Check the side of a kernel."""
    return None if type(value) is int and value > 0 and value % 2 else "an odd whole number of at least 1"


def is_text(value: Any, given: Given) -> str | None:
    """Check text that is not empty."""
    return None if isinstance(value, str) and value else "text"


def is_seed(value: Any, given: Given) -> str | None:
    """Check a seed: 32 bits, since NumPy refuses more, and torch's generator on a CPU drops the others."""
    return None if type(value) is int and 0 <= value < 2**32 else "a whole number of at least 0 and below 2**32"


def _is_seed_word(value: Any, given: Given) -> str | None:
    return is_seed(int(value) if str(value).isdecimal() else None, given)


def _choices(names: Any) -> str:
    return "one of " + ", ".join(map(repr, names))


COUNTS = ("steps", "flow_steps", "train_steps", "updates", "hidden", "samples", "draws", "scenes")
FLAGS = ("fast", "only_kernels")
RULES: dict[str, Rule] = {
    **dict.fromkeys(COUNTS, whole(1)),
    **dict.fromkeys(FLAGS, of_type(bool, "True or False")),
    "seed": is_seed,
    "seeds": words(_is_seed_word),
    "out_dir": is_text,
    "records": is_text,
    "dataset": is_dataset,
    "category": is_class,
    "categories": words(is_category),
    "classes": words(is_category, empty=True),
    "data_root": is_folder,
    "folder": is_folder,
    "photographs": is_photographs,
    "device": is_device,
    "precision": is_precision,
    "protocol": is_protocol,
    "backbone": is_backbone,
    "weights": is_weights,
    "other_weights": is_file,
    "recipe": is_recipe,
    "kernels": one_of("", "3-1", "3"),
    "map": is_map,
    "normalize": is_normalize,
    "metric": one_of("image_auroc", "pixel_auroc"),
    "image_size": is_side,
    "camera_size": whole(STRIDE),
    "epochs": or_recipe(whole(1)),
    "batch_size": or_recipe(whole(1)),
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

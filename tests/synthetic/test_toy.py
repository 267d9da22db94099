"""The embedded data set keeps its word: layout, exact masks, same bytes, hard for raw pixels."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from fastflow_lite.synthetic.toy import CATEGORIES, DEFECTS, JUST_VISIBLE, expose, generate, render

SIZE = 96
TRAIN, GOOD, BAD = 64, 20, 10
KINDS = [(category, defect) for category in CATEGORIES for defect in DEFECTS[category]]
SMALL = {"size": 32, "train": 2, "test_good": 2, "test_defect": 1}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole data set at a reduced size."""
    return generate(tmp_path_factory.mktemp("toy"), size=SIZE)


def digests(root: Path) -> dict[str, str]:
    """Relative path -> hash of every file under `root`."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def mask_path(path: Path) -> Path:
    return path.parents[2] / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"


# ---- what is on disk -----------------------------------------------------------------------------


@pytest.mark.parametrize("category", CATEGORIES)
def test_layout_is_that_of_mvtec(full: Path, category: str) -> None:
    expected = {"toy.json", "toy.sha256"}
    expected |= {f"train/good/{k:03d}.png" for k in range(TRAIN)}
    expected |= {f"test/good/{k:03d}.png" for k in range(GOOD)}
    for defect in DEFECTS[category]:
        expected |= {f"test/{defect}/{k:03d}.png" for k in range(BAD)}
        expected |= {f"ground_truth/{defect}/{k:03d}_mask.png" for k in range(BAD)}
    assert set(digests(full / category)) == expected
    assert sorted(path.name for path in full.iterdir()) == sorted(CATEGORIES)  # no drafts left


def test_others_may_read_a_shared_folder(full: Path) -> None:
    assert all((full / category).stat().st_mode & 0o777 == 0o755 for category in CATEGORIES)


def test_three_categories_with_at_least_three_defects() -> None:
    assert CATEGORIES == ("weave", "grid", "part")
    assert all(len(defects) >= 3 for defects in DEFECTS.values())


@pytest.mark.parametrize(("category", "defect"), KINDS)
def test_masks_on_disk_are_binary_and_fit(full: Path, category: str, defect: str) -> None:
    for path in sorted((full / category / "test" / defect).iterdir()):
        image, mask = read(path), read(mask_path(path))
        assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.uint8, path
        assert mask.shape == (SIZE, SIZE) and set(np.unique(mask)) == {0, 255}, path
        assert 0.0002 <= (mask > 0).mean() <= 0.25, path


def test_images_differ_from_one_another(full: Path) -> None:
    images = {name: digest for name, digest in digests(full).items() if "ground_truth" not in name}
    assert len(set(images.values())) == len(images)


# ---- what a picture is ---------------------------------------------------------------------------


@pytest.mark.parametrize(("category", "defect"), KINDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_mask_is_exactly_what_the_defect_changed(category: str, defect: str, seed: int) -> None:
    clean, flawed, mask = expose(category, (seed, seed + 100), 128, defect)
    change = np.abs(flawed - clean).max(axis=2)
    assert clean.std() > 0.02 and clean.min() >= 0 and clean.max() <= 1
    assert (change[mask] > JUST_VISIBLE).all()
    assert (change[~mask] == 0).all()
    assert 0.0002 <= mask.mean() <= 0.25


@pytest.mark.parametrize("category", CATEGORIES)
def test_flaw_does_not_change_the_scene(category: str) -> None:
    """Same scene seed: same clean photograph, whatever the flaw; another scene seed: another."""
    cleans = [expose(category, (7, k), 64, defect)[0] for k, defect in enumerate(DEFECTS[category])]
    assert all((clean == expose(category, (7, 0), 64, None)[0]).all() for clean in cleans)
    assert (cleans[0] != expose(category, (8, 0), 64, None)[0]).mean() > 0.9


@pytest.mark.parametrize("category", CATEGORIES)
def test_default_size_and_noise(category: str) -> None:
    """Noise comes after the mask: outside it a flawed and a clean picture of one seed agree."""
    defect = DEFECTS[category][0]
    clean, no_mask = render(category, np.random.default_rng(3))
    flawed, mask = render(category, np.random.default_rng(3), defect=defect)
    assert clean.shape == flawed.shape == (256, 256, 3) and clean.dtype == np.uint8
    assert mask.shape == (256, 256) and mask.dtype == bool and mask.any() and not no_mask.any()
    assert np.abs(clean.astype(int) - flawed)[~mask].max() == 0
    assert np.abs(clean.astype(int) - flawed)[mask].max() > 10
    noiseless = expose(category, np.random.default_rng(3).integers(2**63, size=3).tolist(), 256, None)
    deviation = np.std(clean / 255 - noiseless[0])
    assert 0.002 < deviation < 0.03  # rounding alone is 0.0011


# ---- reproducible and reusable -------------------------------------------------------------------


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path: Path) -> None:
    a, b, c = (generate(tmp_path / n, seed=s, **SMALL) for n, s in (("a", 5), ("b", 5), ("c", 6)))
    first, again, other = digests(a), digests(b), digests(c)
    assert first == again
    assert first.keys() == other.keys()
    assert not [name for name in first if first[name] == other[name]]


def test_picture_does_not_depend_on_how_many_are_drawn(tmp_path: Path) -> None:
    few = digests(generate(tmp_path / "few", categories=["part"], **SMALL))
    more_counts = SMALL | {"train": 3, "test_good": 4, "test_defect": 2}
    more = digests(generate(tmp_path / "more", categories=["part"], **more_counts))
    assert len(more) > len(few)
    assert all(more[name] == few[name] for name in few if name.endswith(".png"))


def test_second_call_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = generate(tmp_path / "data", **SMALL)
    before = {path: os.stat(path).st_mtime_ns for path in root.rglob("*")}

    def refuse(*args: object) -> None:
        raise AssertionError("rendered again")

    monkeypatch.setattr("fastflow_lite.synthetic.toy.render", refuse)
    assert generate(str(root), **SMALL) == root
    assert {path: os.stat(path).st_mtime_ns for path in root.rglob("*")} == before
    with pytest.raises(AssertionError, match="rendered again"):
        generate(tmp_path / "elsewhere", **SMALL)


def test_interrupted_call_leaves_nothing_and_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def render_weave_only(category: str, *args: object) -> tuple[np.ndarray, np.ndarray]:
        if category != "weave":
            raise KeyboardInterrupt
        return render(category, *args)

    with monkeypatch.context() as patch:
        patch.setattr("fastflow_lite.synthetic.toy.render", render_weave_only)
        with pytest.raises(KeyboardInterrupt):
            generate(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["weave"]
    assert {path.name for path in generate(tmp_path, **SMALL).iterdir()} == set(CATEGORIES)


@pytest.mark.parametrize("other", [{"seed": 1}, {"size": 48}, {"train": 3}, {"test_defect": 2}])
def test_folder_with_other_settings_is_refused(tmp_path: Path, other: dict[str, int]) -> None:
    generate(tmp_path, categories=["grid"], **SMALL)
    with pytest.raises(ValueError, match=r"grid.*another root, or delete"):
        generate(tmp_path, categories=["weave", "grid"], **(SMALL | other))
    assert not (tmp_path / "weave").exists()  # refused before any work


def test_folder_with_something_else_is_refused_and_kept(tmp_path: Path) -> None:
    precious = tmp_path / "grid" / "precious.txt"
    precious.parent.mkdir()
    precious.write_text("mine")
    with pytest.raises(ValueError, match=r"grid.*another root, or delete"):
        generate(tmp_path, **SMALL)
    assert precious.read_text() == "mine"


def test_unknown_names_list_the_choices(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"'carpet'.*weave, grid, part"):
        render("carpet", rng)
    with pytest.raises(ValueError, match=r"'glue'.*hole, stain, thread"):
        render("weave", rng, defect="glue")
    with pytest.raises(ValueError, match=r"'carpet'.*weave, grid, part"):
        generate(tmp_path / "new", categories=["weave", "carpet"])
    assert not (tmp_path / "new").exists()


# ---- hard for raw pixels -------------------------------------------------------------------------


def load(paths: list[Path]) -> np.ndarray:
    """Images (N, SIZE, SIZE, 3), 0 to 1."""
    return np.stack([read(path) for path in paths]).astype(np.float32) / 255


def deviation_maps(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """How many standard deviations each pixel is off the training mean: (N, SIZE, SIZE)."""
    return (np.abs(test - train.mean(axis=0)) / (train.std(axis=0) + 1e-3)).mean(axis=3)


def nearest_maps(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Difference to the training image with the least squared distance: (N, SIZE, SIZE)."""
    a, b = test.reshape(len(test), -1), train.reshape(len(train), -1)
    distance = (b**2).sum(axis=1) - 2 * a @ b.T
    return np.abs(test - train[distance.argmin(axis=1)]).mean(axis=3)


@pytest.mark.parametrize("baseline", [deviation_maps, nearest_maps])
@pytest.mark.parametrize("category", CATEGORIES)
def test_comparing_raw_pixels_fails(full: Path, category: str, baseline: object) -> None:
    paths = sorted((full / category / "test").glob("*/*.png"))
    bad = np.array([path.parent.name != "good" for path in paths])
    clear = np.zeros((SIZE, SIZE), np.uint8)
    masks = np.stack([read(mask_path(p)) if b else clear for p, b in zip(paths, bad, strict=True)])
    maps = baseline(load(sorted((full / category / "train/good").iterdir())), load(paths))
    assert roc_auc_score(masks.ravel() > 0, maps.ravel()) < 0.85
    for scores in (maps.max(axis=(1, 2)), maps.mean(axis=(1, 2))):
        assert roc_auc_score(bad, scores) < 0.8


@pytest.mark.parametrize("baseline", [deviation_maps, nearest_maps])
def test_the_baselines_can_succeed(baseline: object) -> None:
    """On an unchanging scene both baselines are perfect, so their failure above means something."""
    rng = np.random.default_rng(0)
    images = 0.5 + 0.01 * rng.standard_normal((40, 16, 16, 3)).astype(np.float32)
    images[30:, 4:8, 4:8] += 0.2
    maps = baseline(images[:20], images[20:])
    assert roc_auc_score(np.arange(20) >= 10, maps.max(axis=(1, 2))) == 1

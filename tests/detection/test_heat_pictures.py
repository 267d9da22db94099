"""Heat maps as files: at the size of the image, one for each image, in folders as the images are."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastflow_lite.datasets.image_files import ImageFile
from fastflow_lite.detection import Finding, heat_pictures
from fastflow_lite.detection.heat_colors import COVER, heat_colors
from fastflow_lite.detection.heat_pictures import BORDER, HeatPictures, draw_heat
from fastflow_lite.errors import DataError


@pytest.fixture
def gray(tmp_path: Path) -> Path:
    path = tmp_path / "new" / "sub" / "a.png"
    path.parent.mkdir(parents=True)
    Image.new("L", (60, 40), 100).save(path)
    return path


def finding(path: Path, alarm: bool = True) -> Finding:
    scores = np.zeros((40, 60), np.float32)
    scores[10:20, 10:30] = 0.8
    return Finding(str(path), 0.8, 1.0, alarm, (40, 60), scores, 0.5)


def test_only_what_scores_high_is_colored(gray: Path) -> None:
    picture = draw_heat(ImageFile(gray), finding(gray))
    assert picture.shape == (40, 60, 3)
    outside = np.ones((40, 60), bool)
    outside[10:20, 10:30] = False
    assert (picture[outside] == 100).all()
    assert (picture[11:19, 11:29] != 100).any(-1).all()
    assert picture[15, 20] == pytest.approx((1 - COVER) * 100 + COVER * heat_colors(np.array(0.8)), abs=1)
    border = (picture == BORDER).all(-1)
    assert border[10, 10:30].all() and border[10:20, 29].all() and border.sum() == 2 * 20 + 2 * 8


def test_a_good_image_has_no_border(gray: Path) -> None:
    assert not (draw_heat(ImageFile(gray), finding(gray, alarm=False)) == BORDER).all(-1).any()


def test_bands_change_nothing(gray: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = draw_heat(ImageFile(gray), finding(gray))
    monkeypatch.setattr(heat_pictures, "BAND", 60 * 7)
    rows, part = [], ImageFile.part
    monkeypatch.setattr(ImageFile, "part", lambda self, *place: (rows.append(place[2]), part(self, *place))[1])
    assert (draw_heat(ImageFile(gray), finding(gray)) == whole).all()
    assert rows == [7] * 5 + [5]


def test_images_that_differ_in_folder_or_suffix_share_no_file(gray: Path, tmp_path: Path) -> None:
    others = [gray.with_suffix(".jpg"), tmp_path / "new" / "a.png"]
    for other in others:
        Image.open(gray).save(other)
    heat = HeatPictures(tmp_path / "heat", [tmp_path / "new"])
    targets = [heat.add(finding(path)) for path in (gray, *others)]
    assert [target.relative_to(tmp_path / "heat").as_posix() for target in targets] == [
        "sub/a.png.heat.png", "sub/a.jpg.heat.png", "a.png.heat.png",
    ]  # fmt: skip
    assert Image.open(targets[0]).size == (60, 40)
    assert {path for path in (tmp_path / "heat").rglob("*") if path.is_file()} == set(targets)


def test_a_long_name_is_cut_and_shares_no_file(gray: Path, tmp_path: Path) -> None:
    folder, names = tmp_path / "new", [f"{'部' * 82}{end}.png" for end in "ab"] + ["x" * 243 + ".png"]
    for name in names:
        Image.open(gray).save(folder / name)
    heat = HeatPictures(tmp_path / "heat", [folder])
    targets = [heat.add(finding(folder / name)) for name in names]
    assert len(set(targets)) == 3 and {len(os.fsencode(target.name)) for target in targets} <= {253, 254, 255}
    assert all(target.name.endswith(".heat.png") and target.is_file() for target in targets)
    assert heat.add(finding(folder / names[0])) == targets[0], "another run gives it the same name"
    longest = "x" * 242 + ".png"
    Image.open(gray).save(folder / longest)
    assert heat.add(finding(folder / longest)).name == f"{longest}.heat.png"


def test_files_of_two_folders_keep_their_folders(gray: Path, tmp_path: Path) -> None:
    (tmp_path / "old" / "sub").mkdir(parents=True)
    other = tmp_path / "old" / "sub" / "a.png"
    Image.open(gray).save(other)
    heat = HeatPictures(tmp_path / "heat", [tmp_path / "new", other])
    assert heat.add(finding(gray)) != heat.add(finding(other))


def test_a_folder_among_the_images_is_refused(gray: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="where its pictures would be judged: give another folder"):
        HeatPictures(tmp_path / "new" / "heat", [tmp_path / "new"])
    with pytest.raises(DataError, match="cannot hold heat maps"):
        HeatPictures(gray, [gray])

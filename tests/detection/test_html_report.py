"""The report: one file, whole, that asks nobody for anything and believes no file name."""

from __future__ import annotations

import base64
import io
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastflow_lite.datasets import ImageSet, Sample, open_dataset
from fastflow_lite.detection.html_report import write_html
from fastflow_lite.scoring.thresholds import Threshold, fixed


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def images(category: Path) -> ImageSet:
    return open_dataset(category.parent, category.name, image_size=(64, 48)).test


def judged(images: ImageSet) -> tuple[np.ndarray, np.ndarray]:
    """Maps that rise to the image's own score in one corner; the anomalous images score highest."""
    scores = np.linspace(0, 1, len(images)).astype(np.float32)
    maps = np.zeros((len(images), *images.size), np.float32)
    maps[:, :8, :8] = scores[:, None, None]
    return maps, scores


def written(path: Path, images: ImageSet, cut: Threshold, title: str = "a batch", **options: object) -> Page:
    write_html(path, images, *judged(images), cut, title, **options)
    return Page(path.read_text(encoding="utf-8"))


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))))


def test_nothing_in_it_comes_from_elsewhere(images: ImageSet, tmp_path: Path) -> None:
    page = written(tmp_path / "r.html", images, fixed(0.5))
    assert not page.all("script") and not page.all("link") and not page.all("iframe")
    addresses = [str(a.get(name)) for _, a in page.tags for name in ("src", "href", "action", "data") if a.get(name)]
    assert len(addresses) == 2 * len(images)
    assert all(address.startswith("data:image/jpeg;base64,") for address in addresses)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|https?:", text)
    assert "default-src 'none'" in text


def test_images_come_by_score_with_their_pictures_and_decisions(images: ImageSet, tmp_path: Path) -> None:
    page = written(tmp_path / "r.html", images, fixed(0.5))
    figures = [attributes.get("class") for attributes in page.all("figure")]
    assert figures == ["alarm"] * 3 + [None] * 3  # scores 1, 0.8, 0.6 | 0.4, 0.2, 0
    shown = re.findall(r"(\d\.\d{3}) (alarm|no alarm)(\d{3}\.png)(?: \((\w+)\))?", page.text)
    assert [float(score) for score, *_ in shown] == [1.0, 0.8, 0.6, 0.4, 0.2, 0.0]
    assert [kind for *_, kind in shown] == ["square"] * 3 + [""] * 3
    first = [a["src"] for a in page.all("img")][:2]
    picture, heat = (np.asarray(decoded(str(uri))).astype(int) for uri in first)
    all_of_them = np.stack([(image * 255).permute(1, 2, 0).numpy() for image, _ in images])
    assert picture.shape == all_of_them.shape[1:] == heat.shape
    assert np.abs(all_of_them - picture).mean(axis=(1, 2, 3)).argmin() == 5, "not the picture of the highest score"
    assert heat[:6, :6].mean() > 150 > heat[20:, 20:].mean() + 100, "bright where the map is high"


def test_the_rule_is_stated_and_every_image_counted(images: ImageSet, tmp_path: Path) -> None:
    cut = Threshold(0.7, "conformal", "p-value <= 0.1 against 19 normal scores")
    page = written(tmp_path / "r.html", images, cut, facts={"camera": 7}, most=2)
    assert "6, 2 of them alarms" in page.text
    assert "a score of 0.7000 or more" in page.text
    assert "conformal: p-value <= 0.1 against 19 normal scores" in page.text
    assert "camera" in page.text and "The 2 images with the highest scores" in page.text
    assert len(page.all("figure")) == 2
    assert len(page.all("line")) == len(images) + 2, "a line for every image, the axis and the threshold"


def test_a_file_name_is_text_whatever_it_holds(images: ImageSet, tmp_path: Path) -> None:
    evil = tmp_path / '<script>alert(1)</script> é" onerror="x.png'.replace("/", "")
    evil.write_bytes(images.samples[0].image.read_bytes())
    one = ImageSet([Sample(evil, "<b>dent</b>")], images.size, tmp_path)
    page = written(tmp_path / "r.html", one, fixed(2.0), title="<i>lot & 7</i>")
    assert not page.all("script") and not page.all("b")[1:] and not page.all("i")
    assert not [a for a in page.all("img") if "onerror" in a]
    assert evil.name in page.text and "<i>lot & 7</i>" in page.text


def test_what_does_not_belong_together_is_refused(images: ImageSet, tmp_path: Path) -> None:
    maps, scores = judged(images)
    with pytest.raises(ValueError, match="6 images, 6 maps and 5 scores"):
        write_html(tmp_path / "r.html", images, maps, scores[:-1], fixed(0.5), "x")
    assert not (tmp_path / "r.html").exists()


def test_equal_scores_and_flat_maps_are_drawn(images: ImageSet, tmp_path: Path) -> None:
    flat = np.zeros(len(images), np.float32)
    write_html(tmp_path / "r.html", images, np.zeros((len(images), 64, 48)), flat, fixed(0.0), "flat")
    assert "nan" not in (tmp_path / "r.html").read_text(encoding="utf-8").split("<div class")[0]


@pytest.mark.parametrize("part", ["maps", "scores"])
def test_what_is_no_number_is_never_reported_as_no_alarm(images: ImageSet, tmp_path: Path, part: str) -> None:
    maps, scores = judged(images)
    (maps if part == "maps" else scores)[1] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        write_html(tmp_path / "r.html", images, maps, scores, fixed(0.5), "x")
    assert not (tmp_path / "r.html").exists()


def test_a_file_name_that_is_no_text_is_shown(images: ImageSet, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"part \xff.png")
    odd.write_bytes(images.samples[0].image.read_bytes())
    page = written(tmp_path / "r.html", ImageSet([Sample(odd)], images.size, tmp_path), fixed(2.0), title=odd.name)
    assert page.text.count("part \\udcff.png") == 3  # title, heading and caption

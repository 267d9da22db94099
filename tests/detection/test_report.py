"""The report: one file, whole, that loads nothing, runs its own script only, and takes no file name for markup."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import tracemalloc
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from drawn_findings import SIZE, drawn_detector, drawn_files, drawn_finding
from PIL import Image

from fastflow_lite.detection import Detector
from fastflow_lite.detection.report import Report, common_folder, rule_in_words, shown_score
from fastflow_lite.detection.tiled_scorer import make_scorer
from fastflow_lite.detection.tiling import Tiles
from fastflow_lite.errors import ArgumentError, DataError
from fastflow_lite.scoring.thresholds import best_f1, fixed, quantile

SCORES = [0.2, 0.9, 0.5, 0.05, 0.7]


class Page(HTMLParser):
    """Tags with their attributes, and the text between them, without styles and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.inside: dict[str, str] = {"style": "", "script": ""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in self.inside and not self.inside[self.tags[-1][0]]:
            self.inside[self.tags[-1][0]] = data
        else:
            self.text += data

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [found for name, found in self.tags if name == tag and wanted.items() <= found.items()]

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        return [found for _, found in self.tags if name in (found.get("class") or "").split()]


@pytest.fixture
def report(tmp_path: Path) -> Report:
    report = Report(drawn_detector(), "Line 3", {"camera": 7})
    for finding in drawn_files(tmp_path, SCORES):
        report.add(finding)
    return report


def written(report: Report, path: Path) -> Page:
    report.write(path)
    return Page(path.read_text(encoding="utf-8"))


def decoded(uri: str | None) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(str(uri).partition("base64,")[2])))


def test_nothing_in_it_comes_from_elsewhere(report: Report, tmp_path: Path) -> None:
    page = written(report, tmp_path / "r.html")
    assert not page.all("link") and not page.all("iframe") and len(page.all("script")) == len(page.all("style")) == 1
    addresses = [str(a.get(name)) for _, a in page.tags for name in ("src", "href", "action", "data") if a.get(name)]
    assert len(addresses) == 2 * len(SCORES)
    assert all(address.startswith(("data:image/jpeg;base64,", "data:image/png;base64,")) for address in addresses)
    assert not re.search(r"url\((?!#)|@import|https?:", (tmp_path / "r.html").read_text("utf-8"))


def test_the_policy_allows_this_style_and_script_and_nothing_else(report: Report, tmp_path: Path) -> None:
    page = written(report, tmp_path / "r.html")
    policy = str(page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"])
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for kind in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.inside[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert not [a for _, a in page.tags if "style" in a or any(name.startswith("on") for name in a)]


def test_findings_come_by_score_with_picture_map_outline_and_regions(report: Report, tmp_path: Path) -> None:
    page = written(report, tmp_path / "r.html")
    cards = page.all("li")
    assert [card["data-name"] for card in cards] == [f"part {k}.png" for k in (1, 4, 2, 0, 3)]
    assert [card["class"] for card in cards] == ["alarm"] * 3 + ["calm"] * 2
    assert re.findall(r"(▲ alarm|no alarm) (\d\.\d{3})", page.text) == [
        ("▲ alarm", "0.900"), ("▲ alarm", "0.700"), ("▲ alarm", "0.500"), ("no alarm", "0.200"), ("no alarm", "0.050"),
    ]  # fmt: skip
    photo, heat = decoded(page.of_class("photo")[0]["src"]), decoded(page.of_class("map")[0]["src"])
    assert photo.size == SIZE[::-1] and heat.size == (32, 32)
    assert np.asarray(photo).mean() == pytest.approx(180, abs=3), "not the picture of the highest score"
    cover = np.asarray(heat.convert("RGBA"))[..., 3]
    assert cover[12, 12] > 150 and cover[28, 28] <= 1, "opaque where the map is high"
    regions = drawn_finding("x", 0.9).regions
    assert page.all("rect", x=str(regions[0].left), y=str(regions[0].top), width=str(regions[0].width))
    assert f"{regions[0].area:,} px" in page.text and "no region" in page.text
    assert [bool(path["d"]) for path in page.all("path", **{"class": "halo"})] == [True] * 3 + [False] * 2


def test_every_finding_is_counted_and_only_the_most_anomalous_are_shown(tmp_path: Path) -> None:
    report = Report(drawn_detector(), "many", most=2)
    for finding in drawn_files(tmp_path, SCORES):
        report.add(finding)
    page = written(report, tmp_path / "r.html")
    assert (report.count, report.alarms) == (5, 3)
    assert [card["data-name"] for card in page.all("li")] == ["part 1.png", "part 4.png"]
    assert "The 2 images with the highest scores have pictures here" in page.text
    bars = [a["x"] for name, a in page.tags if name == "rect" and a.get("class") in ("alarm", "calm")]
    assert sorted(bars) == sorted(["20.1", "90.1", "50.1", "5.1", "70.1"])
    assert page.all("rect", **{"class": "normal"})


def test_of_equal_scores_the_first_are_shown(tmp_path: Path) -> None:
    report = Report(drawn_detector(), "equal", most=2)
    for finding in drawn_files(tmp_path, [0.3] * 4):
        report.add(finding)
    page = written(report, tmp_path / "r.html")
    assert [card["data-name"] for card in page.all("li")] == ["part 0.png", "part 1.png"]


def test_memory_does_not_grow_with_the_number_of_findings() -> None:
    report, large = Report(drawn_detector(), "many", most=1), np.zeros((1000, 1000), np.uint8)
    report.add(drawn_finding("image 0", 0.9), large)
    tracemalloc.start()
    try:
        for index in range(300):
            report.add(drawn_finding(f"image {index}", 0.1), large)
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()


def test_the_picture_may_be_given_and_may_be_gone(tmp_path: Path) -> None:
    report = Report(drawn_detector(), "x")
    report.add(drawn_finding("image 0", 0.9), np.full((*SIZE, 3), 100, np.uint8))
    report.add(drawn_finding(str(tmp_path / "moved.png"), 0.8))
    page = written(report, tmp_path / "r.html")
    assert np.asarray(decoded(page.of_class("photo")[0]["src"])).mean() == pytest.approx(100, abs=2)
    assert "src" not in page.of_class("photo")[1] and "the picture could not be read again" in page.text


def test_what_could_not_be_judged_is_listed_with_its_reason(report: Report, tmp_path: Path) -> None:
    report.add_unusable("cut off.jpg", DataError("image cut off.jpg is damaged"))
    for index in range(150):
        report.add_unusable(f"{index}.jpg", DataError("no"))
    page = written(report, tmp_path / "r.html")
    assert "151 could not be judged" in page.text and "image cut off.jpg is damaged" in page.text
    assert "and 51 more" in page.text and report.count == 5


def test_a_report_without_findings_says_so(tmp_path: Path) -> None:
    page = written(Report(drawn_detector(), "none"), tmp_path / "r.html")
    assert "0 images" in re.sub(r"\s+", " ", page.text) and not page.all("li") and not page.all("dialog")


def test_names_and_titles_are_text_whatever_they_hold(tmp_path: Path) -> None:
    evil = '<script>alert(1)<script> é" onerror="x\' {{ 7 * 7 }} \u202e{}.png'
    report = Report(drawn_detector(), "<i>lot & 7</i>", {"<b>camera": "<img src=x>"})
    (finding,) = drawn_files(tmp_path, [0.9], evil.replace("{{", "{{{{").replace("}}", "}}}}"))
    report.add(finding)
    report.add_unusable("</ul><script>2", DataError("<b>"))
    page = written(report, tmp_path / "r.html")
    assert len(page.all("script")) == 1 and not page.all("i") and len(page.all("img")) == 2
    assert not [a for _, a in page.tags if "onerror" in a]
    assert page.all("li")[-1]["data-name"] == evil.replace("{}", "0").replace("\u202e", "\\u202e")
    assert "<i>lot & 7</i>" in page.text and "<b>camera" in page.text and "{{ 7 * 7 }}" in page.text


@pytest.mark.hostile
def test_a_file_name_that_is_no_text_is_shown(tmp_path: Path) -> None:
    report = Report(drawn_detector(), os.fsdecode(b"lot \xff"))
    (finding,) = drawn_files(tmp_path, [0.9], os.fsdecode(b"part \xff.png"))
    report.add(finding)
    page = written(report, tmp_path / "r.html")
    assert page.of_class("photo")[0]["alt"] == "part \\udcff.png" and "lot \\udcff" in page.text


def test_facts_of_the_caller_and_of_the_detector(report: Report, tmp_path: Path) -> None:
    text = " ".join(written(report, tmp_path / "r.html").text.split())
    for fact in (
        "camera 7", "threshold raw score 19, conformal: p-value <= 0.05 against 20 normal scores",
        "images of 32 x 32 pixels", f"training images sha256 {'ab' * 8}", "fastflow_lite 0.1.0, torch 2.10.0",
        f"folder {tmp_path}/",
    ):  # fmt: skip
        assert fact in text


@pytest.mark.parametrize(
    ("threshold", "rate", "words"),
    [
        (None, 0.05, "A new normal image that is taken like them is an alarm with a probability of at most 5 %"),
        (quantile(range(20), 0.9), 0.1, "a quantile of the scores of 20 normal images; at most 10 % of them"),
        (fixed(3), None, "chosen by hand. No rate of false alarms is promised"),
        (best_f1([0, 1], [1, 2]), None, "best F1 on labeled validation images. No rate"),
        (quantile(range(20), 0.9), None, "No rate of false alarms is recorded"),
    ],
)  # fmt: skip
def test_the_rule_in_words(threshold: object, rate: float | None, words: str) -> None:
    said = rule_in_words(drawn_detector(threshold, rate))
    assert said.startswith("An alarm is a score of 0.5 or more. ") and words in said


def test_a_score_without_alarm_is_never_shown_as_the_threshold() -> None:
    assert shown_score(drawn_finding("x", np.nextafter(0.5, 0))) == "0.499"
    assert shown_score(drawn_finding("x", 0.5)) == "0.500"


def test_names_are_shown_without_the_folder_of_all() -> None:
    assert common_folder(["/a/b/1.png", "/a/b/2.png"]) == "/a/b/"
    assert common_folder(["a/1.png", "/a/2.png"]) == common_folder(["ab/1.png", "a/2.png"]) == ""


def test_a_report_can_go_on_after_it_was_written(report: Report, tmp_path: Path) -> None:
    first = written(report, tmp_path / "r.html")
    report.add(drawn_finding("image 5", 0.99), np.zeros(SIZE, np.uint8))
    assert len(written(report, tmp_path / "r.html").all("li")) == len(first.all("li")) + 1


def test_tiles_and_what_is_left_out_are_facts(tmp_path: Path) -> None:
    detector = drawn_detector()
    scorer = make_scorer(detector.model, (32, 32), np.eye(32, dtype=bool), None, Tiles(32, 8))
    report = Report(Detector(scorer, detector.calibration), "tiles")
    text = " ".join(written(report, tmp_path / "r.html").text.split())
    assert "tiles 32 pixels a side, at the size of the image; 8 shared" in text and "left out 3.1% of each" in text
    assert "training images not recorded" in text


def test_what_is_no_number_is_never_reported_as_no_alarm(report: Report) -> None:
    with pytest.raises(ArgumentError, match=r"lost\.png has the score nan"):
        report.add(replace(drawn_finding("lost.png", 0.2), raw_score=float("nan")))
    assert report.count == 5


def test_half_is_the_border_of_two_bars_and_heights_are_square_roots(tmp_path: Path) -> None:
    report = Report(drawn_detector(), "bars", most=0)
    for score in [0.0] * 4 + [float(np.nextafter(0.5, 0)), 0.5, 1.0]:
        report.add(drawn_finding("x", score))
    rects = written(report, tmp_path / "r.html").all("rect")
    bars = [(a["class"], a["x"], a["height"]) for a in rects if a.get("class") in ("alarm", "calm")]
    assert bars == [("alarm", "50.1", "6.00"), ("alarm", "99.1", "6.00"), ("calm", "0.1", "12.00"),
                    ("calm", "49.1", "6.00")]  # fmt: skip
    normal = [float(str(a["height"])) for a in rects if a.get("class") == "normal"]
    assert max(normal) == 5 and min(normal) < 5


def test_twenty_regions_of_an_image_are_listed(tmp_path: Path) -> None:
    dots = np.zeros((48, 80), np.float32)
    dots[4::8, 4::16] = 0.9
    report = Report(drawn_detector(), "dots")
    report.add(replace(drawn_finding("image 0", 0.9), small_map=dots), np.zeros((*SIZE, 3), np.uint8))
    page = written(report, tmp_path / "r.html")
    assert "and 10 more with lower peaks" in page.text
    assert page.text.count("1 × 1 at") == 20

"""What people read: tables and the paragraph, also where numbers are undefined."""

from dataclasses import replace

import pytest

from fastflow_lite.evaluation import Result, report


def test_tables_hold_the_numbers_of_the_result(result: Result) -> None:
    table = report.metrics_table(result)
    assert table.loc["exp_energy", "pixel AUROC"] == round(result.variants["exp_energy"]["pixel_auroc"], 3)
    assert "tempered (used below)" in table.index
    exact = replace(result, record={**result.record, "variants": {"energy": {"aupro": 0.12345}}})
    assert report.metrics_table(exact).to_numpy().tolist() == [[0.123]]
    assert list(report.threshold_table(result).index) == ["fixed", "quantile", "best_f1"]
    assert {"value", "f1", "note"} <= set(report.threshold_table(result).columns)
    assert list(report.defect_table(result).index) == ["square"]


def test_a_line_of_both_classes_gives_numbers_only(result: Result) -> None:
    line = report.summary_line(result.record)
    assert line.endswith(f"AUPRO (FPR to 0.3) {result.aupro:.3f}")


def test_the_overlap_is_shown_beside_the_oracle_and_a_record_without_it_is_read(result: Result) -> None:
    line, text = report.summary_line(result.record), report.summary_paragraph(result)
    assert f"pixel IoU {result.pixel_iou:.3f}, AUPRO" in line
    assert f"mean IoU of **{result.pixel_iou:.3f}**" in text
    assert f"has {result.pixel_iou_oracle:.3f}" in text
    older = {name: value for name, value in result.record["metrics"].items() if "iou" not in name}
    record = {**result.record, "metrics": older}
    assert "IoU" not in report.summary_line(record) + report.summary_paragraph(replace(result, record=record))


def test_the_paragraph_says_what_the_record_says(result: Result) -> None:
    text = report.summary_paragraph(result)
    assert f"**{100 * result.image_auroc:.1f} %** of all pairs" in text
    assert f"AUPRO is **{result.aupro:.3f}**" in text
    assert "3 normal and 3 anomalous" in text
    assert "`quantile` finds" in text


@pytest.mark.parametrize("count", [1, 2])
def test_maps_are_compared_where_there_are_two(result: Result, count: int) -> None:
    variants = dict(list(result.record["variants"].items())[:count])
    found = report.summary_paragraph(replace(result, record={**result.record, "variants": variants}))
    assert ("From the same latents" in found) == (count == 2)


@pytest.mark.parametrize(
    ("hard", "text"),
    [
        (0.996, "All kinds of defect are about equally easy (image AUROC 0.996 or more)."),
        (0.99, "The easiest kind is *a* (image AUROC 1.000), the hardest *b* (0.990)."),
        (float("nan"), "image AUROC undefined"),
    ],
)
def test_kinds_of_defect_are_compared_where_there_are_two(result: Result, hard: float, text: str) -> None:
    rows = [{"defect": "a", "image_auroc": 1.0}, {"defect": "b", "image_auroc": hard}]
    found = report.summary_paragraph(replace(result, record={**result.record, "per_defect": rows}))
    assert (text in found) == (hard == hard)
    assert ("kind" in found) == (hard == hard)


def test_undefined_is_said_in_words(without_masks: Result) -> None:
    text = report.summary_paragraph(without_masks)
    assert "an undefined share" in text
    assert "no masks" in text
    assert "nan" not in text
    line = report.summary_line(without_masks.record)
    assert "image AUROC undefined" in line
    assert line.endswith("(0 of 3 test images show a defect)")
    assert list(report.defect_table(without_masks).columns) == ["images", "image_auroc", "pixel_auroc", "area_percent"]


@pytest.mark.hostile
def test_names_of_folders_are_shown_as_they_are_and_not_as_html(result: Result) -> None:
    assert report._name("5\" 'x'") == "5\" 'x'"
    evil = "<img src=x onerror=alert(1)>[a](javascript:b) $x$ `c` \x1b[31m"
    record = {**result.record, "data": {**result.record["data"], "category": evil}}
    record["per_defect"] = [{"defect": evil, "image_auroc": 0.5}, {"defect": "metal_nut", "image_auroc": 1.0}]
    text = report.summary_paragraph(replace(result, record=record))
    assert "<" not in text and "\x1b" not in text
    assert text.count(r"&lt;img src=x onerror=alert(1)&gt;\[a\](javascript:b) \$x\$ \`c\` \\x1b\[31m") == 2
    assert "*metal_nut*" in text
    assert "\x1b" not in report.summary_line(record)

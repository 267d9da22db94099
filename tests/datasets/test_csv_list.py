"""CSV files: columns in any case and order, the usual labels, and the line of each error."""

from pathlib import Path

import pytest
from datasets.trees import counts, make_tree

from fastflow_lite.datasets import Data, open_dataset
from fastflow_lite.errors import DataError


def opened(folder: Path, text: str, encoding: str = "utf-8", to_train: bool = True) -> Data:
    make_tree(folder, "img/*9", "masks/*3")
    (folder / "parts.csv").write_text(text, encoding)
    return open_dataset(folder / "parts.csv", image_size=32, to_train=to_train)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_columns_of_any_case_and_order(mark: str, tmp_path: Path) -> None:
    lines = ["Split,PATH,Mask,label", "train,img/0.png,,OK", "Training,img/1.png,,0", "TEST,img\\2.png,masks/2.png,1",
             "test,img/3.png,masks/0.png,dent", "", "test,img/4.png,,good"]  # fmt: skip
    data = opened(tmp_path, "\n".join(lines).replace(",", mark), "utf-8-sig")
    assert counts(data) == (2, 1, {"defect": 1, "dent": 1})
    assert data.test.has_masks
    assert (data.name, data.category, data.train.root) == ("parts.csv", "parts", tmp_path)
    assert data.layout == "a CSV file with the columns path, label, mask, split"
    assert len(data.test.fingerprint()) == 64


def test_paths_alone_are_normal_images(tmp_path: Path) -> None:
    assert counts(opened(tmp_path, "path\nimg/0.png\nimg/1.png\n")) == (2, 0, {})


def test_normal_images_without_a_split_are_divided_if_there_are_defects(tmp_path: Path) -> None:
    rows = "".join(f"img/{k}.png,{k > 4}\r\n" for k in range(8))
    assert counts(opened(tmp_path, f"path,label\r\n{rows}")) == (4, 1, {"defect": 3})


def test_files_above_the_folder_of_the_csv_are_found(tmp_path: Path) -> None:
    make_tree(tmp_path, "img/*2")
    data = opened(tmp_path / "lists", "path\n../img/0.png\n../img/1.png\n")
    assert data.train.root == tmp_path
    assert len(data.train.fingerprint()) == 64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"parts\.csv, line 1: no column is named path, there are none"),
        ("img/0.png,good\n", r"line 1: no column is named path, there are img/0\.png, good"),
        ("path,label,Path\n", "line 1: two columns are named path"),
        ("path,label\n", "lists no image"),
        ("path,label\nimg/0.png,good\nimg/77.png,bad\n", r"line 3: path .*img/77\.png does not exist"),
        ("path,label\nimg/0.png,good\n\nimg/0.png,bad\n", r"line 4: image .*img/0\.png is also in line 2"),
        ("path,label\nimg/0.png,\n", "line 2: the label is empty"),
        ("path,label\nimg/0.png\n", "line 2: the label is empty"),
        ("path,label\nimg/0.png,2\n", "line 2: label 2 is unclear"),
        ("path,label\nimg/0.png,-1\n", "line 2: label -1 is unclear"),
        ("path,label\nimg/0.png,None\n", "line 2: label None is unclear"),
        ("path,label\nimg/0.png,N/A\n", "line 2: label N/A is unclear"),
        ("path,label\nimg/0.png,nan\n", "line 2: label nan is unclear"),
        ("path,label\nimg/0.png,?\n", r"line 2: label \? is unclear; write 0 or good for normal, 1 or a name"),
        ("path,label\nimg/0.png,good,x\n", "line 2: 3 values, but 2 columns"),
        ("path,label\n,good\n", "line 2: the path is empty"),
        ("path\nimg\n", "line 2: path .*img is no image file"),
        ("path\nparts.csv\n", r"line 2: path .*parts\.csv is none of"),
        ("path,label,mask\nimg/0.png,good,masks/0.png\n", "line 2: a normal image has a mask"),
        ("path,label,mask\nimg/0.png,bad,masks/9.png\n", r"line 2: mask .*masks/9\.png does not exist"),
        ("path,mask\nimg/0.png,masks/0.png\n", "line 2: an image has a mask, but there is no column label"),
        ("path,split\nimg/0.png,trian\n", "line 2: split 'trian' is none of train, test, val"),
        ("path,split\nimg/0.png,train\nimg/1.png,test\n", "no column label, so which are normal is unknown"),
        ("path,label\nimg/0.png,bad\n", r"parts\.csv holds no normal image to train on .*column label, and train"),
        ('path\n"img/0.png\n', r"parts\.csv, line 2: unexpected end of data"),
    ],
)  # fmt: skip
def test_errors_name_the_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as found:
        opened(tmp_path, text)
    assert "parts" in str(found.value) or str(tmp_path) in str(found.value)


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"parts\.csv is not UTF-8"):
        opened(tmp_path, "path\nbüro.png\n", "latin-1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,lable\nimg/0.png,bad\n", "not used: the columns lable"),
        ("path,label,split\nimg/0.png,ok,train\nimg/1.png,bad,train\n", "1 defects of the split train .*line 3"),
        ("path,label,split\nimg/0.png,ok,train\nimg/1.png,ok,Val\n", "not used: 1 images of the split val"),
        ("path,label,mask,split\nimg/0.png,ok,,train\nimg/1.png,bad,masks/0.png,test\nimg/2.png,bad,,test\n",
         "1 defects have no mask"),
    ],
)  # fmt: skip
def test_what_is_not_used_is_told(text: str, message: str, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=message):
        assert len(opened(tmp_path, text).train) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path,label,split\nimg/0.png,ok,test\nimg/1.png,bad,test\n", (1, {"bad": 1})),
        ("path,label,split\nimg/0.png,ok,train\nimg/1.png,bad,train\nimg/2.png,ok,test\n", (1, {})),
        ("path,label\nimg/0.png,ok\nimg/1.png,ok\nimg/2.png,bad\n", (2, {"bad": 1})),
    ],
)  # fmt: skip
def test_to_judge_the_split_test_counts_else_all_that_have_a_label(
    text: str, expected: tuple[int, dict[str, int]], tmp_path: Path
) -> None:
    assert counts(opened(tmp_path, text, to_train=False)) == (0, *expected)


def test_to_judge_the_columns_are_named_where_they_leave_no_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"parts\.csv holds no image to judge .*kind in the column label, and test in"):
        opened(tmp_path, "path,label,split\nimg/0.png,ok,train\n", to_train=False)
    with pytest.warns(UserWarning, match=r"not used: 1 images of the split val$"):
        opened(tmp_path, "path,label,split\nimg/0.png,ok,test\nimg/1.png,ok,val\n", to_train=False)

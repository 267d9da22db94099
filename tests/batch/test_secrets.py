"""No secret in a record, a folder name or an executed notebook."""

from pathlib import Path

import nbformat
import pytest

from fastflow_lite.batch import plan, runner, table
from fastflow_lite.batch.secrets import MASK, is_secret, masked, masked_text
from fastflow_lite.errors import DataError


@pytest.mark.parametrize("name", ["password", "DB_PASSWORD", "token", "hf_token", "secret", "api_key", "apikey", "key"])
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)
    assert masked({name: "hunter2", "seed": 1}) == {name: MASK, "seed": 1}
    assert masked_text("login hunter2 failed", {name: "hunter2"}) == f"login {MASK} failed"


@pytest.mark.parametrize("name", ["seed", "max_tokens", "keypoints", "monkey", "passes", "kernels"])
def test_other_names(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.slow
@pytest.mark.parametrize("last", ["", "raise ValueError('refused: ' + api_token)"])
def test_a_run_leaves_its_secret_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    monkeypatch.chdir(tmp_path)
    parameters = "api_token: str = ''\nseed: int = 0\nout_dir: str = '.'"
    cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell(last)]
    cells.insert(1, nbformat.v4.new_code_cell("assert api_token == 'hunter2'"))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), "probe.ipynb")
    (job,) = plan(Path("probe.ipynb"), {"api_token": ["hunter2"], "seed": [1]}, Path("runs"), 1)
    assert job.name == "api_token=masked,seed=1" and "hunter2" not in repr(job)
    state = runner.execute(job)
    assert state["state"] == ("failed" if last else "done"), state.get("error")
    files = [path for path in Path("runs").rglob("*") if path.is_file()]
    texts = {path.name: path.read_text() for path in files if path.suffix == ".json"}
    texts |= {
        path.name: path.read_text().split('"outputs": [')[1] for path in files if path.suffix == ".ipynb" and not last
    }
    assert texts and not [name for name, text in texts.items() if "hunter2" in text]
    if not last:
        assert table("runs")["api_token"].tolist() == [MASK]


def test_a_secret_has_one_value(tmp_path: Path) -> None:
    cell = nbformat.v4.new_code_cell("token = ''", metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "probe.ipynb")
    with pytest.raises(DataError, match="token has the name of a secret"):
        plan(tmp_path / "probe.ipynb", {"token": ["a", "b"]}, tmp_path / "runs", 1)

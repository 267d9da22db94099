"""A JupyterLab on free ports with settings of its own, and a page of headless Chromium that shows it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
START = 90  # seconds for the server to answer, on a busy machine
STOP = 20


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go: the folder in FASTFLOW_LITE_SCREENSHOTS, else a temporary one."""
    named = os.environ.get("FASTFLOW_LITE_SCREENSHOTS")
    folder = Path(named).resolve() if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that Lab opens: a copy of the committed notebooks, which nothing here may change."""
    folder = tmp_path_factory.mktemp("lab") / "course"
    source = Path(__file__).parents[2] / "notebooks"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("runs", "student", ".ipynb_checkpoints"))
    return folder


@pytest.fixture(scope="session")
def lab(course: Path) -> Iterator[str]:
    """The address of a JupyterLab on `course`, token included."""
    home, token, port = course.parent / "home", secrets.token_hex(16), _free_port()
    _settings(home, "@jupyterlab/notebook-extension/tracker", {"windowingMode": "none"})  # every cell is on the page
    _settings(home, "@jupyterlab/apputils-extension/notification", {"fetchNews": "false"})  # asks nothing
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.root_dir={course}",
        "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}", "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
    ]  # fmt: skip
    places = {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "RUNTIME", "DATA")}
    places |= {f"JUPYTERLAB_{name}_DIR": str(home / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    environment = os.environ | places | {"FASTFLOW_LITE_FAST": "1", "IPYTHONDIR": str(home / "ipython")}
    with (home / "log").open("w") as log, _running(command, environment, log.fileno()) as server:
        _wait_for(f"http://127.0.0.1:{port}/api/status?token={token}", server, home / "log")
        yield f"http://127.0.0.1:{port}/lab?token={token}"


@pytest.fixture
def chromium() -> Iterator[Browser]:
    """Headless Chromium that asks nothing of the network by itself."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=_browser(), args=arguments, timeout=60_000)
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture
def page(chromium: Browser, lab: str, request: pytest.FixtureRequest, screenshots: Path) -> Iterator[Page]:
    """Lab in Chromium, ready, with `jupyterapp` to send commands to; every wait on it ends after a minute."""
    page = chromium.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(60_000)
    page.goto(lab)
    page.wait_for_function("window.jupyterapp && document.querySelector('#jp-main-dock-panel')")
    page.evaluate("() => window.jupyterapp.restored.then(() => null)")
    yield page
    page.screenshot(path=screenshots / f"{request.node.name}_last.png")


def _browser() -> str:
    """FASTFLOW_LITE_CHROMIUM, or the first browser on the path; failing is better than a test run that saw nothing."""
    found = [os.environ.get("FASTFLOW_LITE_CHROMIUM"), *map(shutil.which, BROWSERS)]
    if not any(found):
        pytest.fail("no Chromium: install Debian's package chromium, or set FASTFLOW_LITE_CHROMIUM to its program")
    return next(path for path in found if path)


@contextmanager
def _running(command: list[str], environment: dict[str, str], log: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is gone afterwards, and with it the kernels that it started."""
    server = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield server
    finally:
        family: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(server.pid).children(recursive=True)
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(STOP)
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        server.kill()
        server.wait(STOP)


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START
    while time.monotonic() < end and server.poll() is None:
        with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.3)
    pytest.fail(f"JupyterLab did not answer within {START} s:\n{log.read_text()[-3000:]}")


def _settings(home: Path, plugin: str, values: dict[str, str]) -> None:
    path = home / "settings" / f"{plugin}.jupyterlab-settings"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(values))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

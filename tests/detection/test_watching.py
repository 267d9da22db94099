"""A watched folder, with a clock that the test moves: complete files only, each once, also after a restart."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny import parts

from fastflow_lite.detection import Detector, Finding, watching
from fastflow_lite.detection.watching import FolderWatch, JudgedFiles, Mark, judge_new_files, record_path


class Clock:
    """Seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def judged(tmp_path: Path) -> JudgedFiles:
    return JudgedFiles(tmp_path / "record")


@pytest.fixture
def belt(tmp_path: Path) -> Path:
    (tmp_path / "belt").mkdir()
    return tmp_path / "belt"


@pytest.fixture
def watch(belt: Path, judged: JudgedFiles, clock: Clock) -> FolderWatch:
    return FolderWatch(belt, judged, clock)


def test_a_file_is_ready_when_it_no_longer_changes(watch: FolderWatch, belt: Path, clock: Clock) -> None:
    path = belt / "a.png"
    path.write_bytes(b"1")
    assert watch.ready() == []
    path.write_bytes(b"12")
    clock.wait(1)
    assert watch.ready() == []
    clock.wait(0.15)
    assert watch.ready() == []
    clock.wait(0.15)
    assert watch.ready() == [path]


def test_the_time_of_a_file_counts_where_its_size_stays(watch: FolderWatch, belt: Path, clock: Clock) -> None:
    path = belt / "a.png"
    path.write_bytes(b"1")
    assert watch.ready() == []
    os.utime(path, ns=(0, 5))
    clock.wait(1)
    assert watch.ready() == []
    clock.wait(1)
    assert watch.ready() == [path]


def test_each_is_ready_until_it_was_judged_and_again_when_it_changes(
    watch: FolderWatch, belt: Path, clock: Clock
) -> None:
    path = belt / "a.png"
    path.write_bytes(b"1")
    watch.ready()
    clock.wait(1)
    assert watch.ready() == watch.ready() == [path]
    watch.judged(str(path))
    assert watch.ready() == []
    path.write_bytes(b"12")
    watch.ready()
    clock.wait(1)
    assert watch.ready() == [path]


def test_only_visible_images_count_and_the_oldest_comes_first(watch: FolderWatch, belt: Path, clock: Clock) -> None:
    (belt / "sub").mkdir()
    (belt / ".hidden").mkdir()
    names = ["b.PNG", "sub/a.jpg", "c.gif", ".d.png", "e.png.part", ".hidden/f.png", "g.txt"]
    for age, name in enumerate(names):
        (belt / name).write_bytes(b"1")
        os.utime(belt / name, (1000 - age, 1000 - age))
    (belt / "loop").symlink_to(belt, target_is_directory=True)
    watch.ready()
    clock.wait(1)
    assert [path.relative_to(belt).as_posix() for path in watch.ready()] == ["c.gif", "sub/a.jpg", "b.PNG"]


def test_a_renamed_file_is_complete(watch: FolderWatch, belt: Path, clock: Clock) -> None:
    (belt / "a.tmp").write_bytes(b"1")
    assert watch.ready() == []
    (belt / "a.tmp").rename(belt / "a.png")
    watch.ready()
    clock.wait(0.2)
    assert watch.ready() == [belt / "a.png"]


def test_a_restart_judges_nothing_twice_however_the_folder_is_given(
    belt: Path, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    (belt / "a\udcff.png").write_bytes(b"1")
    (belt / "b.png").write_bytes(b"1")
    with closing(JudgedFiles(tmp_path / "record")) as judged:
        watch = FolderWatch(belt, judged, clock)
        watch.ready()
        clock.wait(1)
        watch.judged(str(watch.ready()[0]))
    with (tmp_path / "record").open("a") as file:
        file.write('["b.png", 1')  # the process was killed while it wrote
    monkeypatch.chdir(tmp_path)
    with closing(JudgedFiles(tmp_path / "record")) as judged:
        watch = FolderWatch(Path("belt"), judged, clock)
        watch.ready()
        clock.wait(1)
        assert len(watch.ready()) == 1
        watch.judged(str(watch.ready()[0]))
    assert len((tmp_path / "record").read_text().splitlines()) == 2


@pytest.mark.hostile
def test_a_damaged_file_is_reported_once(watch: FolderWatch, belt: Path, clock: Clock) -> None:
    path = belt / "a.png"
    path.write_bytes(b"1")
    watch.ready()
    clock.wait(1)
    assert watch.ready() == [path] and not watch.is_damaged(str(path))
    clock.wait(1)
    assert watch.ready() == [path] and watch.is_damaged(str(path))
    assert watch.ready() == []


def test_a_file_that_has_gone_is_not_damaged(watch: FolderWatch, belt: Path, clock: Clock) -> None:
    path = belt / "a.png"
    path.write_bytes(b"1")
    watch.ready()
    clock.wait(9)
    assert watch.ready() == [path]
    path.unlink()
    assert not watch.is_damaged(str(path)) and watch.ready() == []


def test_a_folder_that_has_gone_is_waited_for(watch: FolderWatch, belt: Path) -> None:
    belt.rename(belt.with_name("other"))
    with pytest.warns(UserWarning, match="cannot be read .*; waiting for it"):
        assert watch.ready() == []
    belt.with_name("other").rename(belt)
    assert watch.ready() == []


def test_many_records_of_files_that_are_gone_are_dropped(
    watch: FolderWatch, judged: JudgedFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MANY", 3)
    for k in range(3):
        judged.add(f"{k}.png", Mark(1, 1))
    watch.ready()
    assert len(judged.marks) == 3
    judged.add("3.png", Mark(1, 1))
    watch.ready()
    assert not judged.marks


def test_a_folder_that_cannot_be_written_is_watched_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="so a restart will judge the files of this folder again"):
        judged = JudgedFiles(tmp_path / "file" / "record")
    judged.add("a.png", Mark(1, 1))
    assert judged.marks == {"a.png": Mark(1, 1)}
    judged.close()


def run(watch: FolderWatch, detector: Detector, clock: Clock, polls: list[Callable[[], object]]) -> list[str]:
    """Watch, and call one of `polls` in each pause; return what happened."""
    events: list[str] = []
    waiting = iter(polls)

    def sleep(seconds: float) -> None:
        clock.wait(seconds)
        try:
            next(waiting)()
        except StopIteration:
            raise KeyboardInterrupt from None

    with pytest.raises(KeyboardInterrupt):
        judge_new_files(
            detector,
            watch,
            lambda finding: events.append(f"{Path(finding.name).name} {finding.alarm}"),
            lambda name, error: events.append(f"{Path(name).name} damaged"),
            sleep=sleep,
        )
    return events


def nothing() -> None:
    """Let one pause pass."""


def test_a_slow_camera(watch: FolderWatch, belt: Path, clock: Clock, detector_file: Path) -> None:
    Image.fromarray(parts(1, spot=True)[0]).save(belt.with_name("spot.png"))
    data = belt.with_name("spot.png").read_bytes()

    def write(name: str, content: bytes) -> Callable[[], object]:
        return lambda: (belt / name).write_bytes(content)

    stalls = [write("a.png", data[:500]), *[nothing] * 5, write("a.png", data), *[nothing] * 3]
    cut = [write("b.png", data[:500]), *[nothing] * 15, write("b.png", data), *[nothing] * 3]
    events = run(watch, Detector.load(detector_file), clock, stalls + cut)
    assert events == ["a.png True", "b.png damaged", "b.png True"]


def test_an_image_waits_at_most_a_second(watch: FolderWatch, belt: Path, clock: Clock, detector_file: Path) -> None:
    written: list[float] = []
    Image.fromarray(parts(1)[0]).save(belt.with_name("a.png"))

    def write() -> None:
        belt.with_name("a.png").rename(belt / "a.png")
        written.append(clock.now)

    assert run(watch, Detector.load(detector_file), clock, [nothing, write, nothing, nothing]) == ["a.png False"]
    assert clock.now - written[0] < 1


def test_each_detector_has_a_record_of_its_own(belt: Path, detector_file: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"1")
    first, other = record_path(belt, detector_file), record_path(belt, tmp_path / "other")
    assert first != other and first.parent == belt and first.name[0] == "."


def test_a_pause_is_a_fifth_of_a_second_and_longer_where_a_listing_takes_long(
    watch: FolderWatch, clock: Clock, detector_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    listings = iter((0.0, 0.03, 1.0))
    monkeypatch.setattr(watch, "ready", lambda: clock.wait(next(listings)) or [])

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge_new_files(Detector.load(detector_file), watch, lambda _: None, lambda *_: None, sleep=sleep)
    assert pauses == pytest.approx([0.2, 0.24, 0.4])


def test_the_folder_is_listed_again_at_once_where_more_files_wait(
    watch: FolderWatch, belt: Path, clock: Clock, detector_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "AT_ONCE", 2)
    for k, picture in enumerate(parts(3)):
        Image.fromarray(picture).save(belt / f"{k}.png")
    watch.ready()
    clock.wait(1)
    events: list[object] = []

    def sleep(seconds: float) -> None:
        events.append(seconds)
        if len(events) == 5:
            raise KeyboardInterrupt

    def add(finding: Finding) -> None:
        events.append(Path(finding.name).name)

    with pytest.raises(KeyboardInterrupt):
        judge_new_files(Detector.load(detector_file), watch, add, lambda *_: None, sleep=sleep)
    assert events == ["0.png", "1.png", 0.0, "2.png", 0.2]


@pytest.mark.parametrize(("aspect", "width"), [(2.0, 20), (None, 5), (0.01, 1)])
def test_the_first_image_is_black_and_of_the_shape_of_the_training(aspect: float | None, width: int) -> None:
    judged: list[np.ndarray] = []

    def findings(images: list[np.ndarray]) -> Iterator[SimpleNamespace]:
        judged.extend(images)
        yield SimpleNamespace(regions=[])

    detector: Any = SimpleNamespace(size=(10, 5), scorer=SimpleNamespace(aspect=aspect), findings=findings)
    watching._warm_up(detector)
    (image,) = judged
    assert image.shape == (10, width, 3) and not image.any()

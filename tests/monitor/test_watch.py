"""`faultwatch watch` and what reads its session afterwards, as an operator uses them."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monitor import watch as watching
from monitor.errors import InputError, NoSession
from monitor.record import RecordReader, RecordWriter
from monitor.record.export import COLUMNS, TRACK_COLUMNS, export
from monitor.record.settling import RunningStatistics
from monitor.record.summary import as_json, summarise
from monitor.record.summary_text import as_text
from monitor.settings import WatchSettings, load_settings
from monitor.sources.choose import choose_source
from monitor.statistics.estimate_course import ESTIMAND, Estimator

WriteFrame = Callable[..., Path]
WaitFor = Callable[..., None]


def faultwatch(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "faultwatch", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd)


@pytest.mark.slow
def test_watch_summary_export_replay(write_frame: WriteFrame, tmp_path: Path) -> None:
    """Files that are there, to the end of the session, and everything that can be asked of it then."""
    (tmp_path / "in").mkdir()
    for i in range(3):
        write_frame(tmp_path / "in" / f"{i}.tif", i)
    write_frame(tmp_path / "in" / "unknown.tif", 9, pixel_size_nm=None)
    done = faultwatch("watch", "in", "--no-dashboard", "--until-idle", "0.5", "--session", "s", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ready" in done.stdout
    assert str(tmp_path / "s") in done.stdout
    assert "4 arrived = 3 analysed + 0 queued + 1 rejected + 0 dropped" in done.stdout
    assert "no pixel size in the file" in done.stderr
    assert "no pixel size in the file" in (tmp_path / "s" / "session.log").read_text()

    said = json.loads(faultwatch("summary", "s", "--json", cwd=tmp_path).stdout)
    assert said["ledger"] == {"arrived": 4, "analysed": 3, "queued": 0, "rejected": 1, "dropped": 0}
    assert set(said["latency_ms"]) == {"p50", "p95", "p99"}
    assert "4 arrived = 3 analysed" in faultwatch("summary", "s", cwd=tmp_path).stdout

    table = faultwatch("export", "s", "--to", "table.csv", cwd=tmp_path)
    assert table.returncode == 0, table.stderr
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(said["sightings"].values())

    again = faultwatch("replay", "s", "--session", "again", "--speed", "max", "--no-dashboard", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    replayed = summarise(tmp_path / "again")
    for same in ("ledger", "reasons", "sightings", "fraction", "bundle"):
        assert replayed[same] == said[same], same


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C in another way")
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly(
    write_frame: WriteFrame, wait_for: WaitFor, tmp_path: Path, by: signal.Signals
) -> None:
    (tmp_path / "in").mkdir()
    for i in range(2):
        write_frame(tmp_path / "in" / f"{i}.tif", i)
    command = [sys.executable, "-m", "faultwatch", "watch", "in", "--no-dashboard", "--session", "s"]
    with (tmp_path / "out").open("w+") as out:
        # A group of its own: Ctrl-C reaches the workers too, as it does from a terminal.
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=tmp_path, start_new_session=True)
        try:
            wait_for(lambda: "ready" in (tmp_path / "out").read_text(), 60)
            os.killpg(process.pid, by) if by == signal.SIGINT else process.send_signal(by)
            assert process.wait(30) == 0, (tmp_path / "out").read_text()
        finally:
            process.kill()
    assert "Traceback" not in (tmp_path / "out").read_text()
    ledger = summarise(tmp_path / "s")["ledger"]
    assert ledger["analysed"] + ledger["queued"] == ledger["arrived"] == 2
    with RecordWriter(tmp_path / "s"):  # the lock is free
        pass
    assert [source["state"] for source in summarise(tmp_path / "s")["sources"]] == ["closed"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["watch", "missing"], "missing is no directory"),
        (["watch", "http://x:1"], "an address begins with"),
        (["watch", ".", "--bundle", "nothing"], "nothing is no bundle"),
        (["summary", "."], "holds no session"),
        (["export", ".", "--to", "a.csv"], "holds no session"),
        (["replay", ".", "--speed", "max"], "holds no session"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, arguments: list[str], said: str) -> None:
    more = ["--no-dashboard", "--session", "s"] if arguments[0] == "watch" else []
    done = faultwatch(*arguments, *more, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_nothing_to_watch_is_said() -> None:
    with pytest.raises(InputError, match="nothing to watch"):
        watching.watch(WatchSettings(), dashboard=lambda folder: None)


def test_new_sessions_get_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = watching.new_session_folder()
    assert first.parent == Path("sessions")
    first.mkdir(parents=True)
    assert watching.new_session_folder() != first


def test_settings_come_from_file_then_environment_then_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faultwatch.toml").write_text('workers = 1\nport = 1111\nkeep = 20\nmaterial = "Au"\n')
    monkeypatch.setenv("FAULTWATCH_PORT", "2222")
    monkeypatch.setenv("FAULTWATCH_MATERIAL", "CdSe")
    settings = load_settings(sources=["a"], material="ZnS", workers=None)
    assert (settings.workers, settings.port, settings.keep, settings.material) == (1, 2222, 20.0, "ZnS")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"workers": 0}, "workers: .*greater than 0"),
        ({"pixel_size": -1.0}, "pixel-size: .*greater than 0"),
        ({"keep": "some"}, "keep: "),
        ({"device": "tpu"}, "device: "),
        ({"colour": "red"}, "colour: "),
    ],
)
def test_settings_that_can_not_be_are_said(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_settings(**given)


def test_a_damaged_settings_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faultwatch.toml").write_text("port = = 1")
    with pytest.raises(InputError, match=r"faultwatch\.toml can't be read"):
        load_settings()


def test_a_session_is_no_directory_of_frames(tmp_path: Path) -> None:
    frames, other = tmp_path / "frames", tmp_path / "other"
    frames.mkdir()
    with pytest.raises(InputError, match="can't hold the session"):
        watching.watch(WatchSettings(sources=[str(frames)], session=frames), dashboard=lambda folder: None)
    assert not any(frames.iterdir())
    RecordWriter(other).close()
    with pytest.raises(InputError, match="is a session, not a directory of frames"):
        choose_source(str(other), WatchSettings(), tmp_path / "spool").open([])


def test_a_setting_in_the_environment_that_can_not_be_read_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAULTWATCH_SOURCES", "no list")
    with pytest.raises(InputError, match="the environment can't be read"):
        load_settings()


def test_secrets_are_not_kept() -> None:
    kept = WatchSettings(curve_secret_key="k" * 40).kept()
    assert "curve_secret_key" not in kept
    assert json.loads(json.dumps(kept))["keep"] == "all"


def test_a_file_grows_quiet_the_later_the_larger_it_is() -> None:
    settings = WatchSettings()
    assert settings.quiet_time(10**6) < 1 < settings.quiet_time(10**10)


@pytest.fixture
def session(record: RecordWriter, finished: Callable[..., Any]) -> Path:
    """A recorded session of two frames and three particles."""
    from monitor.frames import FrameRef

    for i, classes in enumerate([("yes", "no"), ("null",)], 1):
        record.take(1, FrameRef(Path(f"/data/{i}.tif"), 0, content=str(i)), at=float(i))
        record.finish(i, 0, finished(*classes), lambda: 3.0)
    RunningStatistics(record, Estimator({}), lambda: 0.0).settle(final=True)
    return record.folder


def test_a_table_has_a_row_a_sighting_and_units_in_its_names(session: Path, tmp_path: Path) -> None:
    assert export(session, tmp_path / "t.csv") == 3
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*COLUMNS, "feature_sharpness"]
    assert [row["class"] for row in rows] == ["yes", "no", "null"]
    assert (rows[0]["path"], rows[0]["diameter_nm"], rows[0]["p_yes"]) == ("/data/1.tif", "3.0", "0.4")
    assert export(session, tmp_path / "tracks.csv", tracks=True) == 3
    with (tmp_path / "tracks.csv").open(newline="") as file:
        tracks = list(csv.DictReader(file))
    assert list(tracks[0]) == list(TRACK_COLUMNS)
    assert [(row["track"], row["class"], row["counted_sightings"]) for row in tracks] == [
        ("1", "yes", "1"), ("2", "no", "1"), ("3", "null", "1"),
    ]  # fmt: skip


def test_parquet_holds_what_csv_holds(session: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra `parquet` is not installed")
    count = export(session, tmp_path / "t.csv")
    assert export(session, tmp_path / "t.parquet") == count
    table = parquet.read_table(tmp_path / "t.parquet")
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert table.schema.names == list(rows[0])
    assert [str(value) for value in table["class"].to_pylist()] == [row["class"] for row in rows]
    assert table["diameter_nm"].to_pylist() == [float(row["diameter_nm"]) for row in rows]


def test_an_empty_session_is_an_empty_table(record: RecordWriter, tmp_path: Path) -> None:
    assert export(record.folder, tmp_path / "t.csv") == 0
    assert (tmp_path / "t.csv").read_text().strip() == ",".join(COLUMNS)


def test_tables_that_can_not_be_are_said(
    session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"is written as \.csv or \.parquet"):
        export(session, tmp_path / "t.xlsx")
    with pytest.raises(InputError, match="can't be written"):
        export(session, tmp_path / "missing" / "t.csv")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install pyarrow"):
        export(session, tmp_path / "t.parquet")


def test_the_summary_of_nothing(record: RecordWriter) -> None:
    said = summarise(record.folder)
    assert said["fraction"] == {
        "counted": None,
        "corrected": None,
        "interval": None,
        "level": 0.95,
        "tracks": 0,
        "effective": None,
        "estimand": ESTIMAND,
        "reason": None,
    }
    assert said["alarms"] == said["by_size"] == said["by_field"] == []
    assert said["always"] is None
    assert said["labels"] == {"count": 0, "waiting": 0, "kappa": None, "kappa_interval": None, "by_two": 0}
    assert said["latency_ms"] == {"p50": None, "p95": None, "p99": None}
    assert json.loads(as_json(said)) == said
    assert "none yet" in as_text(said)


def test_the_summary_of_a_session(session: Path) -> None:
    said = summarise(session)
    assert said["sightings"] == {"empty": 0, "null": 1, "no": 1, "yes": 1}
    assert said["fraction"]["tracks"] == 2
    assert "particles of 3.0 to 3.0 nm whose stacking is resolved" in said["fraction"]["estimand"]
    text = as_text(said)
    assert "2 arrived = 2 analysed + 0 queued + 0 rejected + 0 dropped" in text
    assert "each particle once" in text


def test_no_session_no_summary(tmp_path: Path) -> None:
    with pytest.raises(NoSession):
        summarise(tmp_path)
    with pytest.raises(NoSession):
        RecordReader(tmp_path / "missing")

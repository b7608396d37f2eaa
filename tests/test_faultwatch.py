"""The front door: help, exit statuses, sentences instead of tracebacks."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest

import faultwatch
from monitor.errors import InputError

COMMANDS = [
    "watch", "demo", "replay", "dashboard", "analyse", "summary", "export", "report", "microscope", "simulate",
    "train", "evaluate", "bench",
]  # fmt: skip


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "faultwatch", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_help_answers_within_a_second():
    best = 9.0
    for _ in range(3):  # other programs may have the processor for a moment
        began = time.perf_counter()
        done = _run("--help")
        best = min(best, time.perf_counter() - began)
        if best < 1:
            break
    assert done.returncode == 0
    assert all(command in done.stdout for command in COMMANDS)
    assert best < 1


def test_help_imports_nothing_heavy():
    code = (
        "import sys, faultwatch\n"
        "try: faultwatch.main(['watch', '--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('numpy', 'torch', 'cv2', 'scipy', 'bokeh', 'h5py') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("command", [[name] for name in COMMANDS] + [["train", "unet"], ["train", "forest"]])
def test_every_option_has_its_help(command, capsys):
    with pytest.raises(SystemExit) as caught:
        faultwatch.main([*command, "--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: faultwatch {' '.join(command)}")


def test_no_option_lacks_its_help():
    waiting = [faultwatch.parser()]
    looked_at = 0
    while waiting:
        for action in waiting.pop()._actions:
            if isinstance(action.choices, dict):
                waiting += action.choices.values()
            else:
                assert action.help, action
                looked_at += 1
    assert looked_at > 60


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["frobnicate"], ["watch"], ["analyse"], ["analyse", "--pixel-size", "0", "a.tif"],
        ["analyse", "--pixel-size", "nan", "a.tif"], ["watch", "d", "--port", "70000"],
        ["watch", "d", "--workers", "0"], ["watch", "d", "--workers", "1.5"], ["analyse", "--pixel-size", "x", "a.tif"],
        ["microscope", "d", "--size", "100000"], ["watch", "d", "--keep", "some"], ["watch", "d", "--until-idle", "-1"],
        ["replay", "s", "--speed", "0"], ["export", "s"], ["train"], ["analyse", "a.tif", "--device", "tpu"],
    ],
)  # fmt: skip
def test_wrong_usage_is_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        faultwatch.main(arguments)
    assert caught.value.code == 2
    assert "usage: faultwatch" in capsys.readouterr().err


@pytest.mark.parametrize(
    "contradiction",
    [["--fields", "3", "--frames", "10"], ["--story", "eventful", "--frames", "10"]],
)
def test_an_order_at_odds_with_itself_is_2(contradiction, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert faultwatch.main(["microscope", "d", *contradiction]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["analyse", "none.tif"], ["analyse", "."], ["summary", "none"], ["export", "none", "--to", "a.csv"],
        ["report", "none", "--to", "r.html"],
        ["replay", "none", "--no-dashboard"], ["watch", "none", "--no-dashboard"],
        ["analyse", "a.npy", "--bundle", "none"], ["analyse", "a.npy", "--material", "unobtainium"],
        ["watch", ".", "--session", "a.npy", "--no-dashboard"], ["demo", "--session", "a.npy", "--no-browser"],
        ["watch", f"tcp://{'a' * 80}:5555", "--no-dashboard"], ["microscope", "tcp://no-port", "--frames", "1"],
        ["microscope", "a.npy", "--frames", "1"], ["simulate", "a.npy", "--specimens", "1"],
        ["microscope", "d", "--story", "thrilling"], ["microscope", "d", "--story", "none.json"],
        ["simulate", "d", "--preset", "none"], ["simulate", "d", "--materials", "fcc:Xx:0.4"],
        ["simulate", "d", "--background", "."], ["simulate", ".", "--preset", "library"],
        ["simulate", "d.h5", "--preset", "library", "--materials", "fcc:Xx:0.4"],
        ["microscope", "d", "--library", "none.h5"], ["microscope", "d", "--field-icc", "1"],
        ["evaluate", "--data", "none"], ["train", "unet", "--data", "none", "--out", "a.npy"],
        ["train", "forest", "--data", "none", "--unet", "none", "--out", "b"],
        ["train", "unet", "--data", "none", "--out", "b", "--gently"],
        ["train", "unet", "--data", "none", "--out", "b", "--real", "none=0.05"],
        ["train", "unet", "--out", "b"], ["train", "unet", "--stream", "--data", "none", "--out", "b"],
    ],
)  # fmt: skip
def test_wrong_input_is_one_sentence_and_1(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if "a.npy" in arguments:
        np.save("a.npy", np.arange(4096).reshape(64, 64))
    assert faultwatch.main(arguments) == 1
    said = capsys.readouterr().err
    assert said.startswith("faultwatch: ")
    assert said.count("\n") == 1
    assert "Errno" not in said


@pytest.mark.parametrize("command", [["summary"], ["export", "--to", "a.csv"], ["replay", "--no-dashboard"]])
def test_a_record_without_its_tables_is_one_sentence(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s").mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / "s" / "session.sqlite")) as db:
        db.execute("PRAGMA user_version = 1")
    assert faultwatch.main([*command, "s"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("faultwatch: s: the record can't be used (no such table")
    assert said.count("\n") == 1


def test_a_reason_has_its_file_before_it(monkeypatch, tmp_path, capsys):
    def fail(*_: object, **__: object) -> int:
        raise InputError("it is no picture", path=tmp_path / "a.tif")

    monkeypatch.setattr("monitor.workers.oneshot.analyse", fail)
    assert faultwatch.main(["analyse", "a.tif"]) == 1
    assert capsys.readouterr().err == f"faultwatch: {tmp_path / 'a.tif'}: it is no picture\n"


def test_ctrl_c_is_quiet(monkeypatch, capsys):
    def interrupt(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("monitor.workers.oneshot.analyse", interrupt)
    assert faultwatch.main(["analyse", "a.tif"]) == 130
    assert capsys.readouterr().err == ""


def test_analyse_in_a_process_of_its_own(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", rng.poisson(100, (96, 96)).astype(np.uint16))
    (tmp_path / "b.dm4").write_bytes(b"no such thing at all")
    done = _run(
        "analyse", str(tmp_path), "--json", "--pixel-size", "0.05", "--masks", str(tmp_path / "masks")
    )
    assert done.returncode == 0
    assert done.stderr == ""
    good, bad = (json.loads(line) for line in done.stdout.splitlines())
    assert good["shape"] == [96, 96]
    assert bad["index"] is None
    assert (tmp_path / "masks" / "a.tif").is_file()


def test_the_reader_of_the_output_may_leave(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(4096).reshape(64, 64))
    command = [sys.executable, "-m", "faultwatch", "analyse", *[str(tmp_path / "a.npy")] * 3]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) in (0, 1)


@pytest.mark.parametrize("how", ["closed", "terminated"])
def test_the_page_ends_with_the_session_that_began_it(tmp_path, how: str) -> None:
    """Also with one that is killed: what holds the page's input open is gone then."""
    command = [sys.executable, "-m", "faultwatch", "dashboard", str(tmp_path)]
    page = subprocess.Popen(
        [*command, "--port", "0", "--no-browser", "--until-closed"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert page.stdin is not None
    assert page.stdout is not None
    try:
        assert page.stdout.readline().startswith("the page is at http://127.0.0.1:")
        assert page.poll() is None
        if how == "terminated":
            page.terminate()
        else:
            page.stdin.close()
        assert page.wait(timeout=20) == 0
        assert page.stdout.read() == ""
    finally:
        page.kill()
        page.wait()
        page.stdin.close()
        page.stdout.close()

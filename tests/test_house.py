"""The house keeps its rules: sizes, tests where the code is, documents that name real places."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("models", "monitor", "sim", "dashboard")
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def python_files() -> Iterator[Path]:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    yield from (ROOT / name for name in listed.stdout.splitlines())


def test_no_file_and_no_function_is_too_long() -> None:
    found = []
    for path in python_files():
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > LONGEST_FILE:
            found.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                lines = node.end_lineno - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    found.append(f"{path.relative_to(ROOT)}: {node.name} has {lines} lines")
    assert found == []


@pytest.mark.parametrize("room", ROOMS)
def test_tests_lie_where_the_code_lies(room: str) -> None:
    for folder in (ROOT / "tests" / room).rglob("test_*.py"):
        mirrored = ROOT / folder.parent.relative_to(ROOT / "tests")
        assert mirrored.is_dir(), f"{folder.relative_to(ROOT)} mirrors no folder"


def test_every_module_that_judges_a_frame_is_held_by_the_contract() -> None:
    """A new file at the top of models/ is in the contract that keeps training out of it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (
        one
        for one in settings["tool"]["importlinter"]["contracts"]
        if one["name"].startswith("What judges a frame")
    )
    apart = {name.removeprefix("models.") for name in contract["forbidden_modules"]}
    there = {path.stem for path in (ROOT / "models").glob("*.py") if path.stem != "__init__"}
    there |= {path.parent.name for path in (ROOT / "models").glob("*/__init__.py")} - apart
    assert {name.removeprefix("models.") for name in contract["source_modules"]} == there


def test_the_architecture_names_places_that_exist() -> None:
    named = set(
        re.findall(
            r"`((?:models|monitor|sim|dashboard|tests|docs|examples)/[\w./*-]*|\w+\.py)`", ARCHITECTURE
        )
    )
    assert len(named) > 40
    missing = [name for name in sorted(named) if "*" not in name and not (ROOT / name).exists()]
    assert missing == []


def test_the_architecture_names_functions_that_exist() -> None:
    """Every `module.function` of the four walks is defined where it says."""
    named = set(re.findall(r"`((?:models|monitor|sim|dashboard)(?:\.\w+)+)`", ARCHITECTURE))
    assert len(named) > 20
    for name in sorted(named):
        parts = name.split(".")
        module = next(
            (
                ROOT.joinpath(*parts[:n]).with_suffix(".py")
                for n in range(len(parts), 0, -1)
                if ROOT.joinpath(*parts[:n]).with_suffix(".py").is_file()
            ),
            None,
        )
        assert module is not None, f"{name}: there is no such module"
        rest = parts[len(module.relative_to(ROOT).with_suffix("").parts) :]
        text = module.read_text(encoding="utf-8")
        for inner in rest:
            assert re.search(rf"^\s*(?:def|class) {inner}\b|^{inner}\b", text, re.M), (
                f"{name}: {inner} is not there"
            )

"""How a study tells its figures: tables in a terminal or for a document, and all of them as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from models.evaluation.tables import Table


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """The options `--json` and `--markdown`."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="gets all figures")
    parser.add_argument("--markdown", action="store_true", help="print the tables for a document")


def show(tables: Iterable[Table], options: argparse.Namespace) -> None:
    """Print tables as `--markdown` asks."""
    for table in tables:
        print("\n" + (table.as_markdown() if options.markdown else table.as_text()))


def write(result: dict[str, Any], options: argparse.Namespace) -> None:
    """Write everything where `--json` asks."""
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))

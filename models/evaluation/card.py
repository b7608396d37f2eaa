"""The model card's figures as Markdown, so that none is typed by hand: `python -m models.evaluation.card
BUNDLE EVALUATION.json`.

EVALUATION.json is what `faultwatch evaluate --json` prints.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from models.bundle import describe
from models.errors import ModelError
from models.evaluation.tables import notes, tables


def card(bundle: Path | None, evaluation: dict[str, Any]) -> str:
    """The evaluation's part of the card.

    Raises
    ------
    ModelError
        The evaluation is of another bundle.
    """
    identity, details = describe(bundle)
    if evaluation.get("bundle") != identity:
        raise ModelError(f"the evaluation is of {evaluation.get('bundle')}, the bundle is {identity}")
    blocks = [
        f"`{identity}`, version {details.get('version', 1)}, licence {details['licence']}; "
        f"judged with `{evaluation.get('backend', 'no backend')}` on {evaluation.get('source', 'real frames')}."
    ]
    if "parent" in details:
        blocks.append(f"Made from `{details['parent']}`.")
    data = details["unet"].get("training", {}).get("data", {})
    settings = details["unet"].get("training", {}).get("settings", {})
    if data:
        blocks.append(
            f"Trained on {data['images']:,} images (SHA-256 `{data['digest']}`), seed {settings.get('seed')}."
        )
    for name, form in details["metrics"].get("backends", {}).items():
        blocks.append(
            f"`{name}`: Dice {form['dice']:.4f} on validation, {form['ms']:.0f} ms for a frame of 512²."
        )
    blocks += notes(evaluation)
    return "\n\n".join([*blocks, *(table.as_markdown() for table in tables(evaluation))]) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Print the card's part; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m models.evaluation.card", description="The model card's figures."
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("evaluation", type=Path, metavar="EVALUATION.json")
    options = parser.parse_args(arguments)
    try:
        print(card(options.bundle, json.loads(options.evaluation.read_text())), end="")
    except (ModelError, OSError, json.JSONDecodeError) as error:
        parser.exit(1, f"{error}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

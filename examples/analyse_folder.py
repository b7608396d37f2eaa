"""Analyse a folder of frames into a pandas table, a row a particle.

python examples/analyse_folder.py FOLDER --pixel-size 0.05
"""

import argparse
import json
import subprocess
import sys

import pandas as pd


def particles_of(folder: str, *options: str) -> pd.DataFrame:
    """One row a particle: frame, class, probabilities, size [nm]; rejected frames are told on stderr."""
    command = [sys.executable, "-m", "faultwatch", "analyse", folder, "--json", *options]
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    frames = [json.loads(line) for line in lines]
    for frame in frames:
        if "rejected" in frame:
            print(f"{frame['frame']}: {frame['rejected']}", file=sys.stderr)
    rows = [
        {"frame": frame["frame"], "index": frame["index"], **particle}
        for frame in frames
        for particle in frame.get("particles", [])
    ]
    return pd.json_normalize(rows)


def main() -> None:
    """Print the table, and the number of particles of each class."""
    parser = argparse.ArgumentParser(description="Analyse a folder into a table.")
    parser.add_argument("folder")
    parser.add_argument("--pixel-size", help="of frames that do not say theirs [nm/px]")
    options = parser.parse_args()
    more = [] if options.pixel_size is None else ["--pixel-size", options.pixel_size]
    table = particles_of(options.folder, *more)
    if table.empty:
        print("no particle was found")
        return
    print(table[["frame", "class", "probabilities.yes", "diameter_nm", "abstained"]].to_string(index=False))
    print(table["class"].value_counts().to_string())


if __name__ == "__main__":
    main()

"""HyperSpy files: `Experiments/<name>/data`, with a group of attributes for each axis, `axis-0` ..."""

from __future__ import annotations

import h5py

from monitor.read.formats.hdf5.arrays import stack_signal
from monitor.read.formats.hdf5.attributes import all_attributes, attributes, number, word
from monitor.read.signals import Axis, Signal


def signals(file: h5py.File) -> list[Signal]:
    """The arrays of all experiments; none where the file has no `Experiments`."""
    found = []
    experiments = file.get("Experiments")
    for name, group in experiments.items() if isinstance(experiments, h5py.Group) else ():
        data = group.get("data") if isinstance(group, h5py.Group) else None
        if not isinstance(data, h5py.Dataset):
            continue
        axes: list[tuple[str, Axis]] = []
        in_signal: list[int] = []
        for i in range(data.ndim):
            axis = group.get(f"axis-{i}", group.get(f"_list_{data.ndim}_axes/axis-{i}"))
            about = attributes(axis) if isinstance(axis, h5py.Group) else {}
            axes.append(
                (
                    word(about.get("name")) or "",
                    Axis(number(about.get("scale")), word(about.get("units")), "the axes' scale"),
                )
            )
            if not about.get("navigate", i < data.ndim - 2):
                in_signal.append(i)
        spectra = "it is a spectrum or a map of spectra, not an image" if len(in_signal) == 1 else None
        pair = (in_signal[0], in_signal[1]) if len(in_signal) == 2 else None
        found.append(
            stack_signal(
                data, axes, str(name), all_attributes(file), transposed=False, refusal=spectra, pair=pair
            )
        )
    return found

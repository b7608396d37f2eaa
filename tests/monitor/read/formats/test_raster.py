"""PNG and JPEG pictures: modes, palettes, dots per inch."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from monitor.errors import UnreadableFrame
from monitor.read import open_frames


def _read(path):
    with open_frames(path) as file:
        return file.frame(0)


@pytest.mark.parametrize("mode", ["P", "LA", "RGBA", "1", "I;16", "L"])
def test_modes_of_png(mode, picture, tmp_path):
    grey = picture(1, dtype="u1")[0]
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 100)
        expected = grey.astype(np.uint16) * 100
    elif mode == "1":
        image, expected = Image.fromarray(grey > 100), grey > 100
    else:
        image, expected = Image.fromarray(grey).convert(mode), grey
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(_read(tmp_path / "a.png").pixels, expected)


def test_coloured_palette_is_refused(tmp_path):
    image = Image.fromarray(np.arange(1024, dtype=np.uint8).reshape(32, 32), mode=None).convert("P")
    image.putpalette([value for i in range(256) for value in (i, 255 - i, 0)])
    image.save(tmp_path / "a.png")
    with pytest.raises(UnreadableFrame, match="coloured"):
        _read(tmp_path / "a.png")


@pytest.mark.parametrize("dpi", [72, 300])
def test_dots_per_inch_of_png_and_jpeg(dpi, picture, tmp_path):
    for suffix in (".png", ".jpg"):
        Image.fromarray(picture(1, dtype="u1")[0]).save(tmp_path / f"a{suffix}", dpi=(dpi, dpi))
        assert _read(tmp_path / f"a{suffix}").pixel_size_nm is None

"""Parts of frames, spectra, thumbnails: what is in them, and by which routes they come."""

import base64
import http.client
import io
import json
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

from dashboard.inspecting import Filed
from dashboard.pictures import part, power_spectrum
from dashboard.routes_pictures import asked_box
from tests.dashboard.filed import file_frame, stripes


def fringes(per_nm: float, side: int = 400, pixel_nm: float = 0.03) -> np.ndarray:
    """Fringes down the frame."""
    rows = np.arange(side)[:, None] * pixel_nm
    noise = np.random.default_rng(0).normal(0, 10, (side, side))
    return (1000 + 100 * np.cos(2 * np.pi * per_nm * rows) + noise).astype(np.float32)


def test_a_part_has_the_grey_of_the_whole_frame() -> None:
    pixels = np.zeros((400, 300), np.uint16)
    pixels[:200] = 1000
    assert set(np.unique(part(pixels, (0, 0, 100, 100), 2048))) == {
        255
    }  # though there is nothing darker in it
    small = part(pixels, (100, 0, 300, 300), 150)
    assert small.shape == (100, 150)
    assert (small[0, 0], small[-1, 0]) == (255, 0)


@pytest.mark.parametrize("shape", [(400, 400), (401, 1500)])
def test_a_spectrum_has_its_spots_where_their_frequency_is(shape) -> None:
    found = power_spectrum(fringes(2.85, max(shape))[: shape[0], : shape[1]], 0.03)
    n = len(found.grey)
    row, col = np.unravel_index(
        np.argmax(np.where(np.arange(n)[:, None] > n // 2 + 4, found.grey, 0)), (n, n)
    )
    per_px = 2 * found.reach_per_nm / n
    assert (row - n // 2) * per_px == pytest.approx(2.85, abs=2 * per_px)
    assert abs(col - n // 2) <= 1
    assert found.reach_per_nm <= 10.1
    coarse = power_spectrum(fringes(0.5, pixel_nm=0.2), 0.2)
    assert coarse.reach_per_nm == pytest.approx(2.5, rel=0.02)  # half the sampling rate


def frame(**parts: object) -> Filed:
    values = {
        "frame_id": 1, "path": "a", "item": 0, "file_size": None, "file_mtime_ns": None, "height": 300, "width": 400,
        "pixel_size_nm": 0.03, "stamp": "s", "bundle": "b", "bundle_path": "p", "material": None, "movie": "frames",
    }  # fmt: skip
    return Filed(**(values | parts))


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "0,0,301,400", "0,0,300,401", "10,10,10,20", "-1,0,5,5", "0,0,1e3,5", "20,0,10,5"]
)
def test_what_is_no_part_of_a_frame_is_refused(text) -> None:
    assert asked_box(text, frame()) is None
    assert asked_box("0,0,300,400", frame()) == (0, 0, 300, 400)


def get(url: str) -> tuple[dict[str, str], bytes]:
    with urllib.request.urlopen(url, timeout=20) as reply:
        return dict(reply.headers), reply.read()


def picture(told: dict) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(told["picture"].split(",")[1]))))


def test_parts_spectra_and_thumbnails_by_their_routes(session, serving, tmp_path) -> None:
    frame_id = session.analysed("yes")
    path = tmp_path / "a.tif"
    file_frame(session, frame_id, path, stripes())
    stamp = session.db.execute("SELECT committed FROM results").fetchone()[0]
    with serving(session.directory) as server:
        region = f"{server.url}region/{frame_id}.json?box=100,100,200,220&side=512&v={round(stamp * 1000):x}"
        headers, body = get(region)
        told = json.loads(body)
        assert told["box"] == [100, 100, 200, 220]
        assert picture(told).shape == (100, 120)
        assert picture(told)[::2].mean() > 200 > 50 > picture(told)[1::2].mean()  # no preview shows that
        assert "immutable" in headers["Cache-Control"]
        _, body = get(f"{server.url}spectrum/{frame_id}.json")
        assert json.loads(body)["why"] is None

        path.unlink()
        assert json.loads(get(region)[1]) == told  # a moment ago, for other viewers
        headers, body = get(region.replace("100,100", "90,100"))
        assert "no longer there. The picture is the preview" in json.loads(body)["why"]
        assert "no-store" in headers["Cache-Control"]
        headers, body = get(f"{server.url}thumb/1.png?v=0")
        assert Image.open(io.BytesIO(body)).size == (72, 72)
        for bad in (
            "region/9.json?box=0,0,9,9", "region/1.json?box=0,0,999,9", "region/1.json?box=0,0,9,9&side=0",
            "spectrum/9.json", "thumb/9.png",
        ):  # fmt: skip
            with pytest.raises((urllib.error.HTTPError, http.client.HTTPException)):
                get(server.url + bad)


def test_a_spectrum_is_that_of_the_preview_where_the_file_is_gone(session, serving) -> None:
    frame_id = session.analysed("yes")
    with serving(session.directory) as server:
        told = json.loads(get(f"{server.url}spectrum/{frame_id}.json")[1])
        assert "no longer there. The spectrum is that of the preview" in told["why"]
        assert told["reach"] == pytest.approx(10, rel=0.02)
        session.db.execute("UPDATE results SET preview = NULL")
        told = json.loads(get(f"{server.url}spectrum/{frame_id}.json?again")[1])
        assert told["why"].endswith("There is no preview either.")

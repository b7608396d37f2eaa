"""What the tests of DECTRIS streams share: messages as the published interfaces have them, and a detector."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
import zmq
from hypothesis import strategies as st

Pack = Callable[..., bytes]
Parts = list[bytes | memoryview]

#: A series in Stream V2: start, four images of 24 × 20 pixels in two channels, end. Written by the published
#: specification with cbor2; the pixels were packed by the reference implementation of the HDF5 filters
#: (hdf5plugin) and checked with the vendor's library (dectris-compression). Base64.
_RECORDED = {
    "start": """
        tGR0eXBlZXN0YXJ0aGFybV9kYXRlwHggMjAyNC0wNS0wNlQxMDowMDowMC4wMDAwMDArMDI6MDBtYmVhbV9jZW50ZXJfePsAAAAA
        AAAAAGhjaGFubmVsc4JrdGhyZXNob2xkXzFrdGhyZXNob2xkXzJqY291bnRfdGltZfs/0AAAAAAAAHRkZXRlY3Rvcl9kZXNjcmlw
        dGlvbm5ERUNUUklTIFFVQURST3ZkZXRlY3Rvcl9zZXJpYWxfbnVtYmVyaUUtMDEtMDM1MHFmbGF0ZmllbGRfZW5hYmxlZPVqZnJh
        bWVfdGltZfs/0BBiTdLxqmxpbWFnZV9zaXplX3gUbGltYWdlX3NpemVfeRgYcG51bWJlcl9vZl9pbWFnZXMEanBpeGVsX21hc2uh
        a3RocmVzaG9sZF8x2CiCghgYFNhG2dy0g2Vic2x6NARYIgAAAAAAAAeAAAAgAAAAABIfAAEA/////////25QAAAAAABscGl4ZWxf
        c2l6ZV94+z8TqSowVTJhbHBpeGVsX3NpemVfefs/E6kqMFUyYXBzYXR1cmF0aW9uX3ZhbHVlGf/+aXNlcmllc19pZAdwc2VyaWVz
        X3VuaXF1ZV9pZHgaMDFIQ0VQN1BWWjhKR1FEUEdKOVM2R0RZM0JwdGhyZXNob2xkX2VuZXJneaJrdGhyZXNob2xkXzH7QK9AAAAA
        AABrdGhyZXNob2xkXzL7QL9AAAAAAABpdXNlcl9kYXRhoWhvcGVyYXRvcmLDhQ==
    """,
    "image_0": """
        qmR0eXBlZWltYWdlaXNlcmllc19pZAdwc2VyaWVzX3VuaXF1ZV9pZHgaMDFIQ0VQN1BWWjhKR1FEUEdKOVM2R0RZM0JoaW1hZ2Vf
        aWQAaXJlYWxfdGltZYIaAL68IBoC+vCAa3Nlcmllc19kYXRlwHggMjAyNC0wNS0wNlQxMDowMDowMS41MDAwMDArMDI6MDBqc3Rh
        cnRfdGltZYIAGgL68IBpc3RvcF90aW1lghoAvrwgGgL68IBpdXNlcl9kYXRh9mRkYXRhomt0aHJlc2hvbGRfMdgogoIYGBTYRdnc
        tINlYnNsejQCWQEMAAAAAAAAA8AAACAAAAAA/PQHqlKVqlSlKlWpSqpVrWpVq1rVqlZKVRYAJFa1FgAkVakWACTVqhYAo8xkJjOZ
        yUxmMpMHANOZzGRsZjOb2cxmNrOZBwAyzWxmGgAALAADBwDyEkxmMvCABzzgAQ94wAPDHva4hz3sYQ97b3jDG97whje84RoA9Cce
        8IAHhz/84Q9/+MMf/p7whCc84QlPeMIABzjAAQ5wgAMc/OAHP/jBD37wg49//OMf//jHP/4wACTwh2IANR7w4DMAGAABABIIDQDE
        EIAABCAAAQhAAAMemAAAcgAS8H0Akv/73//+97///S4AAwIAAzwADwIAIg88AP//NVAAAAAAAGt0aHJlc2hvbGRfMtgogoIYGBTY
        RdnctINlYnNsejQCWQEXAAAAAAAAA8AAACAAAAABB/QHValKVapSlapUpdWqVr2qVa1qVaulKhYAYKta1apWtRYAJKpUFgAkalUW
        APMPZjKTmcxkJjOZyZnMZC4zmclMZjI2s5nNbGYzm9nMBwAyZjazGgAALAADBwDyEiYzmXjAAx7wgAc84AFhD3vYwx72sIc9N7zh
        DW94wxve8BoA9CcPeMADwx/+8Ic//OEPf094whOe8IQnPOGAAxzgAAc4wAEOfvCDH/zgBz/4wcc//vGPf/zjH/8wACT4w2IANQ94
        cDMAGAABABIIDQChCEAAAhCAAAQgAHMAAZgAAHIAEfh9AKK///3vf//73//+LgADAgADPAAPAgAiDzwA//81UAAAAAAA
    """,
    "image_1": """
        qmR0eXBlZWltYWdlaXNlcmllc19pZAdwc2VyaWVzX3VuaXF1ZV9pZHgaMDFIQ0VQN1BWWjhKR1FEUEdKOVM2R0RZM0JoaW1hZ2Vf
        aWQBaXJlYWxfdGltZYIaAL68IBoC+vCAa3Nlcmllc19kYXRlwHggMjAyNC0wNS0wNlQxMDowMDowMS41MDAwMDArMDI6MDBqc3Rh
        cnRfdGltZYIaAL9/cBoC+vCAaXN0b3BfdGltZYIaAX47kBoC+vCAaXVzZXJfZGF0YfZkZGF0YaJrdGhyZXNob2xkXzHYKIKCGBgU
        2EbZ3LSDZWJzbHo0BFkBGgAAAAAAAAeAAAAgAAAAAQr0B1WpSlWqUpWqVKXVqla9qlWtalWrpSoWAGCrWtWqVrUWACSqVBYAJGpV
        FgDzD2Yyk5nMZCYzmcmZzGQuM5nJTGYyNrOZzWxmM5vZzAcAMmY2sxoAACwAAwcA8hImM5l4wAMe8IAHPOABYQ972MMe9rCHPTe8
        4Q1veMMb3vAaAPQnD3jAA8Mf/vCHP/zhD39PeMITnvCEJzzhgAMc4AAHOMABDn7wgx/84Ac/+MHHP/7xj3/84x//MAAk+MNiADUP
        eHAzABgAAQASCA0AoQhAAAIQgAAEIABzAAGYAAByABH4fQCiv//973//+9///i4AAwIAAzwADwIAIg88AP//////+FAAAAAAAGt0
        aHJlc2hvbGRfMtgogoIYGBTYRtnctINlYnNsejQEWQEVAAAAAAAAB4AAACAAAAABBfQHqlSlKlWpSlWqUmpVq1rVqla1qlVSlRYA
        JFWtFgAkVaoWACS1qhYA8w8zmclMZjKTmcxkTGYym5nMZCYzmZvZzGY2s5nNbGYHADIzm9kaAAAsAAMHAPISk5nMPOABD3jAAx7w
        gLCHPexhD3vYwx4b3vCGN7zhDW94GgD0Jwc84AHhD3/4wx/+8Ic/JzzhCU94whOe8MABDnCAAxzgAAc/+MEPfvCDH/zg4x//+Mc/
        /vGPfzAAJPzhYgA1Bzw4MwAJAQASCA0AoQQgAAEIQAACEIBzAAGYAAByABH8fQCi3//+97///e9//y4AAwIAAzwADwIAIg88AP//
        ////+FAAAAAAAA==
    """,
    "image_2": """
        qmR0eXBlZWltYWdlaXNlcmllc19pZAdwc2VyaWVzX3VuaXF1ZV9pZHgaMDFIQ0VQN1BWWjhKR1FEUEdKOVM2R0RZM0JoaW1hZ2Vf
        aWQCaXJlYWxfdGltZYIaAL68IBoC+vCAa3Nlcmllc19kYXRlwHggMjAyNC0wNS0wNlQxMDowMDowMS41MDAwMDArMDI6MDBqc3Rh
        cnRfdGltZYIaAX7+4BoC+vCAaXN0b3BfdGltZYIaAj27ABoC+vCAaXVzZXJfZGF0YfZkZGF0YaJrdGhyZXNob2xkXzHYKIKCGBgU
        2EDZ3LSDY2x6NABYbQAAAAAAAAHgAAAB4AAAAF2/AgMEBQYHCAkKAAELADJkCAkKCwwNVQAJCwAf/xYAAg8sAAMFFgAxDg8QnwA/
        CwwNCwAyBEoAPxESEwsAMgFKADEUFRafAA8LADBUFRYXGBlKAA8LACtQExQVFhdrdGhyZXNob2xkXzLYKIKCGBgU2EDZ3LSDY2x6
        NABYdQAAAAAAAAHgAAAB4AAAAGW/AwQFBgcICQoAAQILADJUCQoLDA1KAAoLABP/awAKFgAPLAADBRYAIQ8QnwBPCwwNDgsAMgCf
        AGQODxAREhNVAA8LACsASgA0FBUWVQAPCwAuQRYXGBmUAC8UFQsALVAUFRYXGA==
    """,
    "image_3": """
        qmR0eXBlZWltYWdlaXNlcmllc19pZAdwc2VyaWVzX3VuaXF1ZV9pZHgaMDFIQ0VQN1BWWjhKR1FEUEdKOVM2R0RZM0JoaW1hZ2Vf
        aWQDaXJlYWxfdGltZYIaAL68IBoC+vCAa3Nlcmllc19kYXRlwHggMjAyNC0wNS0wNlQxMDowMDowMS41MDAwMDArMDI6MDBqc3Rh
        cnRfdGltZYIaAj5+UBoC+vCAaXN0b3BfdGltZYIaAv06cBoC+vCAaXVzZXJfZGF0YfZkZGF0YaJrdGhyZXNob2xkXzHYKIKCGBgU
        2EVZA8ADAAQABQAGAAcACAAJAAoAAAABAAIAAwAEAAUABgAHAAgACQAKAAAAAQACAAMABAAFAAYABwAIAAkACgAAAAEAAgADAAQA
        BQAGAAcACAAJAAoAAAABAAIAAwAEAAUABgAHAAgACQAKAAAAAQACAAMABAAFAAYABwAIAAkACgAAAAEAAgADAAQABQAGAAcACAAJ
        AAoAAAABAAIAAwAEAAUACQAKAAsADAANAAMABAAFAAYABwAIAAkACgALAAwADQADAAQABQAGAAcACAAJAAoACwAMAA0A//8EAAUA
        BgAHAAgACQAKAAsADAANAAMABAAFAAYABwAIAAkACgALAAwADQADAAQABQAGAAcACAAJAAoACwAMAA0AAwAEAAUABgAHAAgACQAK
        AAsADAANAAMABAAFAAYABwAIAAkACgALAA8AEAAGAAcACAAJAAoACwAMAA0ADgAPABAABgAHAAgACQAKAAsADAANAA4ADwAQAAYA
        BwAIAAkACgALAAwADQAOAA8AEAAGAAcACAAJAAoACwAMAA0ADgAPABAABgAHAAgACQAKAAsADAANAA4ADwAQAAYABwAIAAkACgAL
        AAwADQAOAA8AEAAGAAcACAAJAAoACwAMAA0ADgAPABAABgAKAAsADAANAA4ADwAQABEAEgATAAkACgALAAwADQAOAA8AEAARABIA
        EwAJAAoACwAMAA0ADgAPABAAEQASABMACQAKAAsADAANAA4ADwAQABEAEgATAAkACgALAAwADQAOAA8AEAARABIAEwAJAAoACwAM
        AA0ADgAPABAAEQASABMACQAKAAsADAANAA4ADwAQABEAEgATAAkACgALAAwAEAARABIAEwAUABUAFgAMAA0ADgAPABAAEQASABMA
        FAAVABYADAANAA4ADwAQABEAEgATABQAFQAWAAwADQAOAA8AEAARABIAEwAUABUAFgAMAA0ADgAPABAAEQASABMAFAAVABYADAAN
        AA4ADwAQABEAEgATABQAFQAWAAwADQAOAA8AEAARABIAEwAUABUAFgAMAA0ADgAPABAAEQASABYAFwAYABkADwAQABEAEgATABQA
        FQAWABcAGAAZAA8AEAARABIAEwAUABUAFgAXABgAGQAPABAAEQASABMAFAAVABYAFwAYABkADwAQABEAEgATABQAFQAWABcAGAAZ
        AA8AEAARABIAEwAUABUAFgAXABgAGQAPABAAEQASABMAFAAVABYAFwAYABkADwAQABEAEgATABQAFQAWABcAGABrdGhyZXNob2xk
        XzLYKIKCGBgU2EVZA8AEAAUABgAHAAgACQAKAAAAAQACAAMABAAFAAYABwAIAAkACgAAAAEAAgADAAQABQAGAAcACAAJAAoAAAAB
        AAIAAwAEAAUABgAHAAgACQAKAAAAAQACAAMABAAFAAYABwAIAAkACgAAAAEAAgADAAQABQAGAAcACAAJAAoAAAABAAIAAwAEAAUA
        BgAHAAgACQAKAAAAAQACAAMABAAFAAYACgALAAwADQADAAQABQAGAAcACAAJAAoACwAMAA0AAwAEAAUABgAHAAgACQAKAAsADAAN
        AAMA//8FAAYABwAIAAkACgALAAwADQADAAQABQAGAAcACAAJAAoACwAMAA0AAwAEAAUABgAHAAgACQAKAAsADAANAAMABAAFAAYA
        BwAIAAkACgALAAwADQADAAQABQAGAAcACAAJAAoACwAMABAABgAHAAgACQAKAAsADAANAA4ADwAQAAYABwAIAAkACgALAAwADQAO
        AA8AEAAGAAcACAAJAAoACwAMAA0ADgAPABAABgAHAAgACQAKAAsADAANAA4ADwAQAAYABwAIAAkACgALAAwADQAOAA8AEAAGAAcA
        CAAJAAoACwAMAA0ADgAPABAABgAHAAgACQAKAAsADAANAA4ADwAQAAYABwALAAwADQAOAA8AEAARABIAEwAJAAoACwAMAA0ADgAP
        ABAAEQASABMACQAKAAsADAANAA4ADwAQABEAEgATAAkACgALAAwADQAOAA8AEAARABIAEwAJAAoACwAMAA0ADgAPABAAEQASABMA
        CQAKAAsADAANAA4ADwAQABEAEgATAAkACgALAAwADQAOAA8AEAARABIAEwAJAAoACwAMAA0AEQASABMAFAAVABYADAANAA4ADwAQ
        ABEAEgATABQAFQAWAAwADQAOAA8AEAARABIAEwAUABUAFgAMAA0ADgAPABAAEQASABMAFAAVABYADAANAA4ADwAQABEAEgATABQA
        FQAWAAwADQAOAA8AEAARABIAEwAUABUAFgAMAA0ADgAPABAAEQASABMAFAAVABYADAANAA4ADwAQABEAEgATABcAGAAZAA8AEAAR
        ABIAEwAUABUAFgAXABgAGQAPABAAEQASABMAFAAVABYAFwAYABkADwAQABEAEgATABQAFQAWABcAGAAZAA8AEAARABIAEwAUABUA
        FgAXABgAGQAPABAAEQASABMAFAAVABYAFwAYABkADwAQABEAEgATABQAFQAWABcAGAAZAA8AEAARABIAEwAUABUAFgAXABgAGQA=
    """,
    "end": """
        o2R0eXBlY2VuZGlzZXJpZXNfaWQHcHNlcmllc191bmlxdWVfaWR4GjAxSENFUDdQVlo4SkdRRFBHSjlTNkdEWTNC
    """,
}


@pytest.fixture(scope="session")
def recorded() -> dict[str, bytes]:
    """The messages of a series in Stream V2 by their names: start, image_0 to image_3, end."""
    return {name: base64.b64decode(text) for name, text in _RECORDED.items()}


@pytest.fixture
def expected() -> Callable[..., npt.NDArray[Any]]:
    """The picture that was recorded under a number (24, 20): steps, and one masked pixel."""

    def make(number: int, dtype: str = "uint16") -> npt.NDArray[Any]:
        rows, columns = np.mgrid[:24, :20]
        image = ((rows * 20 + columns + number) % 11 + (rows // 4) * 3).astype(dtype)
        image[5, 7] = np.iinfo(image.dtype).max
        return image

    return make


def pack(image: npt.NDArray[Any], algorithm: str, *, block: int = 8192) -> bytes:
    """Pixels as a detector packs them."""
    raw = image.tobytes()
    if algorithm == "raw":
        return raw
    if algorithm == "lz4-block":
        return bytes(imagecodecs.lz4_encode(raw, header=False))
    unit = 8 * image.itemsize if algorithm == "bslz4" else 1
    in_blocks = len(raw) - len(raw) % unit
    packed = [struct.pack(">QI", len(raw), block)]
    for place in range(0, in_blocks, block):
        piece = raw[place : min(place + block, in_blocks)]
        if algorithm == "bslz4":
            count = len(piece) // image.itemsize
            piece = bytes(imagecodecs.bitshuffle_encode(piece, itemsize=image.itemsize, blocksize=count))
        smaller = bytes(imagecodecs.lz4_encode(piece, header=False))
        if algorithm == "lz4" and len(smaller) >= len(piece):
            smaller = piece
        packed += [struct.pack(">I", len(smaller)), smaller]
    return b"".join([*packed, raw[in_blocks:]])


@pytest.fixture(name="pack")
def pack_fixture() -> Pack:
    """Packs pixels as a detector does: raw, lz4-block, lz4, bslz4."""
    return pack


CONFIGURATION = {
    "bit_depth_image": 16,
    "compression": "bslz4",
    "count_time": 0.2,
    "data_collection_date": "2024-05-06T10:00:01.5+02:00",
    "description": "Dectris QUADRO Si 250K",
    "detector_number": "E-01-0350",
    "threshold_energy": 4020.5,
    "x_pixel_size": 7.5e-05,
    "x_pixels_in_detector": 20,
    "y_pixel_size": 7.5e-05,
    "y_pixels_in_detector": 24,
}


class V1:
    """Messages of Stream V1."""

    configuration = CONFIGURATION

    @staticmethod
    def start(series: int, detail: str = "basic", *more: bytes) -> Parts:
        head = {"htype": "dheader-1.0", "series": series, "header_detail": detail}
        configuration = [] if detail == "none" else [json.dumps(CONFIGURATION).encode()]
        return [json.dumps(head).encode(), *configuration, *more]

    @staticmethod
    def image(
        series: object,
        frame: object,
        image: npt.NDArray[Any],
        encoding: str = "bs16-lz4<",
        /,
        *more: bytes,
        data: bytes | None = None,
        **changes: Any,
    ) -> Parts:
        """`changes` are other entries of the first two parts; ... leaves one out."""
        algorithm = "bslz4" if encoding.startswith("bs") else "lz4-block" if "lz4" in encoding else "raw"
        blob = pack(image.astype(image.dtype.newbyteorder(encoding[-1])), algorithm) if data is None else data
        one = {
            "htype": "dimage-1.0",
            "series": series,
            "frame": frame,
            "hash": hashlib.md5(blob).hexdigest(),
        }
        two = {
            "htype": "dimage_d-1.0",
            "shape": [image.shape[1], image.shape[0]],
            "type": image.dtype.name,
            "encoding": encoding,
            "size": len(blob),
        }
        four = {"htype": "dconfig-1.0", "start_time": 0, "stop_time": 250_000_000, "real_time": 250_000_000}
        for part in (one, two, four):
            for name in part.keys() & changes.keys():
                part[name] = changes[name]
        told = [{k: v for k, v in part.items() if v is not ...} for part in (one, two, four)]
        return [
            json.dumps(told[0]).encode(),
            json.dumps(told[1]).encode(),
            blob,
            json.dumps(told[2]).encode(),
            *more,
        ]

    @staticmethod
    def end(series: int) -> Parts:
        return [json.dumps({"htype": "dseries_end-1.0", "series": series}).encode()]


@pytest.fixture(scope="session")
def v1() -> type[V1]:
    """Makes messages of Stream V1."""
    return V1


class Detector:
    """The PUSH socket of a detector's control unit."""

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        self.port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self.address = f"dectris+tcp://127.0.0.1:{self.port}"

    def send(self, *messages: Parts | bytes) -> None:
        for message in messages:
            self._socket.send_multipart([message] if isinstance(message, bytes) else message)

    def close(self) -> None:
        self._context.destroy(linger=0)


@pytest.fixture
def detector() -> Iterator[Detector]:
    """A detector that sends what it is told to."""
    one = Detector()
    yield one
    one.close()


@pytest.fixture(scope="session")
def mutate() -> Callable[[st.DataObject, Parts], Parts]:
    """Changes a message at a few places: bits flipped, parts cut off, bytes put in."""

    def change(data: st.DataObject, message: Parts) -> Parts:
        parts = [bytearray(part) for part in message]
        for _ in range(data.draw(st.integers(1, 4))):
            part = parts[data.draw(st.integers(0, len(parts) - 1))]
            place = data.draw(st.integers(0, max(0, len(part) - 1)))
            match data.draw(st.sampled_from(["flip", "cut", "insert"])):
                case "flip" if part:
                    part[place] ^= data.draw(st.integers(1, 255))
                case "cut":
                    del part[place:]
                case "insert":
                    part[place:place] = data.draw(st.binary(max_size=20))
        return [bytes(part) for part in parts]

    return change

"""The streams of DECTRIS detectors (EIGER2, QUADRO, ARINA and their kin)."""

from __future__ import annotations

from monitor.errors import BadMessage
from monitor.sources.dectris.series import Runs
from monitor.sources.dectris.v1 import V1Decoder
from monitor.sources.dectris.v2 import V2Decoder, is_v2
from monitor.sources.wire import Part, WireFrame

__all__ = ["DectrisDecoder"]


class DectrisDecoder:
    """Stream V1 or V2, whichever a message is in; a detector can be set to either.

    Masked and defective pixels hold the largest value of their type, and are left so. Of several channels
    (thresholds) the first is taken.
    """

    def __init__(self, max_bytes: int) -> None:
        """
        Parameters
        ----------
        max_bytes
            A larger frame is rejected.

        Raises
        ------
        InputError
            What Stream V2 needs is not installed.
        """
        self._runs = Runs()
        self._v1 = V1Decoder(max_bytes, self._runs)
        self._v2 = V2Decoder(max_bytes, self._runs)

    def resume(self, sender: str) -> None:
        """See `monitor.sources.wire.Decoder`."""
        self._runs.resume(sender)

    def decode(self, parts: list[Part]) -> WireFrame | None:
        """See `monitor.sources.wire.Decoder`."""
        if not parts:
            raise BadMessage("an empty message")
        return self._v2.decode(parts[0]) if is_v2(parts) else self._v1.decode(parts)

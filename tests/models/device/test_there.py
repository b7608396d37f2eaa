"""What is said where a GPU can't be used."""

import pytest

from models.bundle import on_cuda
from models.device import there
from models.errors import BundleRefused


@pytest.mark.parametrize(
    ("driver", "torch", "told"), [(False, True, there.NO_DRIVER), (True, False, there.NO_TORCH)]
)
def test_cuda_ends_with_a_sentence_and_auto_does_without(
    driver: bool, torch: bool, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(there, "driver_there", lambda: driver)
    monkeypatch.setattr(there, "torch_there", lambda: torch)
    assert there.why_no_cuda() == told
    with pytest.raises(BundleRefused, match=told[:30]):
        on_cuda("cuda")
    assert not on_cuda("auto")
    assert not on_cuda("cpu")
    assert not there.device_wanted("auto")
    assert there.device_wanted(there.TORCH_CPU)
    with pytest.raises(BundleRefused, match="no device gpu"):
        on_cuda("gpu")


def test_a_gpu_may_be_there_where_driver_and_torch_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(there, "driver_there", lambda: True)
    monkeypatch.setattr(there, "torch_there", lambda: True)
    assert there.device_wanted("cuda")
    assert there.device_wanted("auto")
    assert not there.device_wanted("cpu")

"""Going on from a good network: what is kept of it, what is mended, and which frames are learnt from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from models.errors import ModelError
from models.examples.batches import Drawing, Pool, batches, is_faint
from models.examples.hard import HardEmpties
from models.examples.shards import examples_by_split
from models.preprocess import Preprocessing
from models.training.finetune import gentle
from models.training.keeping import between, first_network, kept_where_right
from models.training.unet import Settings, train
from models.unet import Architecture, UNet

TINY = Architecture(width=4, levels=2)


class Constant(torch.nn.Module):
    """A network that gives each pixel the same two logits."""

    def __init__(self, logit: float) -> None:
        super().__init__()
        self.logit = logit

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.full((len(images), 2, *images.shape[2:]), self.logit)


@pytest.mark.parametrize(
    ("given", "outside", "inside"),
    [(0.1, 0.05, 1.0), (0.4, 0.0, 0.7), (0.9, 0.0, 0.95)],  # wrong inside, wrong outside, wrong outside
)
def test_a_target_lies_between_truth_and_first_network_where_that_is_right(
    given: float, outside: float, inside: float
) -> None:
    wanted = torch.zeros(2, 2, 4, 4)
    wanted[0, :, :2] = 1
    logit = float(np.log(given / (1 - given)))
    images = torch.zeros(2, 1, 4, 4)
    _, found = kept_where_right((images, wanted), Constant(logit), 0.5, "cpu", bfloat16=False)  # type: ignore[arg-type]
    assert found[0, :, :2].flatten().tolist() == pytest.approx([inside] * 16)
    assert found[0, :, 2:].flatten().tolist() == pytest.approx([outside] * 16)
    assert not found[1].any()  # it holds nothing: the truth stands alone
    assert set(wanted.unique().tolist()) == {0.0, 1.0}


def test_the_first_network_stays_as_it_was() -> None:
    net = UNet(TINY)
    first = first_network(net)
    before = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 1
    assert all(torch.equal(first.state_dict()[name], tensor) for name, tensor in before.items())
    assert not first.training
    assert not any(parameter.requires_grad for parameter in first.parameters())


def test_a_gentle_training_leaves_first_level_and_statistics(discs: Path, tmp_path: Path) -> None:
    begun = Settings(TINY, steps=2, batch=2, round_steps=2)
    train(discs, tmp_path / "first", begun)
    settings = gentle(begun)
    assert settings.learning_rate < begun.learning_rate / 10
    train(discs, tmp_path / "next", settings, start_from=tmp_path / "first")
    one, two = (load_file(tmp_path / name / "unet.safetensors") for name in ("first", "next"))
    for name in one:
        fixed = "running" in name or "num_batches" in name or name.startswith(("stem.", "down.0."))
        assert torch.equal(one[name], two[name]) == fixed, name
    with pytest.raises(ModelError, match="begins with its weights"):
        train(discs, tmp_path / "none", settings)


def test_frames_that_a_network_marks_are_kept_and_learnt_from(discs: Path) -> None:
    drawing = Drawing(negatives=1.0, hard=1.0, marks=0.0, randomise=False)
    hard = HardEmpties(128, drawing, Preprocessing(), seed=3)
    assert hard.draw(np.random.default_rng(0)) is None
    assert hard.look_for(Constant(-5.0), 6, "cpu") == 0
    assert hard.look_for(Constant(2.0), 6, "cpu") == 6 == len(hard.kept)
    learn = examples_by_split(discs, ["train"])
    images, wanted = next(
        batches(Pool(learn, {}), drawing, Preprocessing(), 12, seed=1, first_step=0, hard=hard.draw)
    )
    known = {np.sort(image, axis=None).tobytes() for image in hard.kept}
    assert {np.sort(image.numpy(), axis=None).tobytes() for image in images} <= known
    assert not wanted.any()
    again = HardEmpties(128, drawing, Preprocessing(), seed=3)
    again.look_for(Constant(2.0), 12, "cpu")
    np.testing.assert_array_equal(again.kept[6], hard.kept[0])


def test_images_with_faint_particles_come_so_much_oftener(discs: Path) -> None:
    learn = examples_by_split(discs, ["train"])
    learn = replace(learn, about=[dict(about) for about in learn.about])
    faint = {n for n, about in enumerate(learn.about) if about["specimen"].startswith("lattice")}
    faint = set(sorted(faint)[:1])
    for n in faint:
        learn.about[n]["particles"] = [{"label": 1, "material": "CdSe-wurtzite", "diameter_nm": 2.4}]
    assert [is_faint(about) for about in learn.about].count(True) == 1
    rng = np.random.default_rng(0)
    drawn = [Pool(learn, {"lattice": 1.0, "bare": 0.0}, faint=4.0).draw(rng) for _ in range(700)]
    # Four images of the preset: one weighs 4, the others 1.
    assert np.mean([n in faint for n in drawn]) == pytest.approx(4 / 7, abs=0.06)


def test_weights_between_two_networks_are_on_the_way_from_one_to_the_other() -> None:
    one, two = UNet(TINY).state_dict(), UNet(TINY).state_dict()
    for share, end in ((0.0, one), (1.0, two)):
        found = between(one, two, share)
        assert all(torch.allclose(found[name], end[name], atol=1e-6) for name in one)
    half = between(one, two, 0.5)["head.weight"]
    assert torch.allclose(half - one["head.weight"], two["head.weight"] - half, atol=1e-6)

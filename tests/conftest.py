"""Tiny random models on disk, shared by the tests; every file is real, only small."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.helpers.tiny import controlnet, save_sd, unet

AddModel = Callable[..., Path]
"""Copies a model: (name, like="tiny") to its new folder, which the test may damage."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `gpu` need one; what they run runs on the CPU in the others."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of the tests' own, for this process and those it starts."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTACT_SHEET_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder. No test may change it: take `shelf` for that.

    tiny: epsilon. tinyv: v-prediction, with other weights throughout. twin: the text encoder
    and VAE of tiny with another UNet.
    """
    folder = tmp_path_factory.mktemp("models")
    save_sd(folder / "tiny")
    save_sd(folder / "tinyv", "v_prediction", seed=1)
    shutil.copytree(folder / "tiny", folder / "twin")
    torch.manual_seed(2)
    unet().save_pretrained(folder / "twin" / "unet", safe_serialization=True)
    return folder


@pytest.fixture(scope="session")
def controlnets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ControlNets for tiny, tinyv and twin, and two that do not fit them.

    canny, depth: plain. bgr: reads its map's channels in reverse. pooled: adds the same
    everywhere. wide: for another text encoder. small: for another autoencoder.
    """
    folder = tmp_path_factory.mktemp("controlnets")
    controlnet(1).save_pretrained(folder / "canny")
    controlnet(2).save_pretrained(folder / "depth")
    controlnet(3, controlnet_conditioning_channel_order="bgr").save_pretrained(folder / "bgr")
    controlnet(4, global_pool_conditions=True).save_pretrained(folder / "pooled")
    controlnet(5, cross_attention_dim=24).save_pretrained(folder / "wide")
    controlnet(6, conditioning_embedding_out_channels=(8, 16)).save_pretrained(folder / "small")
    return folder


@pytest.fixture
def shelf(models: Path, tmp_path: Path) -> tuple[Path, AddModel]:
    """An empty models folder of the test's own, and what puts copies of models into it."""
    folder = tmp_path / "shelf"
    folder.mkdir()

    def add(name: str, like: str = "tiny") -> Path:
        return Path(shutil.copytree(models / like, folder / name))

    return folder, add


@pytest.fixture
def one_thread() -> Iterator[None]:
    """So small a model runs fastest on one thread, by far so when the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)

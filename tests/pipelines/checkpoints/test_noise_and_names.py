"""Files that say their noise levels, whose network is cut down, or whose names begin otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pipelines import Request
from pipelines.checkpoints.catalog import find, locate
from pipelines.checkpoints.identification.denoiser import denoiser, unet_variant
from pipelines.checkpoints.single_file import published_configs
from pipelines.checkpoints.single_file_loader import empty_module
from pipelines.model_manager.manager import PipelineManager
from tests.helpers import ldm, tiny, tiny_families
from tests.parity import test_families

pytestmark = pytest.mark.usefixtures("one_thread")
NAME = "one.safetensors"
BASE = Request(
    model=NAME, prompt="an apple", negative_prompt="a pear", steps=4, sampler="euler",
    guidance_scale=4.5, seed=11, width=32, height=32,
)  # fmt: skip


@pytest.fixture(scope="module")
def xl() -> Any:
    return tiny_families.sdxl(prediction_type="v_prediction")


def write(folder: Path, xl: Any, state: dict[str, Tensor], metadata: dict[str, str]) -> None:
    xl.save_pretrained(folder / "xl", safe_serialization=True)
    save_file({**ldm.sdxl_checkpoint(xl), **state}, folder / NAME, metadata)


@pytest.mark.parametrize(
    ("marks", "metadata", "zero"),
    [
        (("v_pred", "ztsnr"), {}, True),
        (("v_pred",), {"ss_zero_terminal_snr": "True"}, True),
        ((), {"ss_v_parameterization": "True", "ss_zero_terminal_snr": "True"}, True),
        (("ztsnr",), {"modelspec.prediction_type": "v_prediction"}, True),
        (("v_pred",), {}, None),
        (("v_pred",), {"ss_zero_terminal_snr": "False"}, None),
        (("ztsnr",), {}, None),
    ],
)
def test_zero_terminal_snr(
    tmp_path: Path, xl: Any, marks: tuple[str, ...], metadata: dict[str, str], zero: bool | None
) -> None:
    write(tmp_path, xl, {mark: torch.zeros(0) for mark in marks}, metadata)
    config = PipelineManager([tmp_path], device="cpu").library.open(NAME).configs["scheduler"]
    assert bool(config.get("rescale_betas_zero_snr")) == bool(zero)
    assert config["prediction_type"] == "v_prediction"


def test_zero_terminal_snr_draws_what_diffusers_draws(tmp_path: Path, xl: Any) -> None:
    write(tmp_path, xl, {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, {})
    pipe = tiny_families.sdxl(prediction_type="v_prediction")
    pipe.scheduler = type(pipe.scheduler).from_config(
        xl.scheduler.config, rescale_betas_zero_snr=True
    )
    pipe.save_pretrained(tmp_path / "zero", safe_serialization=True)
    (ours,) = test_families.ours(tmp_path, [BASE])
    (folder,) = test_families.ours(tmp_path, [BASE.replace(model="zero")])
    (plain,) = test_families.ours(tmp_path, [BASE.replace(model="xl")])
    assert (ours - folder).abs().max() <= 1e-5, (ours - folder).abs().max()
    assert (ours - plain).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("mark", "metadata", "words"),
    [
        ("edm_mean", {}, "Playground v2.5"),
        ("edm_std", {}, "Playground v2.5"),
        ("edm_vpred.sigma_max", {}, "CosXL"),
        ("betas", {"modelspec.prediction_type": "edm v"}, "edm v"),
    ],
)
def test_noise_levels_of_edm_are_refused_by_name(
    tmp_path: Path, xl: Any, mark: str, metadata: dict[str, str], words: str
) -> None:
    write(tmp_path, xl, {mark: torch.zeros(1)}, metadata)
    problem = {info.id: info for info in find([tmp_path])}[NAME].problem
    assert problem and words in problem and "EDM" in problem


@pytest.mark.parametrize(
    "prefix",
    ["diffusion_model.", "model.", "net.", "", "model.diffusion_model.",
     "model.diffusion_model.model.diffusion_model."],
)  # fmt: skip
@pytest.mark.parametrize("layout", ["original", "diffusers"])
def test_other_prefixes_are_read(tmp_path: Path, prefix: str, layout: str) -> None:
    pipe = tiny.sd()
    pipe.save_pretrained(tmp_path / "tiny", safe_serialization=True)
    state = pipe.unet.state_dict()
    save_file(
        ldm.under(prefix, ldm.unet(state, 1) if layout == "original" else state), tmp_path / NAME
    )
    assert locate(NAME, [tmp_path]).source == "denoiser"
    with PipelineManager([tmp_path], device="cpu").use(NAME) as model:
        made = model.components["unet"].state_dict()
    assert all(torch.equal(made[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("layout", ["original", "diffusers"])
@pytest.mark.parametrize("kind", ["SDXL", "SSD-1B", "no middle"])
def test_networks_cut_down_from_sdxl_are_named(layout: str, kind: str) -> None:
    import diffusers

    config = dict(published_configs("sdxl")["unet"])
    if kind == "SSD-1B":
        config["transformer_layers_per_block"] = [1, 2, 4]
    state = empty_module(diffusers.UNet2DConditionModel, config).state_dict()
    if kind == "no middle":
        state = {n: t for n, t in state.items() if not n.startswith("mid_block.")}
    names = ldm.unet(state, 2) if layout == "original" else state
    shapes = {name: tuple(tensor.shape) for name, tensor in names.items()}
    assert denoiser(shapes) == (("sdxl",), layout, "")
    assert ("SSD-1B" in unet_variant(shapes, "")) == (kind != "SDXL")

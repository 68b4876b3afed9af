"""LoRAs on models from single files: what they make of the folder the file was written from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file, save_file

from pipelines import InvalidRequest, LoRA, Request, Studio
from pipelines.checkpoints.loras import WEIGHTS
from pipelines.model_manager.manager import PipelineManager
from tests.helpers import ldm
from tests.helpers.lora_makers import save_lora, save_with_loras
from tests.helpers.tiny_families import sd3
from tests.parity.test_loras import BASE, apart, latents, theirs

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders with their LoRAs, and each model as a file in the original layout."""
    folder = save_with_loras(tmp_path_factory.mktemp("loras"))
    for name, write in (("tiny", ldm.sd_checkpoint), ("xl", ldm.sdxl_checkpoint)):
        save_file(write(DiffusionPipeline.from_pretrained(folder / name)),
                  folder / f"{name}.safetensors")  # fmt: skip
    return folder


@pytest.mark.parametrize("name", ["tiny", "xl"])
def test_the_file_makes_the_latents_of_the_folder(folder: Path, name: str) -> None:
    manager = PipelineManager([folder], device="cpu")
    one, two = LoRA(name=f"{name}-one", scale=0.7), LoRA(name=f"{name}-two")

    def of(model: str) -> list[Request]:
        base = BASE.replace(model=model)
        return [base, base.replace(loras=[one]), base.replace(loras=[one, two], sampler="ddim")]

    on_folder = latents(manager, of(name))
    on_file = latents(manager, of(f"{name}.safetensors"))
    for a, b, request in zip(on_file, on_folder, of(name), strict=True):
        assert torch.equal(a, b), request.loras
        assert apart(a, theirs(folder, request)) <= 1e-4, request.loras
    assert apart(on_file[0], on_file[1]) > 1e-2, "a LoRA without effect proves nothing"


def test_a_denoiser_alone_takes_loras_of_its_own_and_of_its_donors_parts(
    folder: Path, tmp_path: Path
) -> None:
    """The UNet's layers are the file's, those of the text encoder the donor's."""
    name = "diffusion_pytorch_model.safetensors"
    save_file(load_file(folder / "tiny" / "unet" / name), tmp_path / "net.safetensors")
    manager = PipelineManager([tmp_path, folder], device="cpu")
    request = BASE.replace(loras=["tiny-one"])
    assert manager.library.open("net.safetensors").lora("tiny-one").problem is None
    (on_file,) = latents(manager, [request.replace(model="net.safetensors")])
    assert torch.equal(on_file, latents(manager, [request])[0])


def test_a_flow_transformer_alone_takes_loras(tmp_path: Path) -> None:
    sd3().save_pretrained(tmp_path / "three")
    save_lora(sd3(), tmp_path / "three-one", text=False, layers=["to_q", "to_v", "proj_out"])
    save_file(sd3().transformer.state_dict(), tmp_path / "one.safetensors")
    manager = PipelineManager([tmp_path], device="cpu")
    request = BASE.replace(model="three", sampler="flow_euler", loras=["three-one"])
    assert manager.library.open("one.safetensors").lora("three-one").problem is None
    (on_file,) = latents(manager, [request.replace(model="one.safetensors")])
    assert torch.equal(on_file, latents(manager, [request])[0])


def test_the_file_has_the_loras_of_the_folder_and_refuses_others(
    folder: Path, tmp_path: Path
) -> None:
    tensors = load_file(folder / "tiny-two" / WEIGHTS)
    key = next(key for key in tensors if "conv1.lora_B" in key)
    save_file({**tensors, key: torch.zeros(3, 2, 1, 1)}, tmp_path / "odd.safetensors")
    studio = Studio([folder, tmp_path], device="cpu")
    for name in ("tiny", "xl"):
        ids = [info.id for info in studio.loras(f"{name}.safetensors")]
        assert ids == [info.id for info in studio.loras(name)] == [f"{name}-one", f"{name}-two"]
    for name, message in (
        ("xl-one", r"'xl-one' does not fit 'tiny.safetensors': .*; these here fit: tiny-one, "),
        ("odd", r"conv1 is for 3 × \d+ numbers, that model's has \d+ × \d+"),
    ):
        with pytest.raises(InvalidRequest, match=message):
            studio.resolve(BASE.replace(model="tiny.safetensors", loras=[name]))
    assert studio.manager.cached_bytes == 0, "no weights were read to say so"
    studio.close()

"""A GGUF file is the denoiser it was made from, within its own bits, wherever it is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gguf", reason="pip install -r requirements-quantize.txt")

import diffusers
import torch
from accelerate import init_empty_weights
from diffusers.loaders import single_file_utils
from gguf import GGMLQuantizationType, quants

from pipelines import InvalidRequest, Request, Studio
from pipelines.checkpoints.catalog import find
from pipelines.checkpoints.formats import gguf_linear
from pipelines.checkpoints.formats.gguf_header import BLOCKS
from pipelines.checkpoints.formats.tensor_files import read_header
from pipelines.denoising.row import Row
from pipelines.devices.memory_options import MemoryOptions
from pipelines.errors import ModelUnavailable
from pipelines.model_manager.component_loader import measure
from pipelines.model_manager.manager import PipelineManager
from pipelines.rendering.batch_evaluator import BatchEvaluator, ComputeOptions
from pipelines.rendering.timings.batch_timings import BatchTimings
from pipelines.request.control import Control
from tests.helpers import ldm, tiny_families
from tests.helpers.evaluation import evaluate
from tests.helpers.gguf_files import NAME, large, original, pack, random_blocks, shop, write
from tests.helpers.lora_makers import save_lora
from tests.parity import test_families
from tests.pipelines.checkpoints.test_single_file import real_model
from tests.pipelines.devices.test_memory_options import installed
from tests.pipelines.devices.test_offload import equal, studio_of

pytestmark = pytest.mark.usefixtures("one_thread")
BASE = Request(as_diffusers=True,
    model=NAME, prompt="an apple", sampler="flow_euler", steps=3, guidance_scale=1.0, seed=11,
    width=32, height=32,
)  # fmt: skip
GUIDED = BASE.replace(guidance_scale=4.0)


def wide_sd3() -> Any:
    """A tiny SD 3 whose rows fill blocks of 256 numbers."""
    pipe = tiny_families.sd3()
    sizes = {"attention_head_dim": 64, "caption_projection_dim": 256}
    torch.manual_seed(7)
    pipe.transformer = diffusers.SD3Transformer2DModel.from_config(
        {**pipe.transformer.config, **sizes}
    ).eval()
    return pipe


def packed_layers(component: Any) -> list[gguf_linear.GGUFLinear]:
    return [one for one in component.modules() if isinstance(one, gguf_linear.GGUFLinear)]


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny FLUX in 8 bits, a ControlNet and a LoRA. No test may change it."""
    folder = shop(tmp_path_factory.mktemp("flux"), "flux-dev", "Q8_0")
    tiny_families.flux_controlnet().save_pretrained(folder / "net-canny")
    save_lora(tiny_families.flux(), folder / "style", text=False)
    return folder


# ---- numbers


@pytest.mark.parametrize("name", sorted(BLOCKS))
def test_blocks_stand_for_the_numbers_that_ggml_says(name: str) -> None:
    kind = GGMLQuantizationType[name]
    shape = (6, 512)
    torch.manual_seed(0)
    for blocks in (pack(torch.randn(shape), kind), random_blocks(shape, kind)):
        expected = torch.from_numpy(quants.dequantize(blocks, kind))
        largest = float(expected.abs().max())
        for dtype, tolerance in (
            (torch.float32, 1e-6), (torch.bfloat16, 5e-3), (torch.float16, 2e-3),
        ):  # fmt: skip
            found = gguf_linear.whole(torch.from_numpy(blocks.copy()), kind, dtype)
            assert (found.dtype, tuple(found.shape)) == (dtype, shape)
            worst = float((found.float() - expected).abs().max())
            assert worst <= tolerance * largest, (dtype, worst)


@pytest.mark.parametrize("family", ["flux-dev", "sd3"])
@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0"])
def test_it_makes_the_latents_of_a_folder_with_its_weights(
    tmp_path: Path, family: str, kind: str
) -> None:
    shop(tmp_path, family, kind)
    request = BASE if family == "flux-dev" else GUIDED
    (mine,) = test_families.ours(tmp_path, [request])
    worst = float((mine - test_families.theirs(tmp_path / "plain", request)).abs().max())
    assert worst <= 1e-4, worst


@pytest.mark.parametrize("kind", ["Q4_K", "Q6_K"])
def test_blocks_of_256(tmp_path: Path, kind: str) -> None:
    shop(tmp_path, "sd3", kind, wide_sd3())
    (info,) = [one for one in find([tmp_path]) if one.id == NAME]
    assert info.single.found.precision.startswith(kind), "most of its numbers"
    (mine,) = test_families.ours(tmp_path, [GUIDED])
    worst = float((mine - test_families.theirs(tmp_path / "plain", GUIDED)).abs().max())
    assert worst <= 1e-4, worst


def test_fluxs_published_names_and_rows(tmp_path: Path) -> None:
    """One block of each sort, at full height, by which diffusers' conversion cuts; 32 wide."""
    with init_empty_weights():
        model = diffusers.FluxTransformer2DModel.from_config(
            {**real_model("flux-dev", "transformer").config, "num_layers": 1,
             "num_single_layers": 1}
        )  # fmt: skip
    torch.manual_seed(0)
    state = {
        name: torch.randn(tensor.shape[0], 32) if tensor.dim() == 2 else torch.randn(tensor.shape)
        for name, tensor in model.state_dict().items()
    }
    file = tmp_path / NAME
    write(file, ldm.flux(state), large("Q8_0"))
    rows = read_header(file).rows
    read = gguf_linear.read(file, rows, rows)
    made = single_file_utils.convert_flux_transformer_checkpoint_to_diffusers(read)
    assert made.keys() == state.keys()
    for name, tensor in made.items():
        if state[name].dim() == 2:
            kind = GGMLQuantizationType.Q8_0
            assert tensor.quant_type is kind
            expected = quants.dequantize(pack(state[name], kind), kind)
            found = gguf_linear.whole(tensor.as_tensor(), kind, torch.float32)
            assert torch.equal(found, torch.from_numpy(expected)), name
        else:
            assert torch.equal(tensor, state[name]), name


def test_ones_that_ggml_drops_are_put_back(tmp_path: Path) -> None:
    pipe = tiny_families.sd3()
    pipe.save_pretrained(tmp_path / "plain", safe_serialization=True)
    state = original("sd3", pipe)
    assert state["pos_embed"].shape[0] == 1
    write(tmp_path / NAME, {**state, "pos_embed": state["pos_embed"][0]}, large("F32"))
    studio = Studio(tmp_path, device="cpu")
    assert equal(studio.image(GUIDED), studio.image(GUIDED.replace(model="plain")))
    studio.close()


# ---- as a model


def test_it_is_cached_and_as_large_as_was_said(tmp_path: Path) -> None:
    shop(tmp_path, "flux-dev", "Q8_0")
    manager = PipelineManager([tmp_path], device="cpu")
    parts = {part.name: part for part in manager.library.open(NAME).parts(manager.hardware)}
    with manager.use(NAME) as model:
        transformer = model.components["transformer"]
        assert measure(transformer) == parts["transformer"].bytes
        assert manager.history[-1].loaded["transformer"] == parts["transformer"].bytes
        layers = packed_layers(transformer)
        assert layers and all(layer.weight.dtype == torch.uint8 for layer in layers)
    plain = manager.library.open("plain").parts(manager.hardware)
    plain = {part.name: part for part in plain}["transformer"]
    assert parts["transformer"].bytes < plain.bytes / 2
    assert parts["transformer"].largest == plain.largest, "whole, one is there while it computes"
    with manager.use(NAME):
        assert manager.history[-1].loaded == {}
    with manager.use("plain"):
        assert {"text_encoder", "text_encoder_2", "vae"} <= set(manager.history[-1].reused)
    before = manager.fingerprint(NAME)
    pipe = tiny_families.flux()
    pipe.transformer.proj_out.bias.data += 1
    write(tmp_path / NAME, original("flux-dev", pipe), large("Q8_0"))
    assert manager.fingerprint(NAME) != before


@pytest.mark.parametrize("offload", ["model", "group"])
def test_it_waits_beside_the_device(flux: Path, offload: Any) -> None:
    plain, moving = studio_of(flux, "none"), studio_of(flux, offload)
    assert equal(plain.image(BASE), moving.image(BASE))
    assert "transformer" in moving.manager.history[-1].waiting


def test_it_comes_by_layers_where_it_is_too_large(flux: Path) -> None:
    plain = studio_of(flux, "none")
    parts = plain.manager.library.open(NAME).parts(plain.manager.hardware)
    (transformer,) = [part for part in parts if part.name == "transformer"]
    studio = studio_of(flux, "auto", transformer.bytes - 1)
    with studio.manager.use(NAME) as model:
        layers = packed_layers(model.components["transformer"])
        assert layers and all(hasattr(layer, "_diffusers_hook") for layer in layers)
    assert equal(plain.image(BASE), studio.image(BASE))


@installed("torchao")
def test_quantize_leaves_it_and_takes_t5(tmp_path: Path) -> None:
    pipe = tiny_families.flux()
    pipe.text_encoder_2 = tiny_families.t5_encoder(64)
    sizes = {**tiny_families.FLUX_SIZES, "joint_attention_dim": 64, "num_attention_heads": 4}
    pipe.transformer = diffusers.FluxTransformer2DModel(
        **sizes, num_layers=1, num_single_layers=1, guidance_embeds=True
    ).eval()
    pipe.save_pretrained(tmp_path / "plain", safe_serialization=True)
    packing = large("Q8_0")
    write(  # with a layer that is in float32 and could be in fewer bits
        tmp_path / NAME,
        pipe.transformer.state_dict(),
        lambda name, one: "F32" if name.endswith("attn.to_q.weight") else packing(name, one),
    )
    loaded = []
    for memory_options in (MemoryOptions(), MemoryOptions(quantize="int8")):
        manager = PipelineManager([tmp_path], device="cpu", memory_options=memory_options)
        with manager.use(NAME):
            loaded.append(manager.history[-1].loaded)
    assert loaded[0]["transformer"] == loaded[1]["transformer"]
    assert loaded[0]["text_encoder_2"] > loaded[1]["text_encoder_2"]


def test_loras_are_refused(flux: Path) -> None:
    manager = PipelineManager([flux], device="cpu")
    assert [info.id for info in manager.library.open("plain").loras] == ["style"]
    assert manager.library.open(NAME).loras == []
    with pytest.raises(InvalidRequest, match=r"'style' does not fit 'one.gguf'.*GGUF file stay"):
        manager.library.open(NAME).lora("style")


def test_controlnets_steer_it(flux: Path) -> None:
    studio = Studio(flux, device="cpu")
    net = studio.add_picture(studio.image(BASE))
    control = Control(image=net, preprocessor="none", model="net-canny")
    steered = BASE.replace(controls=[control])
    made, plain = (studio.image(steered.replace(model=name)) for name in (NAME, "plain"))
    differences = torch.tensor(list(made.getdata())) - torch.tensor(list(plain.getdata()))
    assert int(differences.abs().max()) <= 2
    assert not equal(made, studio.image(BASE))
    studio.close()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda t: t.pop("proj_out.bias"), "lacks 1 tensors of its transformer"),
        (lambda t: t.update(more=torch.zeros(3)), "has 1 tensors in its transformer that"),
        (lambda t: t.update({"proj_out.bias": torch.zeros(3)}), "its transformer has not the shap"),
        (
            lambda t: t.update({"proj_out.weight": torch.zeros(16, 64)}),
            r"its transformer has not the shapes of .*: proj_out.weight is \(16, 64\) and not",
        ),
    ],
)
def test_incomplete_files_fail_with_what_they_lack(tmp_path: Path, damage: Any, words: str) -> None:
    pipe = tiny_families.flux()
    pipe.save_pretrained(tmp_path / "plain", safe_serialization=True)
    state = dict(pipe.transformer.state_dict())
    damage(state)
    write(tmp_path / NAME, state, large("Q8_0"))
    manager = PipelineManager([tmp_path], device="cpu")
    with pytest.raises(ModelUnavailable, match=words), manager.use(NAME):
        pass
    with manager.use("plain"):
        pass


def test_its_layers_compile() -> None:
    """As torch.compile takes them down; to make kernels of a whole network takes minutes."""
    kind = GGMLQuantizationType.Q4_K
    layer = gguf_linear.GGUFLinear(torch.nn.Linear(256, 8), kind, torch.float32)
    state = {"weight": torch.from_numpy(random_blocks((8, 256), kind)), "bias": torch.randn(8)}
    layer.load_state_dict(state, assign=True)
    x = torch.randn(3, 256)
    with torch.inference_mode():
        compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
        assert float((compiled(x) - layer(x)).abs().max()) <= 1e-6


@pytest.mark.parametrize("backend", ["openvino", "auto"])
def test_every_backend_computes_it(flux: Path, tmp_path: Path, backend: str) -> None:
    """Or leaves it to torch, where it does not know blocks."""
    if backend == "openvino":
        pytest.importorskip("openvino")
    manager = PipelineManager([flux], device="cpu")
    with manager.use(NAME) as model, torch.inference_mode():
        family = manager.library.open(NAME).family
        torch.manual_seed(0)
        conditions = family.encode(model, ["an apple"])
        shape = family.latent_shape(model, 32, 32)
        rows = [Row(torch.randn(1, *shape), torch.tensor(500.0), conditions[0], guidance=3.5)]
        expected = evaluate(family, model, rows)
        how = ComputeOptions(backend, cache=tmp_path, batch=2)
        computer = BatchEvaluator(
            how, BatchTimings(None), family, model, latent=shape, memory=10**12
        )
        computer.take(1)
        assert float((computer.evaluate(rows) - expected).abs().max()) <= 1e-4

"""No tensor of a file is lost unsaid: scales are multiplied in, the rest is accounted for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipelines import ModelUnavailable, Request
from pipelines.checkpoints.catalog import find
from pipelines.checkpoints.formats.scaled_weights import multiplied
from pipelines.checkpoints.identification.leftovers import is_leftover
from pipelines.checkpoints.single_file_state import unread_by
from pipelines.model_manager.manager import PipelineManager
from tests.helpers import ldm, tiny_families
from tests.parity import test_families

pytestmark = pytest.mark.usefixtures("one_thread")
State = dict[str, Tensor]
BASE = Request(
    model="one.safetensors", prompt="an apple", negative_prompt="a pear", steps=4,
    guidance_scale=4.5, seed=11, width=32, height=32,
)  # fmt: skip
UNET = "model.diffusion_model."


def scaled(state: State, kind: torch.dtype, ending: str, *, by_row: bool = False) -> State:
    """Weights of two dimensions in 8 bits, each with its scale."""
    made = dict(state)
    for name, tensor in state.items():
        if name.endswith(".weight") and tensor.dim() == 2:
            top = tensor.abs().amax(1, keepdim=True) if by_row else tensor.abs().max()
            scale = (top / 200).clamp(min=1e-8)
            made[name] = (tensor / scale).to(kind)
            made[name.removesuffix(".weight") + ending] = scale
    return made


def plain(state: State) -> State:
    """The same numbers without scales."""
    made = {n: t for n, t in state.items() if not n.endswith((".scale_weight", ".weight_scale"))}
    for name in state.keys() - made.keys():
        weight = f"{name.rpartition('.')[0]}.weight"
        made[weight] = made[weight].float() * state[name].float()
    return {n: t.float() if t.dtype.itemsize == 1 else t for n, t in made.items()}


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, State]:
    """A folder with a tiny SDXL, and its tensors in the original layout."""
    pipe = tiny_families.sdxl()
    folder = tmp_path_factory.mktemp("xl")
    pipe.save_pretrained(folder / "xl", safe_serialization=True)
    return folder, ldm.sdxl_checkpoint(pipe)


def problem_of(folder: Path, name: str = "one.safetensors") -> str | None:
    return {info.id: info for info in find([folder])}[name].problem


def with_file(xl: tuple[Path, State], folder: Path, state: State) -> Path:
    (folder / "xl").symlink_to(xl[0] / "xl")
    save_file(state, folder / "one.safetensors")
    return folder


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("ending", [".scale_weight", ".weight_scale"])
@pytest.mark.parametrize("by_row", [False, True])
def test_scaled_weights_are_multiplied(
    xl: tuple[Path, State], tmp_path: Path, kind: torch.dtype, ending: str, by_row: bool
) -> None:
    state = scaled(xl[1], kind, ending, by_row=by_row)
    marker = {f"{UNET}scaled_fp8": torch.zeros(0, dtype=kind)}
    input_scale = {f"{UNET}time_embed.0.{ending[1:].replace('weight', 'input')}": torch.ones(())}
    with_file(xl, tmp_path, {**state, **marker, **input_scale})
    save_file(plain(state), tmp_path / "plain.safetensors")
    assert problem_of(tmp_path) is None
    ours, theirs = (
        test_families.ours(tmp_path, [BASE.replace(model=name)])[0]
        for name in ("one.safetensors", "plain.safetensors")
    )
    assert torch.equal(ours, theirs)
    wrong = test_families.theirs(tmp_path / "xl", BASE)
    assert (ours - wrong).abs().max() < 0.5, "it draws what the model draws"


def test_scales_of_one_tensor_and_of_rows() -> None:
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).to(torch.float8_e4m3fn)
    for scale, wanted in (
        (torch.tensor(0.5), [[0.5, 1.0], [1.5, 2.0]]),
        (torch.tensor([0.5]), [[0.5, 1.0], [1.5, 2.0]]),
        (torch.tensor([1.0, 10.0]), [[1.0, 2.0], [30.0, 40.0]]),
        (torch.tensor([[1.0], [10.0]], dtype=torch.bfloat16), [[1.0, 2.0], [30.0, 40.0]]),
    ):
        made = multiplied({"a.weight": weight, "a.scale_weight": scale}, torch.float32, "x")
        assert made.keys() == {"a.weight"} and made["a.weight"].tolist() == wanted
    for tensors in ({"a.weight_scale": scale}, {"a.weight": weight, "a.weight_scale": weight[0]}):
        if len(tensors) == 1:
            with pytest.raises(ModelUnavailable, match="scales nothing that is there"):
                multiplied(tensors, torch.float32, "x")


@pytest.mark.parametrize(
    ("name", "tensor", "words"),
    [
        ("time_embed.0.comfy_quant", torch.zeros(8, dtype=torch.uint8), "comfy_quant"),
        ("time_embed.0.weight_scale_2", torch.ones(()), "NVFP4"),
        ("time_embed.0.weight.absmax", torch.ones(4), "bitsandbytes 4 bit"),
        ("time_embed.0.SCB", torch.ones(4), "bitsandbytes 8 bit"),
        ("time_embed.0.qweight", torch.ones(4), "GPTQ"),
        ("time_embed.0.weight_scale", torch.ones(3), "time_embed.0.weight_scale"),
        ("nowhere.scale_weight", torch.ones(()), "nowhere.scale_weight"),
    ],
)
def test_other_quantizations_are_refused_by_name(
    xl: tuple[Path, State], tmp_path: Path, name: str, tensor: Tensor, words: str
) -> None:
    with_file(xl, tmp_path, {**xl[1], UNET + name: tensor})
    problem = problem_of(tmp_path)
    assert problem and "is quantised" in problem and words in problem


LEFT = [
    "model_ema.decay", "model_ema.num_updates", "model_ema.diffusion_modelinput_blocks00weight",
    "betas", "alphas_cumprod", "sqrt_one_minus_alphas_cumprod", "denoiser.sigmas", "logvar",
    "first_stage_model.loss.logvar", "first_stage_model.loss.discriminator.main.0.weight",
    "first_stage_model.model_ema.decay", "conditioner.embedders.1.model.logit_scale",
    "conditioner.embedders.1.model.attn_mask", "optimizer.state.0", "global_step", "scaled_fp8",
    "conditioner.embedders.0.transformer.text_model.embeddings.position_ids",
]  # fmt: skip


def test_known_leftovers_are_left(xl: tuple[Path, State], tmp_path: Path) -> None:
    assert all(map(is_leftover, LEFT))
    with_file(xl, tmp_path, {**xl[1], **{name: torch.zeros(2) for name in LEFT}})
    assert problem_of(tmp_path) is None
    with PipelineManager([tmp_path], device="cpu").use("one.safetensors"):
        pass


@pytest.mark.parametrize(
    "name", ["extra.weight", "lora_unet_x", "conditioner.embedders.7.weight", "model.extra"]
)
def test_tensors_of_no_component_are_named_in_the_listing(
    xl: tuple[Path, State], tmp_path: Path, name: str
) -> None:
    with_file(xl, tmp_path, {**xl[1], name: torch.zeros(2)})
    problem = problem_of(tmp_path)
    assert problem and "1 tensors that nothing reads" in problem and repr(name) in problem


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("unet", f"{UNET}input_blocks.0.0.extra"),
        ("unet", f"{UNET}adapter.0.weight"),
        ("vae", "first_stage_model.encoder.extra.weight"),
        ("text_encoder_2", "conditioner.embedders.1.model.extra"),
    ],
)
def test_tensors_that_a_conversion_drops_are_named(
    xl: tuple[Path, State], tmp_path: Path, part: str, name: str
) -> None:
    with_file(xl, tmp_path, {**xl[1], name: torch.zeros(2)})
    manager = PipelineManager([tmp_path], device="cpu")
    with (
        pytest.raises(ModelUnavailable, match=rf"in its {part} that nothing reads, such as .*"),
        manager.use("one.safetensors"),
    ):
        pass


def test_what_a_conversion_reads_is_told_from_what_it_drops() -> None:
    """Renamed, cut, turned and put together count as read."""
    tensors = {name: torch.ones(4, 4) for name in ("same", "cut", "turned", "pair.a", "pair.b")}

    def convert(given: State) -> State:
        return {
            "new": given["same"],
            "half": given["cut"][2:],
            "other": given["turned"].T.contiguous(),
            "sum": torch.cat([given["pair.a"], given["pair.b"]]),
        }

    given = {**tensors, "extra": torch.ones(1)}
    check: Callable[..., list[str]] = unread_by
    assert check(convert, given, convert(given)) == ["extra"]


# ---- text projections


@pytest.mark.parametrize("turned", [False, True])
def test_sdxls_projection_is_read_in_both_ways(
    xl: tuple[Path, State], tmp_path: Path, turned: bool
) -> None:
    state = dict(xl[1])
    key = "conditioner.embedders.1.model.text_projection"
    matrix = state.pop(key)
    assert matrix.shape[0] == matrix.shape[1], "so that only the numbers tell"
    state |= {f"{key}.weight": matrix.T.contiguous()} if turned else {key: matrix}
    with_file(xl, tmp_path, state)
    (ours,) = test_families.ours(tmp_path, [BASE])
    assert (ours - test_families.theirs(tmp_path / "xl", BASE)).abs().max() <= 1e-4


def test_a_missing_projection_is_an_error(xl: tuple[Path, State], tmp_path: Path) -> None:
    state = dict(xl[1])
    del state["conditioner.embedders.1.model.text_projection"]
    with_file(xl, tmp_path, state)
    with (
        pytest.raises(ModelUnavailable, match="lacks 1 tensors of its text_encoder_2"),
        PipelineManager([tmp_path], device="cpu").use("one.safetensors"),
    ):
        pass


@pytest.mark.parametrize("layout", ["original", "diffusers"])
@pytest.mark.parametrize("lacking", ["text_encoder", "text_encoder_2"])
def test_of_sd3_only_clip_l_may_lack_its_projection(
    tmp_path: Path, lacking: str, layout: str
) -> None:
    pipe = tiny_families.sd3(t5=False)
    pipe.save_pretrained(tmp_path / "three", safe_serialization=True)
    original = layout == "original"
    names = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}
    transformer = pipe.transformer.state_dict()
    if original:
        state = ldm.under(UNET, ldm.sd3(transformer, 2)) | ldm.first_stage(pipe)
    else:
        state = ldm.under("transformer.", transformer) | ldm.under("vae.", pipe.vae.state_dict())
    for part, name in names.items():
        tensors = dict(getattr(pipe, part).state_dict())
        if part == lacking:
            del tensors["text_projection.weight"]
        prefix = f"text_encoders.{name}.transformer." if original else f"{part}."
        state |= ldm.under(prefix, ldm.clip(tensors) if original else tensors)
    save_file(state, tmp_path / "one.safetensors")
    manager = PipelineManager([tmp_path], device="cpu")
    if lacking == "text_encoder":
        with manager.use("one.safetensors") as model:
            made = model.components["text_encoder"].text_projection.weight
            assert torch.equal(made, torch.eye(len(made)))
        return
    with (
        pytest.raises(ModelUnavailable, match="lacks 1 tensors of its text_encoder_2"),
        manager.use("one.safetensors"),
    ):
        pass


def test_the_files_numbers_are_as_written(xl: tuple[Path, State], tmp_path: Path) -> None:
    """The helper that writes scaled files loses no more than 8 bits do."""
    made = plain(scaled(xl[1], torch.float8_e4m3fn, ".scale_weight"))
    save_file(made, tmp_path / "x.safetensors")
    back = load_file(tmp_path / "x.safetensors")
    for name, tensor in xl[1].items():
        assert (back[name] - tensor).abs().max() <= tensor.abs().max() / 16, name

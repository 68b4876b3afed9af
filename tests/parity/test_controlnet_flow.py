"""ControlNets of SD 3 and FLUX against diffusers' own pipelines, and what they share in a sheet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from bench.controls import controlled_call
from pipelines import Control, InvalidRequest, Request, Studio
from pipelines.controlnet.adapter import controls_of
from pipelines.controlnet.conditioner import ControlConditioner
from pipelines.controlnet.control_maps import Maps
from pipelines.controlnet.residuals import Residuals
from pipelines.denoising.evaluator import Tally
from pipelines.denoising.row import ControlTerm, Row
from pipelines.denoising.trajectory import initial_noise
from pipelines.families.flux import pack, unpack
from pipelines.model_manager.manager import PipelineManager
from pipelines.rendering import trajectories
from pipelines.rendering.batch_evaluator import ComputeOptions
from pipelines.samplers import SAMPLERS, SCHEDULES
from tests.helpers.tiny_families import flux, flux_controlnet, sd3, sd3_controlnet
from tests.parity.test_controlnet import ONE, SHELF, TWO, Made, apart

pytestmark = pytest.mark.usefixtures("one_thread")
TOLERANCE = 1e-4

MODELS = {
    "sd3": lambda: sd3(layers=4),
    "sd3-no-t5": lambda: sd3(layers=4, t5=False),
    "flux-dev": lambda: flux(layers=3),
    "flux-schnell": lambda: flux(dev=False, layers=3),
}
NO_TEXT: dict[str, Any] = {
    "joint_attention_dim": None, "caption_projection_dim": None, "use_pos_embed": False,
    "pos_embed_type": None,
}  # fmt: skip
NETS = {
    "sd3-edges": lambda: sd3_controlnet(1),
    "sd3-depth": lambda: sd3_controlnet(2),
    "sd3-long": lambda: sd3_controlnet(3, num_layers=3),
    "sd3-pooled": lambda: sd3_controlnet(4, force_zeros_for_pooled_projection=False),
    "sd35-large": lambda: sd3_controlnet(5, force_zeros_for_pooled_projection=False, **NO_TEXT),
    "flux-edges": lambda: flux_controlnet(1),
    "flux-depth": lambda: flux_controlnet(2, num_layers=2, num_single_layers=2),
    "flux-double": lambda: flux_controlnet(3, num_single_layers=0),
    "flux-told": lambda: flux_controlnet(4, guidance_embeds=True),
    "flux-pixels": lambda: flux_controlnet(
        5, conditioning_embedding_channels=16, num_single_layers=0
    ),
    "flux-union": lambda: flux_controlnet(6, num_mode=4),
}
PIPELINES = {
    "sd3": diffusers.StableDiffusion3ControlNetPipeline,
    "flux": diffusers.FluxControlNetPipeline,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flow")
    for name, make in {**MODELS, **NETS}.items():
        make().save_pretrained(folder / name, safe_serialization=True)
    return folder


@pytest.fixture(scope="module")
def manager(folder: Path) -> PipelineManager:
    return PipelineManager([folder], device="cpu")


def by(model: str, image: str = ONE, **fields: Any) -> Control:
    return Control(model=model, image=image, **fields)


def asked(model: str, *controls: Control, **changes: Any) -> Request:
    base = Request(
        model=model, prompt="an apple", negative_prompt="a pear", steps=5, sampler="flow_euler",
        guidance_scale=4.0, seed=11, width=32, height=32, controls=controls,
        as_diffusers=True,
    )  # fmt: skip
    return base.replace(**changes)


def theirs(folder: Path, request: Request) -> torch.Tensor:
    """What diffusers' ControlNet pipeline makes of a Request, (1, C, h, w).

    FLUX' would draw the map's latents from the generator before the noise: it is given the noise.
    """
    family = request.model.partition("-")[0]
    absent = {"text_encoder_3": None, "tokenizer_3": None} if "no-t5" in request.model else {}
    model = diffusers.DiffusionPipeline.from_pretrained(folder / request.model, **absent)
    kind = diffusers.SD3ControlNetModel if family == "sd3" else diffusers.FluxControlNetModel
    # Loaded for each Control: diffusers gives some of them the transformer's position embedding.
    nets = [kind.from_pretrained(folder / str(one.model)) for one in request.controls]
    pipe = PIPELINES[family](**model.components, controlnet=nets if len(nets) > 1 else nets[0])
    pipe.set_progress_bar_config(disable=True)
    row = SAMPLERS[request.sampler]
    pipe.scheduler = getattr(diffusers, row.scheduler).from_config(
        pipe.scheduler.config, **row.options, **SCHEDULES[request.schedule]
    )
    call = controlled_call(request, SHELF.get)
    call["control_image"] = call.pop("image")
    assert call.pop("guess_mode") is False
    if family == "flux":
        noise, _ = initial_noise((4, request.height // 4, request.width // 4), request.seed)
        told = request.distilled_guidance
        call |= {
            "latents": pack(noise),
            "guidance_scale": 3.5 if told is None else told,
            "true_cfg_scale": request.guidance_scale,
        }
    else:
        call["guidance_scale"] = request.guidance_scale
    made = pipe(
        request.prompt,
        negative_prompt=request.negative_prompt or None,
        num_inference_steps=request.steps,
        generator=torch.Generator("cpu").manual_seed(request.seed),
        width=request.width,
        height=request.height,
        output_type="latent",
        **call,
    ).images
    return unpack(made, request.height // 4, request.width // 4) if family == "flux" else made


TWO_OF = {
    "sd3": (by("sd3-edges", strength=0.8), by("sd3-depth", TWO, strength=0.5)),
    "flux": (by("flux-edges", strength=0.8), by("flux-depth", TWO, strength=0.5)),
}
CASES: dict[str, Request] = {
    "sd3": asked("sd3", by("sd3-edges")),
    "sd3, two": asked("sd3", *TWO_OF["sd3"], guidance_scale=6.0, steps=4),
    "sd3, one net, two maps": asked(
        "sd3", by("sd3-edges"), by("sd3-edges", TWO, strength=0.3), guidance_scale=2.0
    ),
    "sd3, window": asked("sd3", by("sd3-edges", start=0.2, stop=0.7, strength=1.6)),
    "sd3, two windows": asked("sd3", by("sd3-edges", stop=0.5), by("sd3-depth", TWO, start=0.4)),
    "sd3, unguided": asked("sd3", by("sd3-edges"), guidance_scale=1.0, prompt="two pears"),
    "sd3, heun": asked("sd3", by("sd3-edges", stop=0.5), sampler="flow_heun", steps=4),
    "sd3, beta": asked("sd3", by("sd3-depth"), schedule="beta", steps=6, negative_prompt=""),
    "sd3, three layers for four": asked("sd3", by("sd3-long")),
    "sd3, told the pooled text": asked("sd3", by("sd3-pooled", strength=0.7)),
    "sd3.5 large": asked("sd3", by("sd35-large")),
    "no t5": asked("sd3-no-t5", by("sd3-edges", strength=1.3), steps=4, negative_prompt=""),
    "no t5, two": asked("sd3-no-t5", *TWO_OF["sd3"], guidance_scale=6.0, steps=3),
    "no t5, heun": asked("sd3-no-t5", by("sd3-depth", start=0.4), sampler="flow_heun", steps=3),
    "dev": asked("flux-dev", by("flux-edges"), guidance_scale=1.0),
    "dev, negative prompt": asked("flux-dev", by("flux-edges")),
    # Its row without the prompt has all in common with the one above but what controls it.
    "dev, another prompt": asked("flux-dev", by("flux-edges"), prompt="two pears"),
    "dev, two": asked("flux-dev", *TWO_OF["flux"], steps=4),
    "dev, two windows": asked(
        "flux-dev", by("flux-edges", stop=0.5), by("flux-depth", TWO, start=0.4), guidance_scale=2.0
    ),
    "dev, no negative prompt": asked("flux-dev", by("flux-edges"), negative_prompt=""),
    "dev, distilled guidance": asked(
        "flux-dev", by("flux-edges", strength=0.6), guidance_scale=1.0, distilled_guidance=7.0
    ),
    "dev, told": asked("flux-dev", by("flux-told"), guidance_scale=1.0, distilled_guidance=7.0),
    "dev, told otherwise": asked("flux-dev", by("flux-told"), distilled_guidance=1.0),
    "dev, double blocks": asked("flux-dev", by("flux-double"), guidance_scale=1.0, steps=3),
    "dev, pixels": asked("flux-dev", by("flux-pixels"), schedule="beta"),
    "schnell": asked("flux-schnell", by("flux-edges"), guidance_scale=1.0),
    "schnell, two": asked("flux-schnell", *TWO_OF["flux"], negative_prompt=""),
    "schnell, told": asked("flux-schnell", by("flux-told"), guidance_scale=1.0),
}


@pytest.fixture(scope="module")
def wanted(folder: Path) -> dict[str, torch.Tensor]:
    """What diffusers makes of every case."""
    return {case: theirs(folder, request) for case, request in CASES.items()}


@pytest.mark.parametrize("case", CASES)
def test_a_control_does_what_diffusers_does(
    manager: PipelineManager, wanted: dict[str, torch.Tensor], case: str
) -> None:
    request = CASES[case]
    (ours,) = Made(manager, [request]).latents
    assert apart(ours, wanted[case]) <= TOLERANCE
    (without,) = Made(manager, [request.replace(controls=())]).latents
    assert apart(ours, without) > 1e-2, "the control does nothing"


@pytest.mark.parametrize("model", MODELS)
def test_all_of_them_in_one_sheet(
    manager: PipelineManager, wanted: dict[str, torch.Tensor], model: str
) -> None:
    """Guidance, sampler, steps, strength, window and ControlNets differ in every batch."""
    cases = {case: request for case, request in CASES.items() if request.model == model}
    made = Made(manager, list(cases.values()))
    for case, ours in zip(cases, made.latents, strict=True):
        assert apart(ours, wanted[case]) <= TOLERANCE, case
    assert made.tally.batches < sum(request.steps for request in cases.values())


@pytest.mark.parametrize("case", ["sd3, two", "dev, two"])
def test_a_picture_that_is_not_square(manager: PipelineManager, folder: Path, case: str) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (40, 64, 3), np.uint8)
    wide = SHELF.add(Image.fromarray(pixels))
    controls = [one.replace(image=wide) for one in CASES[case].controls]
    request = CASES[case].replace(width=64, height=40, controls=controls)
    (ours,) = Made(manager, [request]).latents
    assert apart(ours, theirs(folder, request)) <= TOLERANCE


@pytest.mark.parametrize(
    ("model", "nets", "depths"),
    [
        ("sd3", ("sd3-edges", "sd3-long"), 4),
        ("flux-dev", ("flux-double", "flux-edges"), 6),
        ("flux-dev", ("flux-pixels", "flux-double"), 3),
    ],
)
def test_controlnets_of_unlike_depth_add_up(
    manager: PipelineManager, model: str, nets: tuple[str, str], depths: int
) -> None:
    """Each acts at every block as it does alone; diffusers drops what the deeper has more. Rows
    that only one of them acts on stand in the same batch."""
    both = asked(model, by(nets[0], strength=0.5), by(nets[1], TWO, strength=1.5))
    with manager.use(model, nets) as loaded:
        family = manager.library.open(model).family
        controls = controls_of(family.spec)
        assert controls is not None
        scheduled = ControlConditioner(family, loaded, Maps(SHELF).of).controls(both)
        conditions = trajectories.encode_prompts(family, loaded, [both])
        x, _ = initial_noise((4, 8, 8), 3)
        terms = tuple(ControlTerm(control.source, control.strength) for control in scheduled)
        rows = [
            Row(x, torch.tensor(500.0), conditions["an apple"], some)
            for some in ((terms[0],), terms, (), (terms[1],))
        ]
        residuals = Residuals(controls, loaded, Tally())
        residuals.begin(rows)
        with torch.inference_mode():
            added = residuals.add_up(rows)
    assert len(added) == depths
    for first, sum_, nothing, second in added:
        assert apart(sum_, first + second) <= 1e-6 and not nothing.any()
    assert all(bool(second.any()) for _, _, _, second in added[:3])


def test_a_map_goes_down_the_ladder_when_memory_runs_out(manager: PipelineManager) -> None:
    with manager.use("sd3", ["sd3-edges"]) as loaded:
        family = manager.library.open("sd3").family
        (control,) = ControlConditioner(family, loaded, Maps(SHELF).of).controls(
            asked("sd3", by("sd3-edges"))
        )
        encoder = loaded.components["vae"].encoder
        inner, freed = encoder.forward, []

        def tight(pixels: torch.Tensor) -> Any:
            if not freed:
                raise torch.OutOfMemoryError("no room")
            return inner(pixels)

        encoder.forward = tight
        try:
            conditioner = ControlConditioner(
                family, loaded, Maps(SHELF).of, lambda: not freed.append(1)
            )
            (again,) = conditioner.controls(asked("sd3", by("sd3-edges")))
        finally:
            del encoder.forward
    assert freed and torch.equal(control.source.embedding, again.source.embedding)


def test_a_map_comes_in_the_controlnets_numbers(folder: Path) -> None:
    """On cards without bfloat16 the VAE computes in float32 and all else in 16 bits."""
    manager = PipelineManager([folder], device="cpu")
    with manager.use("sd3", ["sd3-edges"]) as loaded:
        loaded = replace(loaded, dtype=torch.bfloat16)
        loaded.controlnets["sd3-edges"].to(torch.bfloat16)
        conditioner = ControlConditioner(manager.library.open("sd3").family, loaded, Maps(SHELF).of)
        (control,) = conditioner.controls(asked("sd3", by("sd3-edges")))
    assert loaded.components["vae"].dtype == torch.float32
    assert control.source.embedding.dtype == torch.bfloat16


def test_strength_0_is_no_control(manager: PipelineManager) -> None:
    """Also where diffusers would have drawn from the generator for the map."""
    for model, net in (("sd3", "sd3-edges"), ("flux-dev", "flux-edges")):
        made = Made(manager, [asked(model, by(net, strength=0.0))])
        plain = asked(model)
        assert torch.equal(made.latents[0], Made(manager, [plain]).latents[0])
        assert made.tally.control_rows == 0


def test_strengths_share_the_controlnet_of_their_first_step(manager: PipelineManager) -> None:
    """FLUX' ControlNet is asked once for both rows of a guided cell, SD 3's for each."""
    for model, net, sides in (("sd3", "sd3-edges", 2), ("flux-dev", "flux-edges", 1)):
        cells = [asked(model, by(net, strength=s), steps=3) for s in (0.5, 1.0, 1.5)]
        tally = Made(manager, cells).tally
        assert tally.control_rows_naive == 3 * 3 * 2
        assert tally.control_rows == sides * (1 + 3 + 3)


def test_only_controlnets_that_are_told_part_by_distilled_guidance(
    manager: PipelineManager,
) -> None:
    for net, rows in (("flux-edges", 1), ("flux-told", 3)):
        cells = [
            asked("flux-dev", by(net), steps=1, guidance_scale=1.0, distilled_guidance=told)
            for told in (1.0, 3.5, 7.0)
        ]
        assert Made(manager, cells).tally.control_rows == rows


def test_exact_mode_is_exact_under_control(manager: PipelineManager) -> None:
    how = ComputeOptions(exact=True)
    for model, nets in (("sd3", ("sd3-edges", "sd3-long")), ("flux-dev", ("flux-edges",))):
        cells = [asked(model, by(net, strength=s), steps=2) for net in nets for s in (0.4, 1.0)] + [
            asked(model, steps=2)
        ]
        for cell, ours in zip(cells, Made(manager, cells, how).latents, strict=True):
            assert torch.equal(ours, Made(manager, [cell], how).latents[0])


@pytest.fixture(scope="module")
def studio(folder: Path, controlnets: Path) -> Any:
    studio = Studio([folder, controlnets], device="cpu")
    studio.add_picture(SHELF.get(ONE))
    yield studio
    studio.close()


def test_those_that_fit_are_listed(studio: Studio) -> None:
    fit = {model: [info.id for info in studio.controlnets(model)] for model in MODELS}
    assert fit["sd3"] == ["sd3-depth", "sd3-edges", "sd3-long", "sd3-pooled", "sd35-large"]
    assert fit["flux-dev"] == fit["flux-schnell"] == [
        "flux-depth", "flux-double", "flux-edges", "flux-pixels", "flux-told"
    ]  # fmt: skip


REFUSED = [
    (asked("sd3", by("canny")), "it is a ControlNetModel, sd3 models take SD3ControlNetModel"),
    (asked("sd3", by("flux-edges")), "it is a FluxControlNetModel, sd3 models take SD3"),
    (asked("flux-dev", by("sd3-edges")), "it is a SD3ControlNetModel, flux models take Flux"),
    (asked("flux-dev", by("flux-union")), r"union ControlNet, .* \(num_mode\)"),
    (asked("sd3", by("sd3-edges", mode="control")),
     "control mode is 'control'; ControlNet 'sd3-edges' is a SD3ControlNetModel, which knows "
     "balanced alone"),
    (asked("flux-dev", by("flux-edges", mode="prompt")), "which knows balanced alone"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "message"), REFUSED, ids=lambda v: str(v)[-40:])
def test_what_does_not_fit_is_refused(studio: Studio, request_: Request, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        studio.resolve(request_)
    assert studio.manager.history == []


WRONG: list[tuple[str, Any, str]] = [
    ("sd3", lambda: sd3_controlnet(num_attention_heads=2, caption_projection_dim=16),
     "its width is 16, the model's 32"),
    ("sd3", lambda: sd3_controlnet(extra_conditioning_channels=1), "it takes 1 more channels"),
    ("sd3", lambda: sd3_controlnet(pooled_projection_dim=16), r"\(pooled_projection_dim\) is 16"),
    ("flux-dev", lambda: flux_controlnet(in_channels=8), r"a token \(in_channels\) is 8"),
    ("flux-dev", lambda: flux_controlnet(joint_attention_dim=8), r"\(joint_attention_dim\) is 8"),
    ("flux-dev", lambda: flux_controlnet(num_layers=0), "it has no double blocks"),
    ("flux-dev",
     lambda: flux_controlnet(conditioning_embedding_channels=4, patch_size=2),
     "its tokens stand for 16 pixels along a side in 16 channels, the model's for 8 in 16"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "make", "message"), WRONG, ids=lambda v: str(v)[:24])
def test_sizes_that_do_not_fit_are_named(
    folder: Path, tmp_path: Path, model: str, make: Any, message: str
) -> None:
    make().save_pretrained(tmp_path / "wrong")
    studio = Studio([folder, tmp_path], device="cpu")
    studio.add_picture(SHELF.get(ONE))
    with pytest.raises(InvalidRequest, match=message):
        studio.resolve(asked(model, by("wrong")))
    studio.close()


def test_a_picture_larger_than_the_controlnet_knows(folder: Path, tmp_path: Path) -> None:
    sd3_controlnet(pos_embed_max_size=4, sample_size=8).save_pretrained(tmp_path / "small")
    manager = PipelineManager([folder, tmp_path], device="cpu")
    assert Made(manager, [asked("sd3", by("small"), steps=1)]).latents
    with pytest.raises(AssertionError, match=r"its ControlNet takes at most 32 along a side"):
        Made(manager, [asked("sd3", by("small"), steps=1, width=40)])


def test_pictures_come_through_the_studio(studio: Studio) -> None:
    """Loaded beside the model, which stays: another ControlNet loads nothing else."""
    for nets, model in ((("sd3-edges", "sd3-depth"), "sd3"), (("flux-edges",) * 2, "flux-dev")):
        pictures = [studio.image(asked(model, by(net), steps=1)) for net in nets]
        assert pictures[0].size == (32, 32)
    loaded = [sorted(one.loaded) for one in studio.manager.history]
    assert "controlnet sd3-edges" in loaded[0] and loaded[1] == ["controlnet sd3-depth"]
    assert "controlnet flux-edges" in loaded[2] and loaded[3] == []
    assert CASES["sd3, two"].controlnets == ("sd3-edges", "sd3-depth")

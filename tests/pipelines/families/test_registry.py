"""The registry of families: every row is whole, and one row and one class make another family."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import diffusers
import diffusers.loaders
import numpy as np
import pytest
import torch
from diffusers.loaders import single_file_utils
from typer.testing import CliRunner

import app
from pipelines import Axis, InvalidRequest, ModelUnavailable, Request, Sheet, Studio
from pipelines.checkpoints.identification.identify import PUBLISHED
from pipelines.controlnet.adapter import controls_of
from pipelines.families import FAMILIES, FamilySpec, load_family, register, spec_of
from pipelines.families.base import Family
from pipelines.runs.events import CellDone
from pipelines.samplers import SAMPLERS
from tests.helpers.tiny import save_sd
from tests.helpers.toy_family import TOY, save_toy
from ui.form.choices import model_choices, preset_of, sampler_choices, supports_of

ROWS = list(FAMILIES.values())
REQUEST = Request(as_diffusers=True,
    model="toy", prompt="an apple", negative_prompt="a pear", sampler="flow_euler", steps=4,
    guidance_scale=3.0, seed=5, width=32, height=32,
)  # fmt: skip


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with a toy model and a tiny one, and the toy's components."""
    folder = tmp_path_factory.mktemp("toys")
    save_sd(folder / "tiny")
    return folder, save_toy(folder / "toy")


@pytest.fixture
def folder(parts: tuple[Path, dict[str, Any]]) -> Path:
    return parts[0]


@pytest.fixture
def toy() -> Iterator[None]:
    """The toy family, for one test; the registry is as before after it."""
    before = dict(FAMILIES)
    undo = register(TOY)
    yield
    undo()
    assert dict(FAMILIES) == before


@pytest.fixture
def studio(folder: Path, toy: None, one_thread: None) -> Iterator[Studio]:
    studio = Studio(folder, device="cpu")
    yield studio
    studio.close()


def denoised_by_hand(parts: dict[str, Any], request: Request) -> np.ndarray[Any, Any]:
    """The picture of a Request by Euler's method on the toy's bare components."""
    tokens = parts["tokenizer"](
        [request.negative_prompt, request.prompt],
        padding="max_length", max_length=16, truncation=True, return_tensors="pt",
    )  # fmt: skip
    generator = torch.Generator("cpu").manual_seed(request.seed)
    x = torch.randn((1, 4, 8, 8), generator=generator)
    scheduler = parts["scheduler"]
    scheduler.set_timesteps(request.steps)
    vae = parts["vae"]
    with torch.inference_mode():
        states = parts["text_encoder"](tokens.input_ids)[0]
        for t, now, then in zip(
            scheduler.timesteps, scheduler.sigmas, scheduler.sigmas[1:], strict=False
        ):
            away, towards = -parts["transformer"](
                x.repeat(2, 1, 1, 1), states, (1000 - t).repeat(2), return_dict=False
            )[0]
            x = x + (then - now) * (away + request.guidance_scale * (towards - away))
        pixels = vae.decode(x / vae.config.scaling_factor + vae.config.shift_factor).sample
    values: np.ndarray[Any, Any] = ((pixels[0] / 2 + 0.5).clamp(0, 1) * 255).round().numpy()
    return values.transpose(1, 2, 0)


# ---- every row


@pytest.mark.parametrize("spec", ROWS, ids=[spec.id for spec in ROWS])
class TestRow:
    def test_its_pipelines_are_of_diffusers_and_of_this_row_alone(self, spec: FamilySpec) -> None:
        assert spec.label and spec.pipelines
        for name in spec.pipelines:
            assert spec_of(name) is spec
            taken = set(signature(getattr(diffusers, name).__init__).parameters)
            assert {*spec.components, "scheduler"} <= taken

    def test_its_components_are_named_once_and_the_optional_are_among_them(
        self, spec: FamilySpec
    ) -> None:
        assert len(set(spec.components)) == len(spec.components)
        assert spec.optional < set(spec.components)
        assert spec.denoiser in spec.components

    def test_its_torch_half_does_all_that_a_family_does(self, spec: FamilySpec) -> None:
        family = load_family(spec)
        assert family is load_family(spec) and family.spec is spec
        asked = [name for name in vars(Family) if not name.startswith("_") and name != "spec"]
        assert len(asked) == 8
        for name in asked:
            given = signature(getattr(family, name)).parameters
            wanted = list(signature(vars(Family)[name]).parameters)[1:]
            assert list(given) == wanted, name

    def test_its_controlnets_have_an_adapter(self, spec: FamilySpec) -> None:
        controls = controls_of(spec)
        assert (controls is None) == (spec.control_adapter is None)
        if controls is not None:
            assert controls is controls_of(spec) and controls.modes
            assert all(hasattr(diffusers, name) for name in controls.classes)

    def test_diffusers_reads_its_loras_and_files(self, spec: FamilySpec) -> None:
        if spec.lora_loader is not None:
            assert hasattr(getattr(diffusers.loaders, spec.lora_loader), "lora_state_dict")
        published = spec.id in {one.family for one in PUBLISHED.values()}
        assert spec.converter is not None or spec.denoiser == "unet" or not published
        if spec.converter is not None:
            assert callable(getattr(single_file_utils, spec.converter))

    def test_what_it_suggests_is_a_request_for_its_samplers(self, spec: FamilySpec) -> None:
        asked = Request(model="x", prompt="x", **spec.suggested)
        assert SAMPLERS[asked.sampler].kind == spec.kind or not spec.suggested


def test_ids_are_the_keys_and_every_published_model_has_a_family() -> None:
    assert [spec.id for spec in ROWS] == list(FAMILIES)
    assert {one.family for one in PUBLISHED.values()} <= set(FAMILIES)


# ---- another row


def test_a_family_is_one_row_and_one_class(
    studio: Studio, parts: tuple[Path, dict[str, Any]]
) -> None:
    """Its picture is that of its bare components, alone and in a sheet."""
    expected = denoised_by_hand(parts[1], REQUEST)
    assert np.ptp(expected) > 30, "it is no plain surface"
    alone = np.asarray(studio.image(REQUEST), np.float32)
    assert np.abs(alone - expected).max() <= 2
    sheet = Sheet(base=REQUEST, axes=[Axis(field="guidance_scale", values=[1.0, 3.0])])
    cells = {e.request: e.image for e in studio.run(sheet) if isinstance(e, CellDone)}
    made = {one.guidance_scale: np.asarray(image, np.float32) for one, image in cells.items()}
    assert np.abs(made[3.0] - expected).max() <= 2
    assert np.abs(made[1.0] - expected).max() > 10, "the guidance acts"


def test_menus_offer_its_models_and_what_they_can_do(studio: Studio) -> None:
    assert ("toy", "toy") in model_choices(studio)
    supports = supports_of(studio, "toy")
    assert supports is not None
    flow = [row.id for row in SAMPLERS.values() if row.kind == "flow"]
    assert [id for _, id in sampler_choices(supports)] == flow
    assert preset_of("toy", supports).sampler == "flow_heun"
    assert studio.native_size("toy") == (512, 512)
    assert (studio.tokens("toy", "pear").most, studio.tokens("tiny", "pear").most) == (15, 75)


def test_the_command_line_lists_it(folder: Path, toy: None) -> None:
    result = CliRunner().invoke(app.app, ["models", "--models", str(folder), "--json"])
    rows = {row["id"]: row for row in json.loads(result.stdout)}
    row = rows["toy"]
    assert (row["family"], row["kind"], row["problem"]) == ("toy", "flow", None)
    assert (row["guidance"], row["size"]) == ("classifier free", "512x512")


def test_validation_refuses_what_it_cannot_do(studio: Studio) -> None:
    with pytest.raises(InvalidRequest, match="sampler 'ddim' does not fit 'toy', a flow model"):
        studio.resolve(REQUEST.replace(sampler="ddim"))
    with pytest.raises(InvalidRequest, match=r"width is 36; .* multiples of 8"):
        studio.resolve(REQUEST.replace(width=36))
    with pytest.raises(InvalidRequest, match="'toy', a flow model, cannot follow"):
        studio.resolve(REQUEST.replace(prompt="(red:1.2) apple"))
    assert studio.control_modes("toy") == () and studio.controlnets("toy") == []


def test_without_its_row_the_model_is_listed_with_what_is_missing(folder: Path) -> None:
    with pytest.raises(ModelUnavailable, match="no family runs 'ToyPipeline' models"):
        spec_of("ToyPipeline")
    with_problem = {info.id: info.problem for info in Studio(folder, device="cpu").models()}
    assert with_problem["tiny"] is None
    assert "no family runs 'ToyPipeline' models; supported: Stable" in str(with_problem["toy"])


@pytest.mark.parametrize("taken", [{"id": "sd"}, {"pipelines": ("X", "FluxPipeline")}])
def test_a_row_cannot_take_what_another_has(taken: dict[str, Any]) -> None:
    spec = FamilySpec(
        **{
            "id": "mine", "label": "Mine", "pipelines": ("X",), "implementation": "x:Y",
            "text_encoders": (), "kind": "flow", "latent_channels": 4, "sizes": TOY.sizes, **taken,
        }
    )  # fmt: skip
    before = dict(FAMILIES)
    with pytest.raises(InvalidRequest, match=r"takes the id or a pipeline of '(sd|flux)'"):
        register(spec)
    assert dict(FAMILIES) == before


def test_undoing_a_registration_twice_takes_out_no_other(toy: None) -> None:
    one = FamilySpec(
        "mine", "Mine", ("X",), "x:Y", text_encoders=(), kind="flow", latent_channels=4,
        sizes=TOY.sizes,
    )  # fmt: skip
    undo = register(one)
    undo()
    other = FamilySpec(
        "mine", "Mine", ("X",), "x:Y", text_encoders=(), kind="flow", latent_channels=4,
        sizes=TOY.sizes,
    )  # fmt: skip
    undo_other = register(other)
    undo()
    assert spec_of("X") is other
    undo_other()


@pytest.mark.parametrize("lacking", [{"id": ""}, {"pipelines": ()}, {"pipelines": ("",)}])
def test_a_row_needs_an_id_and_a_pipeline(lacking: dict[str, Any]) -> None:
    row = FamilySpec(
        **{
            "id": "mine", "label": "Mine", "pipelines": ("X",), "implementation": "x:Y",
            "text_encoders": (), "kind": "flow", "latent_channels": 4, "sizes": TOY.sizes,
            **lacking,
        }
    )  # fmt: skip
    with pytest.raises(InvalidRequest, match="it needs an id"):
        register(row)


def unreadable(configs: Any) -> Any:
    return configs["transformer"] + 1


BROKEN: dict[str, dict[str, Any]] = {
    "implementation 'nope.nope:Toy'": {"implementation": "nope.nope:Toy"},
    "implementation 'pipelines:Nope'": {"implementation": "pipelines:Nope"},
    "implementation 'pipelines'": {"implementation": "pipelines"},
    "control_adapter 'a:b'": {"control_adapter": "a:b"},
    "cannot say what the model can do": {"sizes": unreadable},
}


@pytest.mark.parametrize("said", BROKEN)
def test_an_entry_that_cannot_be_used_is_said_with_its_row(folder: Path, said: str) -> None:
    undo = register(replace(TOY, **BROKEN[said]))
    studio = Studio(folder, device="cpu")
    try:
        with pytest.raises(ModelUnavailable, match=f"family 'toy' .*{said}"):
            studio.control_modes("toy")
            studio.image(REQUEST)
    finally:
        undo()
        studio.close()

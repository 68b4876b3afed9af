"""Prompt weights and parts in pictures: against formulas, and against diffusers' own pipelines."""

from __future__ import annotations

import diffusers
import pytest
import torch
from PIL import ImageChops

from pipelines import InvalidRequest, Request, Sheet, Studio
from pipelines.families.weighted_prompts import encode, tokenize
from pipelines.model_manager.manager import PipelineManager
from pipelines.request.axis_grammar import parse_axis
from pipelines.request.prompts.prompt_weights import parse_weights
from pipelines.runs.events import CellDone
from tests.helpers.tiny import save_sd
from tests.helpers.tiny_families import MAKERS

pytestmark = pytest.mark.usefixtures("one_thread")
LONG = "abc " * 40 + "BREAK (de:1.5)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weighted")
    save_sd(folder / "tiny")
    for name in ("sdxl", "lcm", "sd3", "flux-dev"):
        MAKERS[name]().save_pretrained(folder / name, safe_serialization=True)
    return folder


@pytest.fixture(scope="module")
def studio(folder):
    studio = Studio(folder, device="cpu")
    yield studio
    studio.close()


def states_of(condition):
    return condition[0] if isinstance(condition, tuple) else condition


def flat(condition):
    return condition if isinstance(condition, tuple) else (condition,)


@pytest.mark.parametrize("name", ["tiny", "sdxl"])
def test_weight_one_is_no_weight(folder, name):
    """The path of weights, walked without any, gives the very bits of the path without it."""
    manager = PipelineManager([folder], device="cpu")
    with manager.use(name) as model:
        parts = parse_weights("a pear BREAK x")[:1]
        plain = manager.library.open(name).family.encode(model, ["a pear"])[0]
        for mine, own in zip(flat(encode(model, parts)), flat(plain), strict=True):
            assert torch.equal(mine, own)


@pytest.mark.parametrize("name", ["tiny", "sdxl"])
def test_a_weight_leads_away_from_the_empty_text(folder, name):
    manager = PipelineManager([folder], device="cpu")
    with manager.use(name) as model:
        tokenizer = model.components["tokenizer"]
        part = tokenize(tokenizer, parse_weights("ab (cd:1.5) e")[0])
        assert list(part.ids[0]) == tokenizer("ab cd e", padding="max_length").input_ids
        assert part.weights == ((1, 1, 1, 1.5, 1.5, *[1] * 72),)
        family = manager.library.open(name).family
        z, empty = (states_of(one)[0] for one in family.encode(model, ["ab cd e", ""]))
        got = states_of(encode(model, parse_weights("ab (cd:1.5) e")))[0]
    want = empty + torch.tensor(part.weights[0])[:, None] * (z - empty)
    assert (got - want).abs().max() <= 1e-5 * want.abs().max()
    plain = torch.tensor(part.weights[0]) == 1
    assert (got - z)[plain].abs().max() <= 1e-6 and (got - z)[~plain].abs().max() > 0.1


@pytest.mark.parametrize("name", ["tiny", "sdxl"])
def test_long_prompts_are_their_chunks_one_after_the_other(folder, name):
    manager = PipelineManager([folder], device="cpu")
    with manager.use(name) as model:
        family = manager.library.open(name).family
        long = states_of(encode(model, parse_weights("x" * 100 + " BREAK yz")))
        assert long.shape[1] == 3 * 77
        last = states_of(family.encode(model, ["yz"])[0])
        assert (long[:, 2 * 77 :] - last).abs().max() <= 1e-6
        # A word that is too long is cut where the chunk is full, as the tokenizer cuts it.
        start = states_of(family.encode(model, ["x" * 100])[0])
        assert (long[:, :77] - start).abs().max() <= 1e-6


def test_a_guided_picture_equals_diffusers_given_the_same_embeddings(folder, studio):
    request = Request(
        model="tiny", prompt="ab (cd:1.5) e", negative_prompt="[x] y", steps=4, seed=3,
        width=32, height=32,
    )  # fmt: skip
    manager = PipelineManager([folder], device="cpu")
    with manager.use("tiny") as model:
        prompt, negative = (
            encode(model, parse_weights(text)) for text in (request.prompt, request.negative_prompt)
        )
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(folder / "tiny", safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    image = pipe(
        prompt_embeds=prompt, negative_prompt_embeds=negative, num_inference_steps=4,
        guidance_scale=5.0, width=32, height=32, generator=torch.Generator("cpu").manual_seed(3),
        output_type="np",
    ).images[0]  # fmt: skip
    mine = torch.tensor(list(studio.image(request).getdata())).reshape(32, 32, 3)
    assert (mine - torch.from_numpy(image * 255).round()).abs().max() <= 2
    plain = studio.image(request.replace(prompt="ab cd e"))
    assert plain.tobytes() != studio.image(request).tobytes()


@pytest.mark.parametrize("name", ["tiny", "sdxl", "lcm"])
def test_cells_of_all_lengths_share_a_sheet(studio, name):
    base = Request(model=name, prompt="a pear", steps=2, seed=3, width=32, height=32)
    if name == "lcm":
        base = base.replace(sampler="lcm")
    prompts = f'prompt="a pear", "a (pear:1.0)", "a (pear:1.4)", "{LONG}", "a BREAK (b)"'
    sheet = Sheet(base=base, axes=(parse_axis(prompts),))
    done = {event.cell: event.image for event in studio.run(sheet) if isinstance(event, CellDone)}
    assert len(done) == 5
    for cell, request in enumerate(sheet.expand()):
        alone = ImageChops.difference(studio.image(request), done[cell])
        assert max(most for _, most in alone.getextrema()) <= 2
    assert done[0].tobytes() == done[1].tobytes()  # weight 1.0 is the same cell
    assert len({done[cell].tobytes() for cell in (0, 2, 3, 4)}) == 4


@pytest.mark.parametrize("name", ["sd3", "flux-dev"])
def test_other_families_say_that_they_cannot(studio, name):
    request = Request(model=name, prompt="a (pear)", sampler="flow_euler", width=32, height=32)
    with pytest.raises(InvalidRequest, match=r"prompt has weights or parts.* write \\\( "):
        studio.resolve(request)
    studio.resolve(request.replace(prompt=r"a \(pear\)"))
    with pytest.raises(InvalidRequest, match=r"negative_prompt has weights"):
        studio.resolve(request.replace(prompt="x", negative_prompt="[y]"))


def test_tokens_of_parts_are_counted(studio):
    tokens = studio.tokens("tiny", LONG)
    assert (tokens.count, tokens.parts, tokens.cut) == (122, 3, "")
    assert studio.tokens("tiny", r"\(a\)").count == 3

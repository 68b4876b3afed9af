"""Prompts that change by step, clauses joined by AND, clip skip and LoRA tags against diffusers.

The peer is diffusers' pipeline, whose embeddings are swapped between steps by hand, or a loop of
its scheduler and its U-Net that reads like the papers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from bench.peer import Peer
from pipelines import LoRA, Request, Studio
from pipelines.checkpoints.loras import WEIGHTS
from pipelines.denoising import engine
from pipelines.denoising.guiders.base import row_count
from pipelines.errors import InvalidRequest, UnknownName
from pipelines.model_manager.manager import PipelineManager
from pipelines.rendering import trajectories
from pipelines.request.axis_grammar import parse_axis
from pipelines.request.sheet import Sheet
from pipelines.runs.events import CellDone
from pipelines.samplers import SAMPLERS
from tests.helpers.evaluation import evaluate
from tests.helpers.evaluator import FunctionEvaluator
from tests.helpers.lora_makers import load_lora, save_with_loras
from tests.helpers.tiny_families import flux, lcm, sd3

pytestmark = pytest.mark.usefixtures("one_thread")
BASE = Request(as_diffusers=True,
    model="tiny", prompt="an apple", negative_prompt="a pear", steps=6, sampler="euler",
    guidance_scale=4.5, seed=11, width=32, height=32,
)  # fmt: skip


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_with_loras(tmp_path_factory.mktemp("by_step"))
    for name, make in {"sd3": sd3, "flux": flux, "lcm": lcm}.items():
        make().save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="module")
def studio(zoo: Path) -> Iterator[Studio]:
    studio = Studio(zoo, device="cpu")
    yield studio
    studio.close()


@lru_cache(maxsize=4)
def peer(folder: Path) -> Peer:
    return Peer(diffusers.DiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32))


def ours(zoo: Path, requests: list[Request]) -> list[torch.Tensor]:
    """Our latents of Requests for one model, denoised together; rows they asked for are counted."""
    manager = PipelineManager([zoo], device="cpu")
    with manager.use(requests[0].model) as model:
        family = manager.library.open(model.id).family
        conditions = trajectories.encode_prompts(family, model, requests)
        evaluator = FunctionEvaluator(lambda rows: evaluate(family, model, rows), 16)
        cells = [
            (i, lambda r=r: trajectories.guided_trajectory(family, model, r, conditions))
            for i, r in enumerate(requests)
        ]
        made: dict[int, torch.Tensor] = {}
        for event in engine.denoise(cells, evaluator):
            assert not isinstance(event, engine.Failed), event
            if isinstance(event, engine.Finished):
                made[event.cell] = event.latents
        supports = family.spec.capabilities(model.configs)
        cost = sum(
            row_count(
                trajectories.guidance_for(r, supports), SAMPLERS[r.sampler].evaluations(r.steps)
            )
            for r in requests
        )
    assert evaluator.tally.rows_naive == cost, "the forecast counts every row"
    return [made[i] for i in range(len(requests))]


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max())


def embeddings(pipe: Any, text: str) -> torch.Tensor:
    found: torch.Tensor = pipe.encode_prompt(text, "cpu", 1, False)[0]
    return found


def switched(
    folder: Path, request: Request, texts: Callable[[int], tuple[str, str]], order: int = 1
) -> torch.Tensor:
    """diffusers' latents with other prompts from step to step.

    Args:
        texts: step, from 1, to prompt and negative prompt.
        order: evaluations of one step; diffusers tells of each.
    """
    one = peer(folder)

    def swap(pipe: Any, index: int, t: Any, given: dict[str, Any]) -> dict[str, Any]:
        prompt, negative = texts((index + 1) // order + 1)
        return {"prompt_embeds": torch.cat([embeddings(pipe, negative), embeddings(pipe, prompt)])}

    prompt, negative = texts(1)
    made: torch.Tensor = one.make(
        request.replace(prompt=prompt, negative_prompt=negative),
        output_type="latent",
        callback_on_step_end=swap,
        callback_on_step_end_tensor_inputs=["prompt_embeds"],
    )
    return made


BY_STEP: dict[str, tuple[str, Callable[[int], str]]] = {
    "half": ("[a red:a blue:0.5] apple", lambda i: "a red apple" if i <= 3 else "a blue apple"),
    "step": ("[a red:a blue:2] apple", lambda i: "a red apple" if i <= 2 else "a blue apple"),
    "added": ("an apple[ on a plate:4]", lambda i: "an apple" + " on a plate" * (i > 4)),
    "removed": ("an apple[ on a plate::1]", lambda i: "an apple" + " on a plate" * (i < 2)),
    "alternates": ("a [cat|dog|cow]", lambda i: f"a {('cat', 'dog', 'cow')[(i - 1) % 3]}"),
    "nested": (
        "a [cat:[dog|cow]:2]",
        lambda i: f"a {'cat' if i <= 2 else ('cow', 'dog')[i % 2]}",
    ),
}


def test_prompts_by_step_equal_swapped_embeddings(zoo: Path) -> None:
    """All in one sheet, beside cells that stay as they are."""
    requests = [BASE.replace(prompt=prompt) for prompt, _ in BY_STEP.values()]
    plain = [BASE, BASE.replace(prompt="a red apple")]
    made = ours(zoo, [*requests, *plain, BASE.replace(negative_prompt="[a pear:dark:0.5]")])
    for (name, (_, text)), one in zip(BY_STEP.items(), made, strict=False):
        want = switched(zoo / "tiny", BASE, lambda i, text=text: (text(i), "a pear"))
        assert apart(one, want) <= 1e-4, name
    for request, one in zip(plain, made[len(requests) :], strict=False):
        assert apart(one, peer(zoo / "tiny").make(request, output_type="latent")) <= 1e-4
    want = switched(zoo / "tiny", BASE, lambda i: ("an apple", "a pear" if i <= 3 else "dark"))
    assert apart(made[-1], want) <= 1e-4
    assert min(apart(a, b) for i, a in enumerate(made) for b in made[:i]) > 1e-3


@pytest.mark.parametrize("sampler", ["heun", "dpm2"])
def test_a_step_of_two_evaluations_has_one_text(zoo: Path, sampler: str) -> None:
    request = BASE.replace(prompt="[an apple:a plum:2]", sampler=sampler, steps=5)
    text = lambda i: ("an apple" if i <= 2 else "a plum", "a pear")  # noqa: E731
    want = switched(zoo / "tiny", request, text, order=2)
    assert apart(ours(zoo, [request])[0], want) <= 1e-4


def composed(
    folder: Path, request: Request, clauses: list[tuple[str, float]], negative: str
) -> torch.Tensor:
    """Composable diffusion by the formula: u + Σ w·s·(c − u), with DDIM."""
    one = peer(folder)
    pipe = one.pipe
    scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config)
    scheduler.set_timesteps(request.steps)
    x = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(request.seed))
    uncond = embeddings(pipe, negative)
    for t in scheduler.timesteps:
        with torch.no_grad():
            u = pipe.unet(x, t, uncond)[0]
            noise = u.clone()
            for text, weight in clauses:
                c = pipe.unet(x, t, embeddings(pipe, text))[0]
                noise += weight * request.guidance_scale * (c - u)
        x = scheduler.step(noise, t, x)[0]
    return x


def test_and_is_composable_diffusion(zoo: Path) -> None:
    base = BASE.replace(sampler="ddim", steps=5)
    cases = [
        ("an apple AND a cat", [("an apple", 1.0), ("a cat", 1.0)], 4.5),
        ("an apple :1.5 AND a cat: -0.5", [("an apple", 1.5), ("a cat", -0.5)], 4.5),
        ("a AND b :0.3 AND c :.2", [("a", 1.0), ("b", 0.3), ("c", 0.2)], -2.0),
        # Guidance off: the formula at s = 1, which needs no other row where weights add up to 1.
        ("an apple :0.7 AND a cat :0.3", [("an apple", 0.7), ("a cat", 0.3)], 1.0),
        ("an apple AND a cat", [("an apple", 1.0), ("a cat", 1.0)], 1.0),
    ]
    requests = [base.replace(prompt=prompt, guidance_scale=scale) for prompt, _, scale in cases]
    made = ours(zoo, [*requests, base])
    for request, (_, clauses, _), one in zip(requests, cases, made, strict=False):
        want = composed(zoo / "tiny", request, clauses, "a pear")
        assert apart(one, want) <= 1e-4, request.prompt
    assert apart(made[-1], composed(zoo / "tiny", base, [("an apple", 1.0)], "a pear")) <= 1e-4


def test_and_costs_rows_that_the_forecast_counts(studio: Studio) -> None:
    base = BASE.replace(prompt="an apple AND a cat AND a [dog|cow]")
    plan = studio.plan(Sheet(base=base, axes=(parse_axis("prompt=an apple, a AND b"),)))
    assert plan.cost.rows == 6 * 2 + 6 * 3
    assert studio.plan(Sheet(base=base)).cost.rows == 6 * 4
    events = list(studio.submit(Sheet(base=base), previews=False).events())
    assert events[-1].stats.rows_naive == 24


@pytest.mark.parametrize(("model", "scale"), [("xl", 4.5), ("sd3", 4.5), ("flux", 1.0)])
def test_larger_families_change_by_step_and_compose(zoo: Path, model: str, scale: float) -> None:
    """At one step each text is that text's picture; clauses of one text are that text."""
    sampler = "euler" if model == "xl" else "flow_euler"
    base = Request(
        model=model, prompt="a cat", steps=3, sampler=sampler, guidance_scale=scale, width=32,
        height=32, seed=2,
    )  # fmt: skip
    prompts = ["a cat", "a dog", "[a cat:a dog:9]", "[a cat:a dog:0]", "[a cat:a dog:1]",
               "a cat :0.5 AND a cat :0.5", "a cat :0.5 AND a dog :0.5"]  # fmt: skip
    cat, dog, first, second, both, twice, mixed = ours(
        zoo, [base.replace(prompt=prompt) for prompt in prompts]
    )
    assert torch.equal(cat, first) and torch.equal(dog, second)
    assert apart(cat, twice) <= 1e-4
    assert min(apart(both, cat), apart(both, dog), apart(mixed, cat), apart(mixed, dog)) > 1e-3


def test_clip_skip_equals_diffusers(zoo: Path) -> None:
    """diffusers' own way is broken for SD 1.5 with this transformers: its formula, by hand."""
    one = peer(zoo / "tiny")
    pipe = one.pipe
    ids = pipe.tokenizer(
        "an apple", padding="max_length", max_length=77, return_tensors="pt"
    ).input_ids
    with torch.no_grad():
        hidden = pipe.text_encoder(ids, output_hidden_states=True).hidden_states[-2]
        states = pipe.text_encoder.final_layer_norm(hidden)
    request = BASE.replace(clip_skip=1)
    call = {"prompt_embeds": states, "negative_prompt_embeds": embeddings(pipe, "a pear")}
    pipe.scheduler = diffusers.EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    want = pipe(
        num_inference_steps=6, guidance_scale=4.5, generator=torch.Generator().manual_seed(11),
        width=32, height=32, output_type="latent", **call,
    ).images  # fmt: skip
    skipped, plain, weighted = ours(
        zoo, [request, BASE, request.replace(prompt="(an:1.0000001) apple")]
    )
    assert apart(skipped, want) <= 1e-4 and apart(weighted, want) <= 1e-3
    assert apart(skipped, plain) > 1e-3


@pytest.mark.parametrize("model", ["xl", "sd3"])
def test_clip_skip_of_larger_families_equals_diffusers(zoo: Path, model: str) -> None:
    sampler = "euler" if model == "xl" else "flow_euler"
    request = BASE.replace(model=model, sampler=sampler, clip_skip=1)
    one = peer(zoo / model)
    made, plain = ours(zoo, [request, request.replace(clip_skip=0)])
    assert apart(made, one.make(request, output_type="latent", clip_skip=1)) <= 1e-4
    assert apart(plain, one.make(request, output_type="latent")) <= 1e-4
    assert apart(made, plain) > 1e-3


def test_models_say_how_many_layers_can_be_skipped(studio: Studio) -> None:
    with pytest.raises(InvalidRequest, match="clip_skip is 2; 'tiny' takes 0 to 1"):
        studio.resolve(BASE.replace(clip_skip=2))
    with pytest.raises(InvalidRequest, match="clip_skip is 1; 'flux' takes none"):
        studio.resolve(BASE.replace(model="flux", sampler="flow_euler", clip_skip=1))


def test_a_lora_tag_is_the_lora(studio: Studio, zoo: Path) -> None:
    base = BASE.replace(negative_prompt="")
    asked = base.replace(prompt="an apple <lora:tiny-one:0.7>")
    complete = studio.resolve(asked)
    assert (complete.prompt, complete.loras) == ("an apple", (LoRA(name="tiny-one", scale=0.7),))
    assert studio.address(asked) == studio.address(base.replace(loras=["tiny-one:0.7"]))
    for spelled in ("sub/folder/tiny-one", "tiny-one.safetensors", "a\\tiny-one"):
        tagged = base.replace(prompt=f"an apple <lora:{spelled}:0.7>")
        assert studio.resolve(tagged) == complete
    with pytest.raises(UnknownName, match="unknown LoRA 'tiny-on'; did you mean 'tiny-one'"):
        studio.resolve(base.replace(prompt="<lora:tiny-on:1>"))
    sheet = Sheet(
        base=base, axes=(parse_axis('prompt="an apple","an apple <lora:tiny-one:1>",a pear'),)
    )
    cells = [e for e in studio.run(sheet) if isinstance(e, CellDone)]
    assert len({cell.image.tobytes() for cell in cells}) == 3
    alone = studio.image(base.replace(loras=["tiny-one"]))
    assert cells[[c.request.lora_names for c in cells].index(("tiny-one",))].image == alone


def test_a_lora_with_two_scales_equals_diffusers(studio: Studio, zoo: Path) -> None:
    request = studio.resolve(BASE.replace(prompt="an apple <lora:tiny-one:0.9:0.4>"))
    pipe = diffusers.DiffusionPipeline.from_pretrained(zoo / "tiny")
    load_lora(pipe, zoo / "tiny-one" / WEIGHTS, "one", 0.9)
    pipe.unet.set_adapters(["one"], [0.4])
    want = Peer(pipe).make(request, output_type="np")[0]
    image = torch.tensor(list(studio.image(request).getdata())).view(32, 32, 3) / 255
    assert apart(image, torch.from_numpy(want)) <= 2 / 255
    one_scale = studio.image(BASE.replace(loras=["tiny-one:0.4"]))
    assert one_scale != studio.image(request)

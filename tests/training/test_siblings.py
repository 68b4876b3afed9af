"""The mathematics of the siblings' training, and their folders as the program loads them."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
)
from PIL import Image

from pipelines.analysis.clip_score import ClipScorer
from training.data.concepts import Concept
from training.data.drawings import STYLES, Drawings
from training.data.pairs import PairMaker
from training.data.scenes import Scenes
from training.data.tokenizer import build_text_encoder, learn_tokenizer, tokenize
from training.optim import ddpm
from training.stages import clip, flow, flow_parts, lcm
from training.stages.export import export
from training.stages.samples import make_pipeline, make_scheduler
from training.stages.shipped import load_shipped
from training.stages.unet import Config as UnetConfig
from training.stages.unet import build_unet
from training.stages.vae import Config as VaeConfig
from training.stages.vae import build_vae

CAPTIONS = ["a red apple", "", "two blue cubes and a cone"]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model in the shape of the shipped one, as a folder."""
    torch.manual_seed(0)
    tokenizer = learn_tokenizer(CAPTIONS, 700)
    unet = build_unet(UnetConfig(channels=(32, 32, 32), heads=2, text_hidden=16))
    torch.nn.init.normal_(unet.conv_out.weight, std=0.05)
    vae = build_vae(VaeConfig(channels=(8, 8, 8, 8), norm_groups=4))
    text = build_text_encoder(len(tokenizer), 16, 2)
    folder = tmp_path_factory.mktemp("models") / "emoji"
    export(make_pipeline(unet, text, tokenizer, vae), folder)
    return folder


# --- LCM ---


def test_the_boundary_is_what_the_lcm_scheduler_divides_by() -> None:
    scheduler = LCMScheduler()
    for t in (0, 1, 259, 999):
        skip, out = lcm.boundary(torch.tensor([t]))
        expected = scheduler.get_scalings_for_boundary_condition_discrete(t)
        assert (float(skip), float(out)) == pytest.approx(tuple(map(float, expected)), abs=1e-7)
    skip, out = lcm.boundary(torch.tensor([0]))
    assert (skip.item(), out.item()) == (1, 0), "a clean latent is its own end"


def test_the_solver_s_step_is_the_ddim_scheduler_s() -> None:
    torch.manual_seed(0)
    x, noise = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    scheduler: DDIMScheduler = make_scheduler()
    scheduler.set_timesteps(25)
    t = int(scheduler.timesteps[3])
    expected = scheduler.step(noise, t, x).prev_sample
    earlier = torch.full((2,), t - 40)
    found = lcm.ddim_step(x, noise, torch.full((2,), t), earlier, ddpm.alphas_cumprod())
    assert float((found - expected).abs().max()) < 1e-5


def test_a_student_that_knows_the_end_has_no_error_and_another_has() -> None:
    torch.manual_seed(0)
    alpha_bar = ddpm.alphas_cumprod()
    end, noise = torch.randn(1, 4, 4, 4).expand(6, 4, 4, 4), torch.randn(6, 4, 4, 4)
    t = torch.tensor([1, 30, 200, 500, 800, 999])
    earlier = (t - 40).clamp(min=0)

    def knows(x: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        """The noise that leads exactly to `end`, where data is that one point."""
        level = alpha_bar[at].view(-1, 1, 1, 1)
        return (x - level.sqrt() * end) / (1 - level).sqrt()

    exact = lcm.distillation_errors(knows, knows, end, noise, t, earlier, alpha_bar)
    assert float(exact[2:].max()) < 0.02, "what is left is c_skip's share of the noise"
    wrong = lcm.distillation_errors(
        lambda x, at: torch.zeros_like(x), knows, end, noise, t, earlier, alpha_bar
    )
    assert float(wrong[2:].min()) > 0.2


def test_only_the_later_point_gets_a_gradient() -> None:
    weight = torch.ones(1, requires_grad=True)
    seen = []

    def student(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append((t.tolist(), torch.is_grad_enabled()))
        return weight * x

    x, t, earlier = torch.randn(1, 4, 4, 4), torch.tensor([500]), torch.tensor([460])
    args = (x, torch.randn_like(x), t, earlier, ddpm.alphas_cumprod())
    lcm.distillation_errors(student, lambda y, at: y, *args).sum().backward()
    assert sorted(seen) == [([460], False), ([500], True)]


def test_pseudo_huber_is_a_length_and_flat_at_zero() -> None:
    a = torch.zeros(1, 4, 8, 8)
    c = 0.00054 * 16
    assert float(lcm.pseudo_huber(a, a)) == 0
    assert float(lcm.pseudo_huber(a, a + 1)) == pytest.approx((256 + c * c) ** 0.5 - c)


def test_a_lora_loads_as_it_was_trained(shipped: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = lcm.Config(model=str(shipped), rank=4)
    parts = lcm.add_adapter(load_shipped(str(shipped)).unet, config.rank)
    weights = {k: torch.randn_like(v) * 0.1 for k, v in parts.state_dict().items()}
    size = lcm.export(config, weights, tmp_path)
    assert size < 1e6
    pipeline = StableDiffusionPipeline.from_pretrained(shipped, use_safetensors=True)
    noisy, t, text = torch.randn(1, 4, 16, 16), torch.tensor(500), torch.randn(1, 24, 16)
    with torch.no_grad():
        plain = pipeline.unet(noisy, t, text).sample
        pipeline.load_lora_weights(tmp_path, weight_name="pytorch_lora_weights.safetensors")
        loaded = pipeline.unet(noisy, t, text).sample
        trained = lcm.adapted(str(shipped), config.rank, weights).unet(noisy, t, text).sample
    assert float((loaded - trained).abs().max()) < 2e-3, "float16 on the disk"
    assert float((plain - trained).abs().max()) > 0.05


# --- flow ---


def test_the_path_is_straight_and_the_velocity_its_slope() -> None:
    torch.manual_seed(0)
    x0, noise = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8)
    ends = flow.interpolate(x0, noise, torch.tensor([0.0, 1.0, 0.25]))
    assert ends[0].equal(x0[0])
    assert torch.allclose(ends[1], noise[1])
    assert torch.allclose(ends[2], 0.75 * x0[2] + 0.25 * noise[2])
    scheduler = FlowMatchEulerDiscreteScheduler(shift=2.0)
    scheduler.set_timesteps(4)
    x = noise
    for t in scheduler.timesteps:
        x = scheduler.step(noise - x0, t, x).prev_sample
    assert float((x - x0).abs().max()) < 1e-5, "diffusers walks this velocity back to the data"
    sigma = torch.tensor([0.1, 0.5, 0.9])
    asked: list[torch.Tensor] = []

    def slope(at: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        asked.append(t)
        return noise - x0 + 1

    errors = flow.flow_step(slope, x0, noise, sigma)
    assert torch.allclose(errors, torch.ones(3), atol=1e-4)
    assert asked[0].tolist() == pytest.approx([100, 500, 900])


def test_noise_levels_are_logit_normal() -> None:
    torch.manual_seed(0)
    logits = flow.noise_levels(4000).logit()
    assert float(logits.mean()) == pytest.approx(0, abs=0.01)
    assert float(logits.std()) == pytest.approx(1, abs=0.01)


def test_text_is_given_as_the_pipeline_gives_it(shipped: Path) -> None:
    pipeline = load_shipped(str(shipped))
    text = flow_parts.FlowText(pipeline.text_encoder)
    transformer = flow_parts.build_transformer(text.width, 1, 2, 8, 2)
    whole = flow_parts.flow_pipeline(pipeline, transformer, 1.0)
    with torch.no_grad():
        context, pooled = text(tokenize(pipeline.tokenizer, CAPTIONS))
        expected = whole.encode_prompt(CAPTIONS, CAPTIONS, CAPTIONS, device="cpu")
        state = pipeline.text_encoder(tokenize(pipeline.tokenizer, CAPTIONS))
    assert context.shape == (3, 24 + 256, 16 + flow_parts.SILENT)
    assert float((context - expected[0]).abs().max()) < 1e-5
    assert float((pooled - expected[2]).abs().max()) < 1e-5
    assert float((pooled[:, :16] - state.pooler_output).abs().max()) < 1e-5
    normed = pipeline.text_encoder.final_layer_norm(context[:, :24, :16])
    assert float((normed - state.last_hidden_state).abs().max()) < 1e-5, (
        "the layer more adds nothing"
    )


def test_one_empty_token_stands_for_all_of_them() -> None:
    torch.manual_seed(0)
    transformer = flow_parts.build_transformer(12, 3, 2, 8, 2).eval()
    for p in transformer.parameters():
        torch.nn.init.normal_(p, std=0.3)
    x, t, pooled = torch.randn(2, 4, 16, 16), torch.tensor([100.0, 700.0]), torch.randn(2, 12)
    said = torch.randn(2, 5, 12)
    padded = [torch.nn.functional.pad(said, (0, 0, 0, n)) for n in (flow_parts.EMPTY, 1)]
    with torch.no_grad():
        full = transformer(x, padded[0], pooled, t).sample
        uncounted = transformer(x, padded[1], pooled, t).sample
        flow_parts.EmptyTokens.lay_over(transformer)
        short = transformer(x, padded[1], pooled, t).sample
    scale = float(full.abs().max())
    assert float((short - full).abs().max()) < 1e-4 * scale
    assert float((uncounted - full).abs().max()) > 1e-2 * scale


def test_the_flow_folder_loads_and_draws(shipped: Path, tmp_path: Path) -> None:
    config = flow.Config(model=str(shipped), layers=1, heads=2, head_width=8)
    torch.manual_seed(0)
    text = flow_parts.FlowText(load_shipped(str(shipped)).text_encoder)
    average = dict(flow.make_transformer(config, text).named_parameters())
    pipeline = flow.averaged_flow(config, {k: v.detach() for k, v in average.items()})
    size = flow_parts.export_flow(pipeline, tmp_path)
    assert size == sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors"))
    loaded = StableDiffusion3Pipeline.from_pretrained(tmp_path, use_safetensors=True)
    loaded.set_progress_bar_config(disable=True)
    assert loaded.scheduler.config.shift == config.shift
    assert {loaded.text_encoder.dtype, loaded.transformer.dtype} == {torch.float32}
    picture = loaded("a red apple", num_inference_steps=2, guidance_scale=3.0).images[0]
    assert picture.size == (128, 128)


# --- CLIP ---


def test_info_nce_is_the_value_reckoned_by_hand() -> None:
    images, texts = torch.tensor([[2.0, 0.0], [0.0, 3.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    r = 0.5**0.5
    logits = np.array([[1, r], [0, r]]) * 4
    rows = -np.log(np.exp(np.diag(logits)) / np.exp(logits).sum(1)).mean()
    columns = -np.log(np.exp(np.diag(logits)) / np.exp(logits).sum(0)).mean()
    found = float(clip.info_nce(images, texts, torch.tensor(math.log(4))))
    assert found == pytest.approx((rows + columns) / 2, rel=1e-5)
    sharp = float(clip.info_nce(images, texts, torch.tensor(50.0)))
    assert sharp == pytest.approx(float(clip.info_nce(images, texts, torch.tensor(math.log(100)))))


def drawings() -> tuple[Drawings, list[Concept]]:
    """Two concepts, full squares of one grey each."""
    concepts = [Concept(str(i), f"thing {i}", (), ()) for i in range(2)]
    keys = [(c.code, style) for c in concepts for style in STYLES]
    pixels = np.zeros((len(keys), 128, 128, 4), np.uint8)
    pixels[:, 40:88, 40:88] = (128, 128, 128, 255)
    return Drawings(pixels, keys, {}), concepts


def test_pairs_show_what_they_say_and_twins_differ() -> None:
    scenes = Scenes(np.full((420, 128, 128, 3), 50, np.uint8), [f"scene {i}" for i in range(420)])
    maker = PairMaker(*drawings(), scenes, 0.5, seed=0)
    pairs = maker.draw(8)
    assert pairs.pictures.shape == (8, 3, 64, 64)
    assert pairs.concepts.tolist()[::2] == pairs.concepts.tolist()[1::2]
    assert len(set(pairs.captions)) == 8
    for caption, concept in zip(pairs.captions, pairs.concepts.tolist(), strict=False):
        assert f"thing {concept}" in caption
    for row, caption in enumerate(pairs.captions[:4]):
        corner = ((pairs.pictures[row, :, :3, :3].mean((1, 2)) + 1) * 127.5).tolist()
        if "blue" in caption:
            assert corner[2] > corner[0] + 60
    numbers = [int(text.split()[1]) for text in pairs.captions[4:]]
    assert max(numbers) < 20, "the last 400 are kept for measuring"
    held_out = PairMaker(*drawings(), scenes, 0.5, seed=0, held_out=True).draw(8)
    assert min(int(text.split()[1]) for text in held_out.captions[4:]) >= 20


def test_the_exported_score_is_the_trained_one(shipped: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = clip.Config(model=str(shipped), hidden=32, layers=1, heads=2, projection=8)
    tokenizer, text = clip.load_text(shipped)
    model = clip.build_clip(config, text).eval()
    parts = clip.LearningParts(model)
    assert not any(name.startswith("text_model") for name, _ in parts.named_parameters())
    average = {name: p.detach() for name, p in parts.named_parameters()}
    clip.export(config, average, tmp_path)
    picture = Image.fromarray(
        np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    )
    score = ClipScorer(tmp_path).adherence([picture], "a red apple")[0]
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        found = model(input_ids=tokenize(tokenizer, ["a red apple"]), pixel_values=pixels)
        state = text(tokenize(tokenizer, ["a red apple"])).pooler_output
        assert torch.allclose(
            model.text_model(tokenize(tokenizer, ["a red apple"])).pooler_output, state
        )
    cosine = float(torch.cosine_similarity(found.image_embeds, found.text_embeds))
    assert score == pytest.approx(cosine, abs=2e-3)

"""Checkpoints, the tokenizer, the folded autoencoder, the exported folder, the measures."""

import copy
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from PIL import Image
from transformers import CLIPTokenizer

from training.data.captions import BACKGROUND_NAMES, all_phrases
from training.data.colours import BACKGROUNDS, background_rgb, nearest_background
from training.data.concepts import Concept
from training.data.corpus import NOTHING, Corpus, Shares
from training.data.drawings import STYLES, compose
from training.data.latents import Latents, fold_normalisation
from training.data.tokenizer import MAX_TOKENS, build_text_encoder, learn_tokenizer
from training.judges.verdicts import corner_colour
from training.optim.checkpoint import load_checkpoint, prefixed, save_checkpoint, unprefixed
from training.optim.muon import Muon, split_named
from training.optim.optimizers import Optimizers
from training.optim.run_folder import save_config
from training.optim.schedule import cosine, ema_decay
from training.run_all import commands
from training.stages.decoder import CHECKPOINT, FROZEN, decoder_loss, load_vae
from training.stages.export import export
from training.stages.samples import make_pipeline
from training.stages.text_encoder import Heads
from training.stages.unet import Config, build_unet, read_config
from training.stages.vae import Config as VaeConfig
from training.stages.vae import build_vae

CONCEPTS = [Concept("1", "red apple", ("apple",), ("fruit",)), Concept("2", "dog", (), ("pet",))]
TEXTS = ("", "a red apple, 3d style", "Zürich qwxyz 42!", "🍎🦊 ☃️ \u4f60\u597d", "word " * 200)


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return learn_tokenizer(all_phrases(CONCEPTS, 5, 0), 900)


@pytest.fixture
def vae() -> AutoencoderKL:
    torch.manual_seed(0)
    return build_vae(VaeConfig(channels=(8, 8, 8, 8), norm_groups=4)).eval()


@pytest.fixture
def pipeline(tokenizer: CLIPTokenizer, vae: AutoencoderKL) -> StableDiffusionPipeline:
    torch.manual_seed(0)
    unet = build_unet(Config(channels=(32, 32, 32), heads=2, text_hidden=16))
    return make_pipeline(unet, build_text_encoder(len(tokenizer), 16, 1), tokenizer, vae)


def two_optimizers(model: torch.nn.Linear) -> Optimizers:
    matrices, others = split_named(model.named_parameters(), ())
    return Optimizers(Muon(matrices, lr=0.1), torch.optim.AdamW(others, lr=0.2))


def test_a_checkpoint_gives_back_weights_optimizer_and_state(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizers = two_optimizers(model)
    model(torch.randn(4, 3)).square().sum().backward()
    optimizers.step(1.0)
    tensors = prefixed("model", model.state_dict()) | optimizers.tensors()
    save_checkpoint(tmp_path / "c.safetensors", tensors, {"step": 7, "spent": 1.5})
    loaded, state = load_checkpoint(tmp_path / "c.safetensors")
    assert state == {"step": 7, "spent": 1.5}
    other = torch.nn.Linear(3, 2)
    other.load_state_dict(unprefixed(loaded, "model"))
    assert torch.equal(other.weight, model.weight)
    restored = two_optimizers(other)
    restored.restore(loaded)
    before, after = optimizers.tensors(), restored.tensors()
    assert {"optimizer.0.0.momentum", "optimizer.1.0.exp_avg"} <= before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]


def test_any_text_has_tokens_that_read_back(tokenizer: CLIPTokenizer) -> None:
    for text in TEXTS:
        ids = tokenizer(text).input_ids
        assert ids[0] == 0
        assert ids[-1] == 1
        assert 1 not in ids[1:-1], "an unknown piece became the end token"
        assert max(ids) < len(tokenizer)
        letters = tokenizer.decode(ids[1:-1]).replace(" ", "")
        assert letters == "".join(text.lower().split())


def test_names_are_learnt_as_few_tokens(tokenizer: CLIPTokenizer) -> None:
    assert len(tokenizer("apple").input_ids) == 3
    assert len(tokenizer("zqxwk").input_ids) > 4


def test_folding_normalises_and_changes_no_picture(vae: AutoencoderKL) -> None:
    folded = copy.deepcopy(vae)
    torch.manual_seed(1)
    pixels = torch.rand(2, 3, 32, 32) * 2 - 1
    mean, std = torch.tensor([1.0, -2.0, 0.5, 0.0]), torch.tensor([0.5, 2.0, 1.0, 3.0])
    with torch.no_grad():
        fold_normalisation(folded, mean, std)
        before, after = vae.encode(pixels).latent_dist, folded.encode(pixels).latent_dist
        shape = (1, 4, 1, 1)
        spread = std.square().mean().sqrt()
        expected = (before.mean - mean.view(shape)) / std.view(shape) * spread
        assert torch.allclose(after.mean, expected, atol=1e-5)
        assert torch.allclose(after.std, before.std / std.view(shape) * spread, rtol=1e-3)
        same = vae.decode(before.mean).sample - folded.decode(after.mean).sample
    assert float(same.abs().max()) < 1e-4
    assert folded.config.scaling_factor == pytest.approx(1 / float(spread))


def test_an_exported_model_loads_and_draws(
    pipeline: StableDiffusionPipeline, tmp_path: Path
) -> None:
    ids = [pipeline.tokenizer(text).input_ids for text in TEXTS]
    size = export(pipeline, tmp_path)
    weights = list(tmp_path.rglob("*.safetensors"))
    assert size == sum(path.stat().st_size for path in weights)
    kinds = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert kinds == {".json", ".safetensors"}
    loaded = StableDiffusionPipeline.from_pretrained(
        tmp_path, use_safetensors=True, torch_dtype=torch.float16
    )
    assert loaded.unet.dtype == loaded.vae.dtype == torch.float16
    for name, value in pipeline.unet.state_dict().items():
        assert torch.equal(value, loaded.unet.state_dict()[name])
    assert loaded.safety_checker is None
    assert loaded.tokenizer.model_max_length == MAX_TOKENS
    assert loaded.text_encoder.config.max_position_embeddings == MAX_TOKENS
    assert [loaded.tokenizer(text).input_ids for text in TEXTS] == ids
    loaded = StableDiffusionPipeline.from_pretrained(tmp_path, use_safetensors=True)
    assert loaded.unet.dtype == loaded.text_encoder.dtype == torch.float32
    loaded.set_progress_bar_config(disable=True)
    for prompt in ("", TEXTS[-1]):
        picture = loaded(prompt, num_inference_steps=1, guidance_scale=5.0).images[0]
        assert picture.size == (128, 128)


def test_the_run_s_config_is_read_back(tmp_path: Path) -> None:
    config = Config(minutes=3.0, channels=(32, 64))
    save_config(config, tmp_path)
    assert read_config(tmp_path) == config


def test_rates_and_averages() -> None:
    assert cosine(0.05, 0.1) == pytest.approx(0.5)
    assert cosine(0.1, 0.1) == pytest.approx(1.0)
    assert cosine(1.0, 0.1, 0.2) == pytest.approx(0.2)
    assert ema_decay(100, 12.0) == pytest.approx(0.99**13)


def test_compose_mixes_by_alpha() -> None:
    rgba = np.array([[[200, 100, 0, 255], [9, 9, 9, 0], [200, 100, 0, 51]]], np.uint8)
    mixed = compose(rgba, (0, 50, 100))
    assert np.allclose(mixed, [[[200, 100, 0], [0, 50, 100], [40, 60, 80]]])


def test_every_named_colour_is_nearest_to_itself() -> None:
    for name in ("white", *BACKGROUNDS):
        assert nearest_background(background_rgb(name)) == name
    with pytest.raises(KeyError):
        background_rgb("turquoise")


def test_corners_alone_decide_the_background() -> None:
    picture = Image.new("RGB", (128, 128), (220, 60, 60))
    picture.paste((20, 20, 20), (8, 8, 120, 120))
    assert corner_colour(np.asarray(picture, np.float32)) == (220, 60, 60)


def test_stages_run_in_order_with_their_minutes() -> None:
    stages = commands(Path("c"), Path("o"), 5.0, 7.0, 3.0, True)
    names = [stage[0].removeprefix("training.") for stage in stages]
    assert names == [
        "stages.vae", "stages.unet", "stages.meanings", "stages.decoder", "judges.classifier",
        "judges.scene_judge", "stages.export", "stages.clip", "stages.lcm", "stages.flow",
        *["stages.controlnet"] * 5, *["judges.map_reader"] * 2, "evaluate", "evaluation.controls",
        "evaluation.controls_together",
    ]  # fmt: skip
    for number, name in enumerate(dict.fromkeys(names), 1):
        found = find_spec(f"training.{name}")
        assert found and found.origin
        text = Path(found.origin).read_text()
        assert text.startswith(f'"""Stage {number}: '), name
    assert stages[0][1:3] == ["--minutes", "5.0"]
    assert stages[1][1:3] == ["--minutes", "7.0"]
    assert stages[3][1:3] == ["--minutes", "3.0"]
    fresh = {stage[0] for stage in stages if "--resume" not in stage}
    figures = {
        "training.evaluate",
        "training.evaluation.controls",
        "training.evaluation.controls_together",
    }
    assert fresh == {"training.stages.export", *figures}
    assert stages[8][1:5] == ["--model", "o", "--out", "o-lcm"]
    assert stages[10][1:6] == ["canny", "--model", "o", "--out", "o-controlnet-canny"]


def test_without_minutes_the_autoencoder_is_the_frozen_one(tmp_path: Path) -> None:
    stages = commands(Path("c"), Path("o"), 0, 7.0, 3.0, False)
    assert stages[0][0] == "training.stages.unet"
    frozen, _ = load_checkpoint(FROZEN)
    weights = load_vae(tmp_path).state_dict()
    assert all(t.float().equal(weights[name]) for name, t in unprefixed(frozen, "vae").items())
    pixels = torch.zeros(1, 3, 64, 64)
    pixels[..., 16:48, 16:48] = 1
    with torch.no_grad():
        again = load_vae(tmp_path)(pixels).sample
    assert float((again - pixels).abs().mean()) < 0.05, "it is trained"


def test_the_decoder_learns_and_the_encoder_stays(vae: AutoencoderKL) -> None:
    vae.requires_grad_(False)
    for part in (vae.decoder, vae.post_quant_conv):
        part.requires_grad_(True)
    before = copy.deepcopy(vae.state_dict())
    optimizer = torch.optim.AdamW([p for p in vae.parameters() if p.requires_grad], lr=2e-3)
    pixels = torch.rand(2, 3, 32, 32) * 2 - 1
    losses = []
    for _ in range(20):
        loss = decoder_loss(vae, pixels, 0.5)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.9 * losses[0]
    changed = {k.split(".")[0] for k, v in vae.state_dict().items() if not v.equal(before[k])}
    assert changed == {"decoder", "post_quant_conv"}


def test_a_decoder_trained_further_is_laid_over_the_autoencoder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vae, other = build_vae(VaeConfig()), build_vae(VaeConfig())
    (tmp_path / "vae").mkdir()
    path = tmp_path / "vae" / "checkpoint.safetensors"
    save_checkpoint(path, prefixed("vae", vae.state_dict()), {})
    assert load_vae(tmp_path).decoder.conv_in.weight.equal(vae.decoder.conv_in.weight)
    tensors = prefixed("decoder", other.decoder.state_dict())
    tensors |= prefixed("post", other.post_quant_conv.state_dict())
    save_checkpoint(tmp_path / CHECKPOINT, tensors, {})
    loaded = load_vae(tmp_path)
    assert loaded.decoder.conv_in.weight.equal(other.decoder.conv_in.weight)
    assert loaded.encoder.conv_in.weight.equal(vae.encoder.conv_in.weight)


def test_rows_have_the_captions_of_their_pictures(tokenizer: CLIPTokenizer) -> None:
    values = torch.arange(2 * 3 * 9, dtype=torch.float16).view(2, 3, 9, 1, 1, 1)
    values = values.expand(2, 3, 9, 4, 16, 16)
    scenes = torch.full((5, 4, 16, 16), -1.0, dtype=torch.float16)
    corpus = Corpus(
        Latents(values, scenes, AutoencoderKL()), CONCEPTS, ["a red cube"] * 5, tokenizer,
        Shares(scenes=0.25), np.random.default_rng(0),
    )  # fmt: skip
    batch = corpus.draw(40)
    concept, style, background = batch.picked
    assert concept[30:].eq(NOTHING).all(), "a quarter is scenes"
    assert batch.latents[30:].eq(-1).all()
    assert concept[:30].bincount().tolist() == [15, 15]
    assert (
        batch.latents[:30, 0, 0, 0].tolist()
        == values[concept, style, background][:30, 0, 0, 0].tolist()
    )
    said = [tokenizer.decode(row, skip_special_tokens=True) for row in batch.tokens]
    assert all("cube" in text for text in said[30:])
    for text, b in zip(said[:30], background[:30].tolist(), strict=True):
        assert BACKGROUND_NAMES[b] in text or b == 0
    assert (corpus.draw(200, 1.0).tokens[:, 1] == 1).all(), "all captions dropped"


def test_the_text_encoder_learns_what_captions_ask_for(tokenizer: CLIPTokenizer) -> None:
    torch.manual_seed(0)
    values = torch.randn(2, len(STYLES), len(BACKGROUND_NAMES), 4, 16, 16).half()
    latents = Latents(values, torch.empty(0, 4, 16, 16), AutoencoderKL())
    rng = np.random.default_rng(0)
    corpus = Corpus(latents, CONCEPTS, [], tokenizer, Shares(), rng)
    text, heads = build_text_encoder(len(tokenizer), 32, 1), Heads(32, len(CONCEPTS), 8)
    batch = corpus.draw(24)
    optimizer = torch.optim.AdamW([*text.parameters(), *heads.parameters()], lr=5e-3)
    for _ in range(60):
        losses = heads.losses(text(batch.tokens).pooler_output, batch)
        losses.sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    chance = np.log([len(CONCEPTS), len(STYLES), len(BACKGROUND_NAMES)])
    assert (losses[:3].detach().numpy() < 0.3 * chance).all(), losses

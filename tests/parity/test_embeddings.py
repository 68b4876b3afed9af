"""Embeddings in prompts against diffusers' `load_textual_inversion`, and how prompts name them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import app
from pipelines import InvalidRequest, ModelUnavailable, Request, Sheet, Studio, UnknownName
from pipelines.families import FAMILIES, load_family
from pipelines.families.base import LoadedModel
from pipelines.families.textual_inversion import embedded
from pipelines.runs.events import CellDone
from pipelines.samplers import SAMPLERS, SCHEDULES
from tests.helpers.lora_makers import save_lora
from tests.helpers.tiny import save_sd, sd
from tests.helpers.tiny_families import flux, sdxl

pytestmark = pytest.mark.usefixtures("one_thread")
BASE = Request(
    model="tiny", prompt="a cat", negative_prompt="", steps=3, sampler="ddim", as_diffusers=True,
    guidance_scale=4.0, seed=5, width=32, height=32,
)  # fmt: skip
PROMPTS = ["a photo of NAME, red", "NAME", "a NAME and NAME", "x" * 60 + " NAME end"]


def vectors(count: int, seed: int, width: int = 16) -> torch.Tensor:
    """Words that an encoder has not, several times as loud as its own."""
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    save_sd(folder / "tiny")
    sdxl().save_pretrained(folder / "xl", safe_serialization=True)
    flux().save_pretrained(folder / "flux", safe_serialization=True)
    kept = folder / "embeddings"
    (kept / "sub").mkdir(parents=True)
    save_file({"emb_params": vectors(3, 1)}, kept / "EasyWord.safetensors")
    save_file({"<cat-toy>": vectors(1, 2)[0]}, kept / "<cat-toy>.safetensors")
    save_file({"emb_params": vectors(2, 3)}, kept / "sub" / "bad-hands-5.safetensors")
    save_file({"string_to_param.*": vectors(2, 3)}, kept / "bad.safetensors")
    two = {"clip_l": vectors(2, 4), "clip_g": vectors(2, 5)}
    save_file(two, kept / "two.safetensors")
    save_file(
        {"text_encoders_0": two["clip_l"], "text_encoders_1": two["clip_g"]},
        kept / "advanced.safetensors",
    )
    (folder / "learnt").mkdir()
    save_file({"<learnt>": vectors(2, 6)}, folder / "learnt" / "learned_embeds.safetensors")
    (kept / "pickled.pt").write_bytes(b"\x80\x04")
    save_file({"emb_params": vectors(2, 7, 24)}, kept / "wide.safetensors")
    return folder


@pytest.fixture(scope="module")
def studio(zoo: Path) -> Iterator[Studio]:
    studio = Studio(zoo, device="cpu")
    yield studio
    studio.close()


def picture(studio: Studio, **changed: Any) -> np.ndarray:
    return np.asarray(studio.image(BASE.replace(**changed))).astype(int)


def theirs(pipe: Any, prompt: str, negative: str) -> np.ndarray:
    import diffusers

    row = SAMPLERS[BASE.sampler]
    pipe.scheduler = getattr(diffusers, row.scheduler).from_config(
        pipe.scheduler.config, **row.options, **SCHEDULES[BASE.schedule]
    )
    pipe.set_progress_bar_config(disable=True)
    image = pipe(
        prompt=prompt, negative_prompt=negative or None, num_inference_steps=3,
        guidance_scale=4.0, generator=torch.Generator().manual_seed(5), width=32, height=32,
    ).images[0]  # fmt: skip
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("where", ["prompt", "negative_prompt"])
@pytest.mark.parametrize("name", ["embedding:EasyWord", "easyword"])
def test_stable_diffusion_as_in_diffusers(
    studio: Studio, prompt: str, where: str, name: str
) -> None:
    pipe = sd()
    pipe.load_textual_inversion({"<easy>": vectors(3, 1)}, token="<easy>")
    ours = picture(studio, **{where: prompt.replace("NAME", name)})
    said = {"prompt": "a cat", "negative_prompt": "", where: prompt.replace("NAME", "<easy>")}
    wanted = theirs(pipe, said["prompt"], said["negative_prompt"])
    assert abs(ours - wanted).max() <= 2
    assert (ours != picture(studio, **{where: prompt.replace("NAME", "other")})).any()


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("name", ["embedding:two", "two", "embedding:advanced"])
def test_sdxl_as_in_diffusers(studio: Studio, prompt: str, name: str) -> None:
    pipe = sdxl()
    for encoder, tokenizer, seed in (
        (pipe.text_encoder, pipe.tokenizer, 4), (pipe.text_encoder_2, pipe.tokenizer_2, 5),
    ):  # fmt: skip
        pipe.load_textual_inversion(
            {"<two>": vectors(2, seed)}, token="<two>", text_encoder=encoder, tokenizer=tokenizer
        )
    ours = picture(studio, model="xl", prompt=prompt.replace("NAME", name), negative_prompt="a")
    wanted = theirs(pipe, prompt.replace("NAME", "<two>"), "a")
    assert abs(ours - wanted).max() <= 2


def test_the_pooled_text_is_taken_at_its_end(zoo: Path, tmp_path: Path) -> None:
    """Old configs, SDXL's among them, find the end by the highest id; new tokens are not it."""
    pipe = sdxl()
    for encoder in (pipe.text_encoder, pipe.text_encoder_2):
        for module in encoder.modules():
            if hasattr(module, "eos_token_id"):
                module.eos_token_id = 2
    weights = pipe.text_encoder_2.get_input_embeddings().weight
    word = pipe.tokenizer_2("q", add_special_tokens=False).input_ids[0]
    vector = {"text_encoder": pipe.text_encoder.get_input_embeddings().weight[[word]].detach(),
              "text_encoder_2": weights[[word]].detach()}  # fmt: skip
    parts = {name: getattr(pipe, name) for name in (*vector, "tokenizer", "tokenizer_2")}
    model = LoadedModel("xl", parts, "", "cpu", torch.float32, embeddings={"same": vector})
    family = load_family(FAMILIES["sdxl"])
    ((plain, pooled),) = family.encode(model, ["a q cat"])
    ((states, its_pooled),) = family.encode(embedded(model, FAMILIES["sdxl"]), ["a same cat"])
    assert torch.allclose(plain, states, atol=1e-6)
    assert torch.allclose(pooled, its_pooled, atol=1e-6)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a <cat-toy>, b", "a embedding:<cat-toy>, b"),
        ("(embedding:easyword:1.2) b", "(EasyWord:1.2) b"),
        ("embedding:EasyWord.safetensors b", "easyword b"),
        ("bad-hands-5", "embedding:bad-hands-5"),
        ("embedding:sub/bad-hands-5", "BAD-HANDS-5"),
        ("embedding:bad-hands-5", "bad"),  # the same numbers under two names
        ("a learnt b", "a embedding:learnt b"),
        ("[red tokens] BREAK easyword", "[red tokens] BREAK embedding:EasyWord"),
    ],
)
def test_ways_to_name_one(studio: Studio, one: str, other: str) -> None:
    assert (picture(studio, prompt=one) == picture(studio, prompt=other)).all()


@pytest.mark.parametrize("text", ["an easywordy thing", "my_easyword", "badly", "bad2"])
def test_parts_of_words_are_no_names(studio: Studio, text: str, tmp_path: Path) -> None:
    save_sd(tmp_path / "tiny")
    bare = Studio(tmp_path, device="cpu")
    assert (picture(studio, prompt=text) == picture(bare, prompt=text)).all()
    bare.close()


def test_weights_act_on_them(studio: Studio) -> None:
    light, heavy = (picture(studio, prompt=f"a (easyword:{w})") for w in (0.5, 1.5))
    assert (light != heavy).any()


@pytest.mark.parametrize(
    ("model", "prompt", "error", "words"),
    [
        ("tiny", "embedding:nobody, red", UnknownName, "unknown embedding 'nobody'"),
        ("tiny", "embedding:easyward", UnknownName, "did you mean 'EasyWord'"),
        ("tiny", "(embedding:bad-hands-55:1.1)", UnknownName, "bad-hands-55"),
        ("tiny", "embedding:two", InvalidRequest, "2 text encoders"),
        ("tiny", "a two b", InvalidRequest, "does not fit 'tiny'"),
        ("tiny", "embedding:wide", InvalidRequest, "24 numbers, and this model's text_encoder 16"),
        ("xl", "embedding:EasyWord", InvalidRequest, "these here fit: advanced, two"),
        ("flux", "embedding:two", InvalidRequest, "FLUX.1"),
        ("tiny", "embedding:pickled", ModelUnavailable, "is a pickle"),
        ("tiny", "embedding:pickled.pt", ModelUnavailable, "convert it to safetensors"),
        ("tiny", "embedding:../embeddings/two", UnknownName, "unknown embedding"),
    ],
)
def test_what_cannot_be_used_is_refused(
    studio: Studio, model: str, prompt: str, error: type[Exception], words: str
) -> None:
    guidance = {"sampler": "flow_euler"} if model == "flux" else {}
    for where in ("prompt", "negative_prompt"):
        with pytest.raises(error) as raised:
            studio.resolve(BASE.replace(model=model, **{where: prompt}, **guidance))
        assert words in str(raised.value)


def test_a_word_of_every_day_stays_one_where_an_embedding_does_not_fit(
    tmp_path: Path,
) -> None:
    (tmp_path / "embeddings").mkdir()
    shipped = Path(__file__).parents[2] / "models" / "emoji"
    (tmp_path / "emoji").symlink_to(shipped)
    save_file({"emb_params": torch.ones(1, 768)}, tmp_path / "embeddings" / "apple.safetensors")
    save_file({"emb_params": torch.ones(1, 768)}, tmp_path / "embeddings" / "bad-x9.safetensors")
    studio = Studio(tmp_path, device="cpu")
    studio.resolve(Request(model="emoji", prompt="a red apple"))
    for prompt in ("a red embedding:apple", "a red bad-x9"):
        with pytest.raises(InvalidRequest, match="does not fit 'emoji'"):
            studio.resolve(Request(model="emoji", prompt=prompt))
    studio.close()


def test_they_are_listed(studio: Studio, zoo: Path) -> None:
    listed = {info.id: info for info in studio.embeddings()}
    assert listed["EasyWord"].vectors == 3 and listed["EasyWord"].problem is None
    assert listed["two"].family == "sdxl" and listed["learnt"].vectors == 2
    assert "is a pickle" in str(listed["pickled"].problem)
    fitting = [info.id for info in studio.embeddings("tiny")]
    assert fitting == ["<cat-toy>", "EasyWord", "bad", "bad-hands-5", "learnt"]
    assert [info.id for info in studio.embeddings("xl")] == ["advanced", "two"]
    assert studio.embeddings("flux") == []


def test_tokens_count_the_vectors(studio: Studio) -> None:
    plain, word = studio.tokens("tiny", "a , b"), studio.tokens("tiny", "a easyword, b")
    assert word.count == plain.count + 3
    weighted = studio.tokens("tiny", "a (easyword:1.2), b")
    assert weighted.count == word.count
    long = studio.tokens("tiny", "x" * 74 + " easyword end")
    assert long.cut == "EasyWord end"
    assert studio.tokens("tiny", "embedding:nobody").count > 5


def test_an_address_follows_the_file(tmp_path: Path) -> None:
    save_sd(tmp_path / "tiny")
    without, named = BASE.replace(prompt="a cat"), BASE.replace(prompt="a easyword")
    studio = Studio(tmp_path, device="cpu")
    before = studio.address(without), studio.address(named)
    (tmp_path / "embeddings").mkdir()
    file = tmp_path / "embeddings" / "EasyWord.safetensors"
    save_file({"emb_params": vectors(3, 1)}, file)
    assert studio.address(without) == before[0]
    first = studio.address(named)
    save_file({"emb_params": vectors(3, 2)}, file)
    second = studio.address(named)
    assert len({before[1], first, second}) == 3
    pictures = []
    for seed in (1, 2):
        save_file({"emb_params": vectors(3, seed)}, file)
        pictures.append(picture(studio, prompt="a easyword"))
    assert (pictures[0] != pictures[1]).any()
    studio.close()


def test_an_axis_of_prompts(studio: Studio) -> None:
    texts = ("a cat", "a embedding:EasyWord", "a bad", "a (easyword:1.4)")
    sheet = Sheet(base=BASE, axes=[{"field": "prompt", "values": list(texts)}])
    made = {e.cell: np.asarray(e.image) for e in studio.run(sheet) if isinstance(e, CellDone)}
    for cell, text in enumerate(texts):
        assert abs(made[cell].astype(int) - picture(studio, prompt=text)).max() <= 1


@pytest.mark.parametrize("layout", ["emb_params", "string_to_param.*", "clip_l"])
def test_embeddings_in_a_lora(zoo: Path, tmp_path: Path, layout: str) -> None:
    (tmp_path / "tiny").symlink_to(zoo / "tiny")
    file = save_lora(sd(), tmp_path / "plain") / "pytorch_lora_weights.safetensors"
    word = {f"bundle_emb.inked.{layout}": vectors(3, 1)}
    save_file({**load_file(file), **word}, tmp_path / "ink.safetensors")
    studio = Studio(tmp_path, device="cpu")
    (info,) = [one for one in studio.loras() if one.id == "ink"]
    assert info.problem is None
    with_word = picture(studio, prompt="a embedding:inked b", loras=["ink"])
    (tmp_path / "embeddings").mkdir()
    save_file({"emb_params": vectors(3, 1)}, tmp_path / "embeddings" / "apart.safetensors")
    wanted = picture(studio, prompt="a apart b", loras=["plain"])
    assert abs(with_word - wanted).max() <= 0
    assert (with_word == picture(studio, prompt="a inked b", loras=["ink"])).all()
    with pytest.raises(UnknownName, match="unknown embedding 'inked'"):
        studio.resolve(BASE.replace(prompt="embedding:inked"))
    studio.close()


def test_vectors_that_are_no_numbers_fail_their_cells(zoo: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny").symlink_to(zoo / "tiny")
    (tmp_path / "embeddings").mkdir()
    bad = torch.full((1, 16), float("nan"))
    save_file({"emb_params": bad}, tmp_path / "embeddings" / "hole.safetensors")
    studio = Studio(tmp_path, device="cpu")
    with pytest.raises(Exception, match="no numbers"):
        studio.image(BASE.replace(prompt="a hole"))
    studio.close()


def test_the_command_line_lists_them(zoo: Path) -> None:
    result = CliRunner().invoke(app.app, ["models", "--models", str(zoo), "--json"])
    rows = {row["id"]: row for row in json.loads(result.stdout)}
    easy = rows["EasyWord"]
    assert (easy["kind"], easy["vectors"], easy["fits"]) == ("embedding", 3, ["tiny"])
    assert rows["two"]["fits"] == ["xl"] and rows["two"]["family"] == "sdxl"
    assert "is a pickle" in rows["pickled"]["problem"] and rows["pickled"]["fits"] == []

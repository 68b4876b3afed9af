"""The CLIP scorer, on a tiny random model that is built here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from pipelines.analysis.clip_score import FOLDER, ClipScorer, find_scorer
from pipelines.errors import ModelUnavailable
from tests.helpers.tiny import tokenizer


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with a scorer in it."""
    torch.manual_seed(0)
    text = {
        "vocab_size": 256, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "image_size": 32, "patch_size": 8,
    }  # fmt: skip
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    folder = tmp_path_factory.mktemp("shelf")
    CLIPModel(config).save_pretrained(folder / FOLDER, safe_serialization=True)
    tokenizer().save_pretrained(folder / FOLDER)
    size = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder / FOLDER)
    return folder


def noise(seed: int) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (32, 32, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def test_scores_are_cosines_of_the_embeddings(shelf: Path) -> None:
    scorer = find_scorer([shelf / "elsewhere", shelf])
    assert isinstance(scorer, ClipScorer)
    pictures = [noise(1), noise(2), noise(1)]
    scores = scorer.adherence(pictures, "an apple")
    assert scores[0] == pytest.approx(scores[2], abs=1e-6) and scores[0] != scores[1]
    assert scorer.adherence(pictures[1:2], "an apple") == pytest.approx(scores[1:2], abs=1e-5)
    assert scorer.adherence(pictures[:1], "a long, long rocket")[0] != scores[0]
    assert scorer.adherence([], "an apple") == []

    model = CLIPModel.from_pretrained(shelf / FOLDER).eval()
    processor = CLIPImageProcessor.from_pretrained(shelf / FOLDER)
    tokens = tokenizer()(["an apple"], return_tensors="pt")
    pixels = processor([noise(1)], return_tensors="pt").pixel_values
    with torch.no_grad():
        found = model(**tokens, pixel_values=pixels)
    cosine = torch.cosine_similarity(found.image_embeds, found.text_embeds).item()
    assert scores[0] == pytest.approx(cosine, abs=1e-5)


def test_without_weights_there_is_no_scorer(shelf: Path, tmp_path: Path) -> None:
    assert find_scorer([tmp_path]) is None
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "config.json").write_text('{"model_type": "bert"}')
    assert find_scorer([tmp_path]) is None
    (tmp_path / FOLDER / "config.json").write_text('{"model_type": "clip"}')
    broken = find_scorer([tmp_path])
    assert broken is not None, "nothing is loaded before it is asked"
    with pytest.raises(ModelUnavailable, match="emoji-clip"):
        broken.adherence([noise(1)], "an apple")

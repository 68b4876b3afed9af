"""Counting tokens: by the model's own tokenizers, and what diffusers cuts is what we say is cut."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import CLIPTokenizer

import app
from pipelines import Studio
from pipelines.checkpoints.catalog import locate
from pipelines.checkpoints.token_count import count_tokens
from tests.helpers.tiny_families import save_all
from tests.robustness.test_imports import fresh

EMOJI = Path(app.__file__).parent / "models" / "emoji"
INFO = locate(str(EMOJI), [])


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return save_all(tmp_path_factory.mktemp("zoo"))


def test_what_is_cut_is_what_the_encoder_does_not_see():
    text = "a red apple, a green pear, a yellow plum and a blue house on a purple table, a boat"
    tokens = count_tokens(INFO, text)
    tokenizer = CLIPTokenizer.from_pretrained(EMOJI / "tokenizer")
    assert (tokens.count, tokens.most) == (len(tokenizer(text).input_ids) - 2, 22)
    read = tokenizer(text, truncation=True).input_ids
    assert tokens.cut and tokenizer(text.removesuffix(tokens.cut)).input_ids == read


def test_a_short_prompt_is_read_whole():
    assert count_tokens(INFO, "a red apple").cut == ""
    assert count_tokens(INFO, "").count == 0


@pytest.mark.parametrize(("name", "most"), [("sd3", 75), ("flux-dev", 75), ("sdxl", 75)])
def test_of_several_encoders_the_one_that_reads_least_counts(zoo, name, most):
    studio = Studio(zoo)
    tokens = studio.tokens(name, "x" * 80)
    assert (tokens.count, tokens.most, tokens.cut) == (80, most, "x" * 5)
    assert studio.tokens(name, "x" * 75).cut == ""


def test_counting_needs_no_torch():
    told = fresh(
        """
from pathlib import Path
from pipelines.checkpoints.catalog import locate
from pipelines.checkpoints.token_count import count_tokens
tokens = count_tokens(locate("emoji", [Path("models")]), "a red apple")
tell(count=tokens.count, torch="torch" in sys.modules)
"""
    )
    assert (told["count"], told["torch"]) == (3, False)

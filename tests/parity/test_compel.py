"""Prompt weights and long prompts against compel itself, on real CLIP encoders."""

from __future__ import annotations

import pytest
import torch
from compel import Compel, CompelForSD, CompelForSDXL
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.families.base import LoadedModel
from pipelines.families.weighted_prompts import encode, tokenize
from pipelines.request.prompts.prompt_weights import parse_weights
from tests.helpers.tiny import sd, tokenizer
from tests.helpers.tiny_families import sdxl

pytestmark = pytest.mark.usefixtures("one_thread")
WORST = 2e-6
"""States are up to 6 in size; the largest difference seen is 6e-7."""

LONG = "abc def, ghi " * 8
# Our prompts, and what they are in compel's grammar.
SAME = {
    "a (red:1.2) apple": "a (red)1.2 apple",
    "a (red) apple": "a red+ apple",
    "a ((red)) apple": "a red++ apple",
    "a [red] apple": "a (red)0.909091 apple",
    "a [[red]] apple": "a (red)0.826446 apple",
    "a (red:0.4) apple, b": "a (red)0.4 apple, b",
    "(red:0) apple": "(red)0 apple",
    "[a] [b] c": "(a)0.909091 (b)0.909091 c",
    "(a:0.5) b (c:0.3) (d:1.4)": "(a)0.5 b (c)0.3 (d)1.4",
    "(a (b:0.5) c:1.5) d": "(a (b)0.5 c)1.5 d",
    "((a) b:0.8)": "(a+ b)0.8",
    r"\(a\) (b c:1.3)": r"\(a\) (b c)1.3",
    r"(a \(b\):0.6) c": r"(a \(b\))0.6 c",
    "(a b:1.1) BREAK [c] d": '("(a b)1.1", "(c)0.909091 d").and()',
    f"{LONG}(jk:1.3) l": f"{LONG}(jk)1.3 l",
    f"({LONG}jk:0.7) l (m:0.5)": f"({LONG}jk)0.7 l (m)0.5",
    f"abc. {LONG}(jk:0.3)": f"abc. {LONG}(jk)0.3",
    f"{'abc ' * 40}[de]": f"{'abc ' * 40}(de)0.909091",
    f"{'x' * 150} (y:0.5)": f"{'x' * 150} (y)0.5",
}


def model_of(pipe):
    return LoadedModel("tiny", pipe.components, "", "cpu", torch.float32)


@pytest.fixture(scope="module")
def peers():
    """Each family's model and compel's view of the same pipeline."""
    pipes = {"sd": sd(), "sdxl": sdxl()}
    makers = {"sd": CompelForSD, "sdxl": CompelForSDXL}
    return {name: (model_of(pipe), makers[name](pipe)) for name, pipe in pipes.items()}


def states_of(model, prompt):
    found = encode(model, parse_weights(prompt))
    return found[0] if isinstance(found, tuple) else found


def apart(peer, ours, theirs):
    model, compel = peer
    with torch.inference_mode():
        mine, its = states_of(model, ours), compel(theirs).embeds
    assert mine.shape == its.shape
    return (mine - its).abs().max().item()


@pytest.mark.parametrize("name", ["sd", "sdxl"])
@pytest.mark.parametrize("prompt", SAME)
def test_embeddings_are_compels(peers, name, prompt):
    assert apart(peers[name], prompt, SAME[prompt]) <= WORST


@given(
    pieces=st.lists(
        st.tuples(
            st.text("abcd,. ", min_size=1, max_size=40).filter(str.strip),
            st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0, 1.1, 1.5]),
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=40, deadline=None)
def test_any_pieces_of_any_weights_are_compels(peers, pieces):
    """Given the pieces, not the text: compel's own grammar is left out of it."""
    model, compel = peers["sd"]
    ours = "".join(f"({text}:{weight})" for text, weight in pieces)
    parts = parse_weights(ours)
    if isinstance(parts, str):
        return
    provider = compel.compel.conditioning_provider
    theirs = provider.get_embeddings_for_weighted_prompt_fragments(
        [[piece.text for piece in parts[0]]], [[piece.weight for piece in parts[0]]]
    )
    with torch.inference_mode():
        assert (states_of(model, ours) - theirs).abs().max() <= WORST, ours


def test_the_measure_tells_weights_apart(peers):
    assert apart(peers["sd"], "a (red:1.2) apple", "a (red)1.21 apple") > 1e-3
    assert apart(peers["sd"], "a (red:0.4) apple", "a (red)0.41 apple") > 1e-3


def test_the_grammar_is_not_compels(peers):
    """By design: compel's signs are text here, and ours are something else there."""
    assert parse_weights("red++") == "red++" and parse_weights("a (red)1.2") != parse_weights(
        "a (red:1.2)"
    )
    assert Compel.parse_prompt_string("a (red:1.2)") != Compel.parse_prompt_string("a (red)1.2")
    assert apart(peers["sd"], "(ab:1.5)(cd:1.5)", "(abcd)1.5") <= WORST
    assert apart(peers["sd"], "(ab:1.5) (cd:1.5)", "(ab)1.5(cd)1.5") <= WORST


def test_the_pooled_embedding_is_of_the_words_alone(peers):
    """By design: compel's is of the brackets and numbers as well."""
    model, compel = peers["sdxl"]
    with torch.inference_mode():
        _, pooled = encode(model, parse_weights("a (red:1.5) apple"))
        assert (pooled - compel("a red apple").pooled_embeds).abs().max() <= WORST
        assert (pooled - compel("a (red)1.5 apple").pooled_embeds).abs().max() > 0.1


def test_spaces_may_have_a_weight(peers):
    """By design: runs are known by their place, where compel looks for their tokens."""
    model, compel = peers["sd"]
    with pytest.raises(TypeError):
        compel.compel.conditioning_provider.get_embeddings_for_weighted_prompt_fragments(
            [["a", " ", "b"]], [[1.0, 0.5, 1.0]]
        )
    with torch.inference_mode():
        spaced, plain = (
            encode(model, parse_weights(text)) for text in ("a( :0.5)b (x)", "a b (x)")
        )
    assert (spaced - plain).abs().max() <= WORST


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        (f"a. b, {'abc ' * 25}(z)", [2, 2, 75, 1]),  # behind a sentence, a phrase, a word
        (f"ab {'abc ' * 25}(z)", [74, 4]),
        (f"{'abc ' * 25}(z)", [75, 1]),
        (f"{'x' * 80} (z)", [75, 6]),
        ("()", [0]),
    ],
)
def test_a_chunk_ends_behind_a_sentence_a_phrase_or_a_word(text, lengths):
    parts = parse_weights(text)
    part = tokenize(tokenizer(), () if isinstance(parts, str) else parts[0])
    assert [sum(id > 1 for id in chunk) for chunk in part.ids] == lengths
    assert all(len(chunk) == 77 for chunk in (*part.ids, *part.weights))

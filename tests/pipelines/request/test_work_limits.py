"""Work limits: texts that would take minutes are read, or refused with a reason, in two seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from random import Random

import pytest
from dynamicprompts.enums import SamplingMethod
from dynamicprompts.sampling_context import SamplingContext
from dynamicprompts.wildcards import WildcardManager

from pipelines.errors import InvalidRequest
from pipelines.request.axis_grammar import parse_axis, parse_values, prompt_variants
from pipelines.request.prompts.prompt_templates import expand
from pipelines.request.prompts.prompt_weights import WeightedText, chunk_lengths, parse_weights
from pipelines.request.prompts.template_sampler import CountedContext

SECONDS = 2.0
FORTY = "|".join(f"o{i}" for i in range(40))
TWICE = "|".join(f"o{i}" for i in range(20)) + "|" + "|".join(f"o{i}" for i in range(20))
DOUBLED = "".join(f"${{a{i + 1}=${{a{i}}}${{a{i}}}}}" for i in range(40))
BLANKS = " " * 40_000


def within(work: Callable[[], object]) -> object:
    start = time.process_time()
    try:
        return work()
    finally:
        assert time.process_time() - start < SECONDS


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{~a|b}", "takes too many tries to list"),
        ("{30$$" + FORTY + "}", "1000 prompts|too many tries"),
        ("{1-40$$" + FORTY + "}", "1000 prompts"),
        ("{a|b}" * 40, "1000 prompts|too many tries"),
        ("{21$$" + TWICE + "}", "stands for no prompt at all"),
        ("{@21$$" + TWICE + "} {x|y}", "cannot be expanded"),
        ("{~a|b}" * 700, "too many tries"),
        ("{a}" * 5000, "too many tries"),
        ("{" * 5000 + "a|b" + "}" * 5000, "too many tries"),
        ("{" * 300 + "a|b" + "}" * 300, "nested too deep"),
        ("${a0=x}" + DOUBLED + "${a40}", "too many tries"),
        ("${a0=x}" + DOUBLED.replace("=", "=!") + "${a40}", "does not set"),
        ("{a|b}" + "x y " * 25_000, "100000 characters; at most 4000"),
        ("{" + "9" * 5000 + "$$a|b}", "a number that is too large"),
        ("{" + "9" * 5000 + "::a|b}", "a number that is too large"),
        ("{" + "9" * 400 + "::a|b} [3]", "too large|cannot be expanded"),
    ],
)
def test_a_template_never_takes_long(template: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        within(lambda: expand(template))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("template", ["{30$$" + FORTY + "}", "{a|b}" * 40, ("{" + FORTY + "}") * 3])
def test_what_is_too_much_to_list_can_be_drawn_of(template: str) -> None:
    drawn = within(lambda: expand(template, sample=7, seed=3))
    assert drawn == expand(template, sample=7, seed=3)
    assert isinstance(drawn, tuple) and len(set(drawn)) == 7


def test_a_wildcard_of_many_lines_is_read_once(tmp_path: Path) -> None:
    lines = [f"a thing, number {i}" for i in range(900)]
    (tmp_path / "w.txt").write_text("\n".join(lines), encoding="utf-8")
    assert within(lambda: expand("__w__", [tmp_path])) == tuple(lines)
    (tmp_path / "self.txt").write_text("a __self__\n__self__ b\n", encoding="utf-8")
    for template in ("__self__", "{2$$__self__}", "{1|2} __self__"):
        with pytest.raises(InvalidRequest, match="holds itself"):
            within(lambda template=template: expand(template, [tmp_path]))  # type: ignore[misc]
    (tmp_path / "none.txt").write_text("{__nothing__}\n", encoding="utf-8")
    (tmp_path / "nothing.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(InvalidRequest):
        within(lambda: expand("{~__none__|__none__}", [tmp_path], sample=3))


@pytest.mark.parametrize("method", ["COMBINATORIAL", "RANDOM"])
@pytest.mark.parametrize(
    "template",
    [
        "{@a|b}{x|y|z}",
        "{@2$$a|b|c} {1|2|3|4|5|6|7|8}",
        "{@a|{c|d}} {1|2|3|4|5|6|7|8}",
        "{@a|a|b} {1|2|3|4}",
        "{2$$ and $$a|b|c|a}",
        "{0-2$$a|b|c}",
        "{2$$__b__}",
        "{~a|b} {1|2|3}",
        "${v={a|b}}${v} ${v}",
        "{a|{b|{c|d}}} e {f|g}",
        "%{(...)$$a}",
        "__b__ {x|__a__}",
        "{3::a|b}",
        "{1-3$$a|{b|c}|d}",
        "{{a|b}|{c|d}|}",
        "{2$$__b__|__a__|{u|v}}",
    ],
)
def test_counting_changes_no_prompt(template: str, method: str) -> None:
    lists = {"a": ["x", "y z", "{p|q}"], "b": ["__a__", "w"]}
    manager = WildcardManager(root_map={"": [lists]})
    theirs = SamplingContext(
        SamplingMethod[method], manager, rand=Random(3), ignore_whitespace=True
    )
    ours = CountedContext.of(method, wildcard_manager=manager, rand=Random(3))
    first = [[str(one) for one in islice(context.sample_prompts(template), 200)]
             for context in (theirs, ours)]  # fmt: skip
    assert first[0] == first[1] and first[0]


@pytest.mark.parametrize(
    ("prompt", "parsed"),
    [
        ("(a" + BLANKS + "x)", (((WeightedText("a" + BLANKS + "x", 1.1)),),)),
        ("BREAK" + " BREAK" * 17_000 + " (a)", (((WeightedText("a", 1.1)),),)),
        ("(" + ":" + BLANKS + ")", (((WeightedText(":" + BLANKS, 1.1)),),)),
        ("(a:" + "1" * 40_000, (((WeightedText("a:" + "1" * 40_000, 1.1)),),)),
        ("(a:0.5)" * 15_000, (((WeightedText("a" * 15_000, 0.5)),),)),
        ("[(" * 10_000 + "a" + ")]" * 10_000, "a"),
    ],
)
def test_weights_are_read_in_one_look(prompt: str, parsed: object) -> None:
    found = within(lambda: parse_weights(prompt))
    if isinstance(parsed, str):
        assert found == parsed
    else:
        assert isinstance(found, tuple) and found == parsed


def test_a_weight_that_is_no_number_any_more_is_refused() -> None:
    for prompt in ("(" * 10_000 + "a" + ")" * 10_000, f"(a:{'9' * 400})", "((a:1000):1001)"):
        with pytest.raises(InvalidRequest, match="'a' in the prompt has the weight"):
            within(lambda prompt=prompt: parse_weights(prompt))  # type: ignore[misc]
    assert parse_weights("((a:1000):1000)") == ((WeightedText("a", 1e6),),)


def test_chunks_of_a_book_are_cut_at_once() -> None:
    tokens = ["word</w>"] * 500_000
    lengths = within(lambda: chunk_lengths(tokens, 75))
    assert isinstance(lengths, list) and sum(lengths) == 500_000 and max(lengths) == 75


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("steps", "1-1000000000", "1000000000 values; at most 1000"),
        ("guidance_scale", "1-2 (+0.0000001)", "10000001 values; at most 1000"),
        ("steps", "9" * 5000, "has 5000 digits; at most 60"),
        ("steps", "1" * 10**6, "has 1000000 digits"),
        ("guidance_scale", "0." + "1" * 5000, "digits"),
        ("steps", "1-2 [" + "9" * 5000 + "]", "digits"),
        ("steps", "1-2 (+" + "9" * 5000 + ")", "digits"),
        ("steps", "1" + " " * 10**6 + "x", "no number and no range"),
        ("steps", "1-2" + " " * 10**6 + "x", "no number and no range"),
        ("seed", ",".join(map(str, range(10_000))), "1001 values or more"),
        ("seed", ",".join(["1-1000"] * 10_000), "2000 values or more"),
        ("prompt", "a," * 500_000 + "a", "1001 values or more"),
        ("prompt", '"' * 10**6 + '"', "not closed"),
        ("prompt", "a" * 10**6 + ",,", "empty value"),
    ],
)
def test_an_axis_never_takes_long(field: str, text: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        within(lambda: parse_values(field, text))
    assert len(str(caught.value)) < 500


def test_axes_of_a_megabyte_are_read_in_time() -> None:
    for text in (" & " * 300_000, " & x" * 300_000, " & " + " " * 10**5 + "x", "[" * 10**6):
        within(lambda text=text: parse_axis(f"prompt=a{text}"))  # type: ignore[misc]
    for text in ("a" + " " * 10**6 + "x", "[" * 10**6, "a" + " " * 10**6 + "[3 @ x]"):
        assert within(lambda text=text: prompt_variants(text)) == (text,)  # type: ignore[misc]

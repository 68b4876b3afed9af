"""What helps with a prompt: its tokens, styles, and what a template stands for."""

from __future__ import annotations

import time

from playwright.sync_api import Page, expect

from pipelines import Axis, Request, Sheet, Studio
from tests.ui.page_server import Site
from tests.ui.pages import choose
from tests.ui.sheet_pages import cells, generate, headers, open_tab
from tests.ui.tabs.test_text_to_image import same
from ui.form.prompt_help import tokens_line
from ui.form.run_limits import FORECAST_STEPS_MAX, is_forecast


def test_tokens_are_counted_as_the_prompt_is_typed(page: Page) -> None:
    line = page.locator("#text-to-image-tokens")
    prompt = page.get_by_label("Prompt", exact=True)
    negative = page.get_by_label("Negative prompt", exact=True)
    before = negative.bounding_box()
    prompt.fill("a pear")
    expect(line).to_have_text("5 of 75 tokens")
    assert negative.bounding_box() == before, "the form moves while a prompt is typed"
    prompt.fill("b" * 75 + " <i>cut</i>")
    expect(line).to_contain_text("not read: <i>cut</i>")
    prompt.fill("")
    expect(line).to_have_text("")


def test_a_style_fills_the_prompts_and_gives_way_to_the_next(page: Page) -> None:
    prompt = page.get_by_label("Prompt", exact=True)
    negative = page.get_by_label("Negative prompt", exact=True)
    choose(page, "Model", "basic")
    prompt.fill("a pear")
    negative.fill("blur")
    choose(page, "Style", "Ink drawing")
    expect(prompt).to_have_value("ink drawing of a pear, black and white, cross-hatching")
    expect(negative).to_have_value("blur, colour, photograph")
    choose(page, "Style", "Oil painting")
    expect(prompt).to_have_value("oil painting of a pear, thick brush strokes, canvas texture")
    choose(page, "Style", "None")
    expect(prompt).to_have_value("a pear")
    expect(negative).to_have_value("blur")
    choose(page, "Model", "Emoji (ships with Contact Sheet)")
    choose(page, "Style", "Flat")
    expect(prompt).to_have_value("a pear, flat style")


def test_a_template_is_shown_before_it_is_made(page: Page, site: Site) -> None:
    tab = open_tab(page, "Sheet")
    shown = tab.locator("#sheet-variants")
    axes = tab.get_by_label("Axes")
    axes.fill("prompt_variants=a {red|green")
    expect(shown).to_contain_text("cannot be read as a template")
    axes.fill("prompt_variants=a {red|green} __colour__")
    expect(shown).to_contain_text("14 prompts:")
    expect(shown).to_contain_text("… and 6 more")
    axes.fill("seed=7\nprompt_variants=a {red|green} <b>")
    expect(shown.locator("li")).to_have_text(["a red <b>", "a green <b>"])
    tab.get_by_role("spinbutton", name="Steps").fill("2")
    generate(tab)
    assert headers(tab, "column") == ["a red <b>", "a green <b>"]
    run = site.newest_run()
    assert [one.prompt for one in run.requests] == ["a red <b>", "a green <b>"]
    for picture, request in zip(cells(page, tab), run.requests, strict=True):
        assert same(picture, site.studio.image(request))
    axes.fill("seed=1-2")
    expect(shown).not_to_be_visible()


def test_a_book_is_not_counted() -> None:
    studio = Studio(models=[])
    begun = time.process_time()
    for text in ("x" * 100_000, " BREAK" * 17_000, "(a" + " " * 40_000 + "x)"):
        line = tokens_line(studio, "nobody", text)
        assert f"{len(text):,} characters; a prompt has at most 4,000" in line
    assert time.process_time() - begun < 2.0
    studio.close()


def test_what_takes_long_to_plan_is_not_forecast() -> None:
    base = Request(model="m", sampler="dpmpp_sde")
    many = Sheet(base=base, axes=(Axis(field="steps", values=tuple(range(601, 1000))),))
    assert not is_forecast(many)
    seeds = Sheet(base=base, axes=(Axis(field="seed", values=tuple(range(400))),))
    assert is_forecast(seeds) and FORECAST_STEPS_MAX >= 50_000

"""The text-to-image tab, used as a person uses it."""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageChops
from playwright.sync_api import Browser, Page, expect

from pipelines import Request
from pipelines.runs.png_metadata import read_request, settings_text
from presets import model_preset
from tests.ui import pages
from tests.ui.page_server import READY, Site

SLOW = 800
"""Steps of a run that lasts long enough to be interrupted."""


def same(a: Any, b: Any, tolerance: int = 2) -> bool:
    """Whether two pictures differ by at most `tolerance` of 255 anywhere."""
    if a.size != b.size:
        return False
    extrema = ImageChops.difference(a.convert("RGB"), b.convert("RGB")).getextrema()
    return all(high <= tolerance for _, high in extrema)


def test_prompt_becomes_the_right_picture(page: Page, site: Site) -> None:
    pages.fill(page, Prompt="a red apple", Negative_prompt="leaf", Steps=12, Guidance=3.5)
    pages.fix_seed(page, 41)
    pages.choose(page, "Sampler", "Euler")
    pages.choose(page, "Schedule", "Karras")
    pages.generate(page)
    pages.wait_status(page, "done")

    request = Request(
        model="basic", prompt="a red apple", negative_prompt="leaf", steps=12,
        guidance_scale=3.5, seed=41, sampler="euler", schedule="karras", width=32, height=32,
    )  # fmt: skip
    shown = pages.picture(page)
    assert same(shown, site.studio.image(request))
    assert not same(shown, site.studio.image(request.replace(seed=42)), tolerance=8)
    assert page.locator(".cs-cell pre").text_content() == settings_text(request)

    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "a-red-apple-41.png"
    with Image.open(download.value.path()) as saved:
        assert read_request(saved) == request
        assert same(saved, shown, tolerance=0)


def test_preview_changes_while_it_denoises(page: Page) -> None:
    pages.fill(page, Prompt="a rocket", Steps=SLOW)
    pages.generate(page)
    page.wait_for_selector('.cs-cell img[src^="data:image/png"]')
    first = pages.picture_source(page)
    page.wait_for_function(
        "first => { const now = document.querySelector('.cs-cell img').src;"
        " return now !== first && now.startsWith('data:image/png'); }",
        arg=first,
    )
    line = page.locator(".cs-line")
    page.wait_for_function(
        "() => /^Step \\d+ of 800 · [\\d.]+ steps\\/s · .+ left$/"
        ".test(document.querySelector('.cs-line').textContent)"
    )
    expect(line).to_be_visible()
    expect(page.get_by_role("progressbar", name="Progress of this run")).to_be_visible()


def test_reload_in_the_middle_shows_the_same_run_to_its_end(page: Page, site: Site) -> None:
    pages.fill(page, Prompt="a cat", Steps=200)
    pages.generate(page)
    pages.wait_status(page, "running")
    run = site.newest_run()
    page.reload()
    pages.wait_status(page, "done")
    assert site.newest_run().id == run.id, "reloading must not start another run"
    assert page.get_by_label("Prompt", exact=True).input_value() == "a cat"
    assert page.get_by_label("Random", exact=True).is_checked()
    assert same(pages.picture(page), site.studio.image(run.requests[0]))


def test_closing_the_page_loses_nothing(browser: Browser, site: Site) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(site.url)
    page.wait_for_selector(READY, state="attached")
    pages.fill(page, Prompt="a house", Steps=200)
    pages.generate(page)
    pages.until(lambda: bool(site.studio.recent(1)), "a run")
    pages.wait_status(page, "running")
    run = site.newest_run()
    page.close()
    pages.until(lambda: run.snapshot().finished, "the run going on without a page", 60)
    assert run.snapshot().status == "done"
    again = context.new_page()
    again.goto(site.url)
    pages.wait_status(again, "done")
    assert same(pages.picture(again), run.snapshot().cells[0].image)
    context.close()


def test_stop_stops_within_two_steps(page: Page, site: Site) -> None:
    pages.fill(page, Prompt="a dog", Steps=SLOW)
    pages.generate(page)
    pages.wait_status(page, "running")
    run = site.newest_run()
    pages.until(lambda: run.snapshot().cells[0].step >= 3, "some steps")
    asked_at: list[int] = []
    stop = run.stop

    def watched_stop() -> None:
        stop()
        asked_at.append(run.snapshot().cells[0].step)

    run.stop = watched_stop
    page.get_by_role("button", name="Stop", exact=True).click()
    pages.wait_status(page, "stopped")
    assert asked_at[0] < SLOW
    assert run.snapshot().cells[0].step <= asked_at[0] + 2
    expect(page.locator(".cs-line")).to_contain_text("Stopped at step")
    expect(page.get_by_role("button", name="Generate", exact=True)).to_be_enabled()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_disabled()


def test_keys(page: Page) -> None:
    prompt = page.get_by_label("Prompt", exact=True)
    pages.fill(page, Steps=SLOW, Prompt="a tree")
    prompt.press("Control+Enter")
    pages.wait_status(page, "running")
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_enabled()
    prompt.press("Escape")
    pages.wait_status(page, "stopped")
    assert prompt.input_value() == "a tree", "Ctrl+Enter must not type a line break"


def test_several_pictures_have_following_seeds(page: Page, site: Site) -> None:
    pages.fill(page, Prompt="a star", Steps=4, Pictures=3)
    pages.fix_seed(page, 7)
    pages.generate(page)
    pages.wait_status(page, "done")
    for index, request in enumerate(site.newest_run().requests):
        assert request.seed == 7 + index
        assert same(pages.picture(page, index), site.studio.image(request))
    page.locator(".cs-open").nth(1).click()
    box = page.get_by_role("dialog")
    expect(box).to_contain_text("seed 8")
    page.keyboard.press("ArrowRight")
    expect(box).to_contain_text("seed 9")
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()


def test_settings_of_a_picture_go_back_into_the_form(page: Page, site: Site) -> None:
    pages.fill(page, Prompt="first", Steps=3, Pictures=2)
    pages.choose(page, "Sampler", "Heun")
    pages.generate(page)
    pages.wait_status(page, "done")
    first = site.newest_run().requests
    pages.fill(page, Prompt="second", Steps=5)
    pages.choose(page, "Sampler", "DDIM")
    page.get_by_role("button", name="Use settings").nth(1).click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("first")
    expect(page.get_by_label("Steps", exact=True)).to_have_value("3")
    expect(page.get_by_label("Sampler", exact=True)).to_have_value("Heun")
    expect(page.get_by_label("Seed number", exact=True)).to_have_value(str(first[1].seed))
    assert page.get_by_label("Fixed", exact=True).is_checked()
    page.get_by_role("button", name="Reuse the seed shown").click()
    expect(page.get_by_label("Seed number", exact=True)).to_have_value(str(first[0].seed))


def test_recent_runs_come_back(page: Page, site: Site) -> None:
    made = []
    for prompt in ("older", "newer"):
        pages.fill(page, Prompt=prompt, Steps=3)
        pages.generate(page)
        page.locator(f".cs-recent[aria-current]:has-text('{prompt}') img").wait_for()
        made.append(site.newest_run())
    page.locator(".cs-recent", has_text="older").first.click()
    expect(page.locator(".cs-cell pre")).to_contain_text("older")
    assert same(pages.picture(page), made[0].snapshot().cells[0].image)
    page.reload()
    expect(page.locator(".cs-cell pre")).to_contain_text("older")


def test_a_second_page_does_not_wait_for_a_long_run(
    page: Page, browser: Browser, site: Site
) -> None:
    pages.fill(page, Prompt="long", Steps=SLOW)
    pages.generate(page)
    pages.wait_status(page, "running")
    context = browser.new_context()
    other = context.new_page()
    other.goto(site.url)
    pages.fill(other, Prompt="short", Steps=3)
    pages.generate(other)
    pages.wait_status(other, "done")
    assert pages.status(page) == "running"
    page.get_by_role("button", name="Stop", exact=True).click()
    pages.wait_status(page, "stopped")
    context.close()


def test_bad_input_says_what_is_allowed_and_starts_nothing(page: Page, site: Site) -> None:
    pages.fill(page, Prompt="<img src=x onerror=alert(1)>")
    runs = len(site.studio.recent(100))
    alert = page.locator("#text-to-image-problem [role=alert]")
    cases = (
        ({"Steps": 0}, "steps is 0; it must be a whole number from 1 to 1000"),
        ({"Steps": 2.5}, "steps is 2.5; it must be a whole number from 1 to 1000"),
        (
            {"Steps": 4, "Guidance": -101},
            "guidance_scale is -101; it must be a number from -100 to 100",
        ),
        ({"Guidance": 5, "Pictures": 17}, "it must be a whole number from 1 to 16"),
    )
    for fields, message in cases:
        pages.fill(page, **fields)
        pages.generate(page)
        expect(alert).to_contain_text(message)
        expect(page.get_by_test_id("toast-body").last).to_contain_text(message)
        expect(page.get_by_role("button", name="Generate", exact=True)).to_be_enabled()
    pages.fill(page, Pictures=1)
    pages.fix_seed(page, 2**63)
    pages.generate(page)
    expect(alert).to_contain_text(
        "it must be a whole number from 0 to 9223372036854775807, or -1 for random"
    )
    pages.fix_seed(page, 1)
    pages.choose(page, "Size", "Custom")
    pages.fill(page, Width=33, Height=32)
    pages.generate(page)
    expect(alert).to_contain_text("width is 33; this model takes multiples of 4")
    assert len(site.studio.recent(100)) == runs
    pages.fill(page, Width=40)
    pages.generate(page)
    pages.wait_status(page, "done")
    assert pages.picture(page).size == (40, 32)
    expect(alert).to_be_hidden()


def test_another_model_brings_its_settings_and_examples(page: Page, site: Site) -> None:
    preset = model_preset("emoji")
    pages.fill(page, Steps=3, Guidance=1)
    pages.choose(page, "Model", preset.title)
    expect(page.get_by_label("Steps", exact=True)).to_have_value(str(preset.steps))
    expect(page.get_by_label("Size", exact=True)).to_have_value("128 × 128")
    pages.fill(page, Steps=2)
    page.get_by_role("button", name=preset.examples[0], exact=True).click()
    pages.wait_status(page, "done")
    request = site.newest_run().requests[0]
    assert (request.model, request.prompt, request.steps) == ("emoji", preset.examples[0], 2)
    assert same(pages.picture(page), site.studio.image(request))
    box = page.locator(".cs-cell img").bounding_box()
    assert box is not None
    assert box["width"] == 3 * 128, "small pictures are enlarged by a whole number"
    assert page.locator(".cs-cell img").evaluate("i => getComputedStyle(i).imageRendering") == (
        "pixelated"
    )


def test_more_guidance_settings_reach_the_request(page: Page, site: Site) -> None:
    page.get_by_role("button", name="More about guidance").click()
    pages.fill(page, Rescale=0.7, Start=0.2, Stop_at=0.8, Steps=5)
    pages.generate(page)
    pages.wait_status(page, "done")
    request = site.newest_run().requests[0]
    assert (request.guidance_rescale, request.guidance_start, request.guidance_stop) == (
        0.7, 0.2, 0.8,
    )  # fmt: skip
    assert same(pages.picture(page), site.studio.image(request))

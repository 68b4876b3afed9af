"""What stands below a sampler comparison: distances, orders, noise levels, the filmstrip."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from pipelines import Request
from pipelines.analysis.convergence import reference
from pipelines.analysis.image_metrics import as_array, rms
from tests.ui.page_server import Site
from tests.ui.sheet_pages import cells, generate, open_tab
from tests.ui.tabs.test_text_to_image import same
from ui.reports.filmstrip import spread


def test_distances_come_from_the_pictures(page: Page, site: Site) -> None:
    tab = open_tab(page, "Samplers")
    tab.get_by_label("How many").fill("2, 4, 8")
    runs = len(site.studio.recent(1000))
    generate(tab)
    numbers = tab.locator(".cs-numbers")
    expect(numbers).to_be_visible()
    expect(numbers).not_to_contain_text("Distance")
    tab.get_by_role("button", name="Measure the distance").click()
    expect(numbers).to_contain_text("Distance", timeout=60_000)

    base = Request(model="basic", prompt="a red apple", seed=7, width=32, height=32)
    converged = as_array(site.studio.image(reference(base)))
    wanted = [f"{rms(as_array(one), converged):.1f}" for one in cells(page, tab)[:3]]
    row = numbers.locator("tbody tr").first.locator("td")
    assert row.nth(0).text_content() == "DDIM"
    assert row.nth(1).text_content() == "2 · 4 · 8"
    assert row.nth(3).text_content() == " · ".join(wanted)
    expect(numbers.locator("tbody tr").nth(5)).to_contain_text("adds noise")
    chart = tab.get_by_role("img", name="Distance to the converged picture")
    assert chart.locator("[data-name]").count() == 6
    assert chart.locator('[data-name="Heun"] title').first.text_content().startswith("Heun: 3, ")

    heading = numbers.locator("th").nth(5)
    expect(heading).to_have_text("Evaluations to come within 8")
    tab.get_by_label("Close enough").fill("128")
    expect(heading).to_have_text("Evaluations to come within 128")
    expect(row.nth(5)).to_have_text("2 or fewer")
    assert len(site.studio.recent(1000)) == runs + 2, "ours and the one of image() above"

    page.reload()
    page.get_by_role("tab", name="Samplers", exact=True).click()
    expect(tab.get_by_role("img", name="Distance to the converged picture")).to_be_visible()


def test_the_filmstrip_is_the_run_on_its_way(page: Page, site: Site) -> None:
    tab = open_tab(page, "Samplers")
    tab.get_by_label("How many").fill("3, 6")
    generate(tab)
    tab.get_by_label("Sampler", exact=True).click()
    page.get_by_role("option", name="Euler", exact=True).click()
    tab.get_by_role("button", name="Show the filmstrip").click()
    film = tab.locator(".cs-film")
    expect(film).to_be_visible(timeout=60_000)
    assert film.locator("thead th").all_text_contents()[1:] == ["1", "2", "3", "4", "5", "6"]

    def row(number: int) -> list[Image.Image]:
        addresses = film.locator("tbody tr").nth(number).locator("img")
        found = addresses.evaluate_all("images => images.map(image => image.src)")
        return [Image.open(io.BytesIO(page.request.get(one).body())) for one in found]

    base = Request(
        model="basic", prompt="a red apple", seed=7, sampler="euler", width=32, height=32
    )
    way, whole = row(0), row(1)
    for steps, picture in enumerate(whole, start=1):
        assert same(picture, site.studio.image(base.replace(steps=steps)))
    assert same(way[5], whole[5]), "the last step removes all noise"
    assert not same(way[2], whole[2]), "halfway is not a run of half the steps"


@pytest.mark.parametrize(
    ("total", "expected"),
    [(1, [1]), (5, [1, 2, 3, 4, 5]), (20, [1, 2, 3, 4, 6, 8, 13, 20])],
)
def test_frames_are_spread_by_factors(total: int, expected: list[int]) -> None:
    assert spread(total, 8) == expected

"""The tabs that make sheets, used as a person uses them."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from pipelines import InvalidRequest, Request
from pipelines.analysis.guidance_sweep import measure, sweet_spot
from pipelines.analysis.image_metrics import as_array, clipped
from pipelines.rendering.run_plan import CostEstimate
from pipelines.runs.contact_sheet import draw_grid
from presets import model_preset
from tests.ui.page_server import Site
from tests.ui.sheet_pages import cells, generate, headers, open_tab
from tests.ui.tabs.test_text_to_image import same
from ui.form.run_limits import MOST_CELLS, needs_asking
from ui.tabs.samplers import sampler_schedules


@pytest.fixture
def seeded() -> Request:
    return Request(model="basic", prompt="a red apple", seed=7, steps=4, width=32, height=32)


def test_a_sweep_shows_every_scale_under_its_name(page: Page, site: Site, seeded: Request) -> None:
    tab = open_tab(page, "Guidance")
    expect(tab.get_by_role("spinbutton", name="Guidance")).to_have_count(0)
    tab.get_by_label("Guidance scales").fill("1, 4-8 (+4)")
    tab.get_by_role("spinbutton", name="Steps").fill("4")
    generate(tab)
    assert tab.locator(".cs-label").all_text_contents()[:3] == [
        "guidance 1", "guidance 4", "guidance 8",
    ]  # fmt: skip
    for picture, scale in zip(cells(page, tab), (1, 4, 8), strict=True):
        assert same(picture, site.studio.image(seeded.replace(guidance_scale=scale)))


def test_a_second_axis_makes_rows(page: Page, site: Site, seeded: Request) -> None:
    tab = open_tab(page, "Guidance")
    tab.get_by_label("Guidance scales").fill("2, 6")
    tab.get_by_role("spinbutton", name="Steps").fill("4")
    tab.get_by_label("Against").click()
    page.get_by_role("option", name="Samplers").click()
    values = tab.get_by_label("Values")
    expect(values).to_have_value("ddim, euler_a, dpmpp_2m")
    values.fill("ddim, Euler a")
    generate(tab)
    assert headers(tab, "row") == ["DDIM", "Euler a"]
    assert headers(tab, "column") == ["guidance 2", "guidance 6"]
    wanted = [
        seeded.replace(sampler=sampler, guidance_scale=scale)
        for sampler in ("ddim", "euler_a")
        for scale in (2, 6)
    ]
    for picture, request in zip(cells(page, tab), wanted, strict=True):
        assert same(picture, site.studio.image(request))
    page.reload()
    page.get_by_role("tab", name="Guidance", exact=True).click()
    tab = page.locator(".cs-tab:visible")
    expect(tab.locator(".cs-row")).to_have_count(2)
    expect(tab.get_by_label("Values")).to_have_value("ddim, Euler a")


def test_curves_stand_below_a_sweep_and_nowhere_else(page: Page, site: Site) -> None:
    tab = open_tab(page, "Guidance")
    tab.get_by_label("Guidance scales").fill("1, 3, 9")
    tab.get_by_label("Against").click()
    page.get_by_role("option", name="Seeds").click()
    tab.get_by_label("Values").fill("1, 2")
    tab.get_by_role("spinbutton", name="Steps").fill("2")
    title = tab.get_by_role("heading", name="What guidance does to these pictures")
    expect(title).to_be_hidden()
    generate(tab)
    expect(title).to_be_visible()
    for name in ("Colourfulness", "Clipped", "Contrast", "Change", "Diversity"):
        expect(tab.get_by_role("img", name=name)).to_be_visible()
    snapshot = site.newest_run().snapshot()
    share = clipped(as_array(snapshot.cells[5].image))
    points = tab.get_by_role("img", name="Clipped").locator('[data-name="seed 2"] title')
    assert points.last.text_content() == f"seed 2: 9, {share:.3g}"
    sweep = measure(snapshot)
    assert sweep is not None
    expect(tab.locator(".cs-verdict")).to_contain_text(f"Sweet spot: {sweet_spot(sweep):g}")
    chart = tab.get_by_role("img", name="Clipped")
    plot = chart.locator(".cs-axis").bounding_box()
    words = chart.locator(".cs-mark text").last.bounding_box()
    assert plot is not None and words is not None
    assert words["y"] + words["height"] <= plot["y"] + 1, "a mark's words are clear of the lines"


def test_samplers_at_equal_evaluations(page: Page, site: Site, seeded: Request) -> None:
    tab = open_tab(page, "Samplers")
    tab.get_by_label("Evaluations", exact=True).check()
    tab.get_by_label("How many").fill("5, 9")
    generate(tab)
    assert headers(tab, "row") == ["DDIM", "Euler", "Heun", "DPM++ 2M", "UniPC", "Euler a"]
    assert headers(tab, "column") == ["evaluations 5", "evaluations 9"]
    shown = cells(page, tab)
    assert same(shown[4], site.studio.image(seeded.replace(sampler="heun", steps=3)))
    assert same(shown[5], site.studio.image(seeded.replace(sampler="heun", steps=5)))
    assert same(shown[1], site.studio.image(seeded.replace(sampler="ddim", steps=9)))


def test_any_axes_and_everything_to_take_home(page: Page, site: Site, seeded: Request) -> None:
    tab = open_tab(page, "Sheet")
    tab.get_by_label("Axes").fill("prompt_replace=red, green\n\nseed=3, 9")
    tab.get_by_role("spinbutton", name="Steps").fill("4")
    generate(tab)
    run = site.newest_run()
    assert headers(tab, "row") == ["red", "green"]
    assert headers(tab, "column") == ["seed 3", "seed 9"]
    wanted = [
        seeded.replace(prompt=f"a {colour} apple", seed=seed)
        for colour in ("red", "green")
        for seed in (3, 9)
    ]
    shown = cells(page, tab)
    for picture, request in zip(shown, wanted, strict=True):
        assert same(picture, site.studio.image(request))

    with page.expect_download() as saved:
        tab.get_by_role("link", name="PNG", exact=True).click()
    with Image.open(saved.value.path()) as grid:
        expected = draw_grid(run.sheet, [cell.image for cell in run.snapshot().cells])
        assert same(grid, expected, tolerance=0)
    with page.expect_download() as saved:
        tab.get_by_role("link", name="ZIP", exact=True).click()
    with zipfile.ZipFile(saved.value.path()) as archive:
        names = archive.namelist()
        contents = json.loads(archive.read("sheet.json"))
        assert {"sheet.png", "sheet.json"} < set(names) and len(names) == 6
        for cell, picture in zip(contents["cells"], shown, strict=True):
            kept = Image.open(io.BytesIO(archive.read(cell["file"])))
            assert same(kept, picture, tolerance=0)


def test_combinations_that_cannot_be_made_are_left_out_if_asked(page: Page, site: Site) -> None:
    tab = open_tab(page, "Sheet")
    tab.get_by_label("Axes").fill("sampler=ddim, euler\nschedule=default, karras")
    tab.get_by_role("spinbutton", name="Steps").fill("2")
    problem = tab.locator("#sheet-problem")
    tab.get_by_role("button", name="Generate", exact=True).click()
    expect(problem).to_contain_text("'ddim' has no schedule 'karras'")
    tab.get_by_label("Leave out combinations that cannot be made").check()
    generate(tab)
    expect(problem).to_be_hidden()
    made = [(one.sampler, one.schedule) for one in site.newest_run().requests]
    assert made == [("ddim", "default"), ("euler", "default"), ("euler", "karras")]
    expect(tab.locator(".cs-run")).to_contain_text("left out: ")


def test_two_cells_compared(page: Page, site: Site) -> None:
    tab = open_tab(page, "Sheet")
    tab.get_by_label("Axes").fill("guidance_scale=1, 7\nseed=3, 9")
    tab.get_by_role("spinbutton", name="Steps").fill("4")
    generate(tab)
    one, other = cells(page, tab)[1:3]
    tab.get_by_role("button", name="Compare two").click()
    tab.locator(".cs-open").nth(1).click()
    tab.locator(".cs-open").nth(2).click()
    dialog = tab.get_by_role("dialog", name="Two pictures compared")
    names = dialog.locator(".cs-names p")
    expect(names).to_have_text(["Left: guidance 1, seed 9", "Right: guidance 7, seed 3"])
    box = dialog.locator(".cs-stage").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 40, steps=3)
    page.mouse.up()
    expect(dialog.get_by_role("slider")).to_have_value("25")
    cut = dialog.locator("img").nth(1).evaluate("image => image.style.clipPath")
    assert cut == "inset(0px 75% 0px 0px)"
    dialog.get_by_role("button", name="Difference").click()
    most = max(
        abs(a - b)
        for x, y in zip(one.getdata(), other.getdata(), strict=True)
        for a, b in zip(x, y, strict=True)
    )
    expect(dialog).to_contain_text(f"Largest difference {most} of 255")
    dialog.get_by_role("button", name="Flip").click()
    expect(names).to_have_text("guidance 1, seed 9")
    dialog.locator(".cs-stage").click()
    expect(names).to_have_text("guidance 7, seed 3")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_an_example_starts_a_sweep(page: Page, site: Site) -> None:
    tab = open_tab(page, "Guidance")
    tab.get_by_label("Model", exact=True).click()
    page.get_by_role("option", name=model_preset("emoji").title).click()
    tab.get_by_label("Guidance scales").fill("1, 3")
    tab.get_by_role("spinbutton", name="Steps").fill("2")
    prompt = model_preset("emoji").examples[1]
    tab.get_by_role("button", name=prompt, exact=True).click()
    tab.locator('.cs-run[data-status="done"]').wait_for()
    asked = [(one.prompt, one.guidance_scale) for one in site.newest_run().requests]
    assert asked == [(prompt, 1), (prompt, 3)]


def test_a_table_fits_and_long_headers_end_in_an_ellipsis(page: Page) -> None:
    tab = open_tab(page, "Sheet")
    long = "a very long prompt of many words that nobody can read in a narrow column at all"
    tab.get_by_label("Axes").fill(f'seed=1-2\nprompt="{long} {long}", b, c, d, e, f, g, h')
    tab.get_by_role("spinbutton", name="Steps").fill("1")
    generate(tab)
    scroller = tab.locator(".cs-scroller")
    assert scroller.evaluate("node => node.scrollWidth <= node.clientWidth")
    text = tab.locator(".cs-column .cs-head-text").first
    assert text.evaluate("node => node.scrollHeight > node.clientHeight"), "it is long enough"
    lines = text.evaluate(
        "node => node.clientHeight / parseFloat(getComputedStyle(node).lineHeight)"
    )
    assert lines == pytest.approx(6, abs=0.2), "no line is cut"
    inside = "node => node.clientHeight <= node.parentElement.clientHeight"
    assert text.evaluate(inside)


def test_size_changes_all_cells_together(page: Page) -> None:
    tab = open_tab(page, "Sheet")
    tab.get_by_label("Axes").fill("guidance_scale=1, 7\nseed=3, 9")
    tab.get_by_role("spinbutton", name="Steps").fill("2")
    generate(tab)
    tab.get_by_label("Size of the pictures").fill("320")
    widths = tab.locator(".cs-open").evaluate_all("all => all.map(one => one.style.width)")
    assert widths == ["320px"] * 4


def test_the_cost_is_said_before_the_run(page: Page) -> None:
    tab = open_tab(page, "Sheet")
    forecast = tab.locator("[id$=-forecast]")
    tab.get_by_role("spinbutton", name="Steps").fill("3")
    tab.get_by_label("Axes").fill("guidance_scale=1, 6\nseed=31-33")
    expect(forecast).to_contain_text("6 cells · up to 27 denoiser rows")
    generate(tab)
    tab.get_by_label("Axes").fill("guidance_scale=1, 6\nseed=31-34")
    expect(forecast).to_contain_text("8 cells, 6 made before · up to 9 denoiser rows · about ")
    tab.get_by_label("Axes").fill("guidance_scale=x")
    expect(forecast).to_be_hidden()


def test_a_large_run_asks_once(page: Page, site: Site) -> None:
    runs = len(site.studio.recent(1000))
    tab = open_tab(page, "Sheet")
    tab.get_by_label("Axes").fill("seed=0-100")
    tab.get_by_role("spinbutton", name="Steps").fill("1")
    tab.get_by_role("button", name="Generate", exact=True).click()
    question = tab.get_by_text("This is a large run: 101 cells · up to 202 denoiser rows")
    expect(question).to_be_visible()
    assert len(site.studio.recent(1000)) == runs
    tab.get_by_role("button", name="Not now").click()
    expect(question).to_be_hidden()
    tab.get_by_role("button", name="Generate", exact=True).click()
    expect(question).to_be_visible()
    tab.get_by_label("Axes").fill("seed=5")  # what was asked about is made
    tab.get_by_role("button", name="Make them all").click()
    tab.locator('.cs-run[data-status="done"]').wait_for()
    expect(question).to_be_hidden()
    assert len(site.newest_run().snapshot().cells) == 101
    tab.get_by_label("Axes").fill("seed=0-101")  # all but one were made before
    tab.get_by_role("button", name="Generate", exact=True).click()
    expect(tab.locator(".cs-cell")).to_have_count(102)


@pytest.mark.parametrize(
    ("cost", "asks"),
    [
        (CostEstimate(100, 0, 1, None), False),
        (CostEstimate(101, 0, 1, None), True),
        (CostEstimate(150, 60, 1, 300.0), False),
        (CostEstimate(1, 0, 1, 301.0), True),
    ],
)
def test_what_is_large(cost: CostEstimate, asks: bool) -> None:
    assert needs_asking(cost) is asks


def test_stop_in_the_middle_keeps_what_is_finished(page: Page, site: Site) -> None:
    tab = open_tab(page, "Sheet")
    tab.get_by_label("Axes").fill("steps=2, 900\nseed=3, 9")
    tab.get_by_role("button", name="Generate", exact=True).click()
    tab.locator('.cs-cell[data-status="done"]').nth(1).wait_for()
    page.keyboard.press("Escape")
    tab.locator('.cs-run[data-status="stopped"]').wait_for()
    states = [cell.status for cell in site.newest_run().snapshot().cells]
    assert states[:2] == ["done", "done"] and "done" not in states[2:]
    expect(tab.locator('.cs-cell[data-status="done"]')).to_have_count(2)


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ("guidance_scale=1, x", "'x' is no number"),
        ("guidance_scal=1", "did you mean 'guidance_scale'"),
        (f"seed=0-{MOST_CELLS}", f"at most {MOST_CELLS}"),
        ("prompt_replace=pear, plum", "not in the prompt"),
    ],
)
def test_a_bad_axis_is_said_and_nothing_starts(
    page: Page, site: Site, axes: str, said: str
) -> None:
    runs = len(site.studio.recent(1000))
    tab = open_tab(page, "Sheet")
    tab.get_by_label("Axes").fill(axes)
    tab.get_by_role("button", name="Generate", exact=True).click()
    expect(tab.get_by_role("alert").first).to_contain_text(said)
    assert len(site.studio.recent(1000)) == runs


def test_samplers_with_the_schedules_they_have() -> None:
    assert sampler_schedules(["ddim", "euler"], ["default", "karras"]) == [
        ("ddim", "default"), ("euler", "default"), ("euler", "karras"),
    ]  # fmt: skip
    with pytest.raises(InvalidRequest, match="no sampler is chosen"):
        sampler_schedules([], ["default"])
    with pytest.raises(InvalidRequest, match="Default as well"):
        sampler_schedules(["ddim"], ["karras"])
    with pytest.raises(InvalidRequest, match="'eulr'"):
        sampler_schedules(["eulr"], ["default"])


def test_what_is_not_read_stands_above_the_pictures(page: Page) -> None:
    tab = open_tab(page, "Sheet")
    tab.get_by_label("Axes").fill("prompt=a red apple, a red [apple:pear:99], Red apple, red apple")
    tab.get_by_role("spinbutton", name="Steps").fill("2")
    generate(tab)
    lines = tab.get_by_role("list", name="Warnings").get_by_role("listitem")
    expect(lines).to_have_count(3)
    expect(lines.nth(0)).to_contain_text("'pear' is not read, as none of the 2 steps reaches it")
    expect(lines.nth(1)).to_contain_text("the same picture, to the bit, as a red apple")
    expect(lines.nth(2)).to_contain_text("red apple: the same picture, to the bit, as Red apple")
    tab.get_by_label("Axes").fill("prompt_replace=red, green\nprompt_replace2=apple, pear")
    generate(tab)
    expect(tab.locator(".cs-row")).to_have_text(["red", "green"])
    expect(tab.get_by_role("list", name="Warnings")).to_be_hidden()


def test_seeds_of_any_length_and_random_ones(page: Page, site: Site) -> None:
    tab = open_tab(page, "Text to image")
    tab.get_by_label("Seed number", exact=True).fill("9223372036854775807")
    tab.get_by_role("spinbutton", name="Steps").fill("2")
    generate(tab)
    assert site.studio.runs[-1].requests[0].seed == 2**63 - 1
    expect(tab.locator("figcaption")).to_contain_text("Seed 9223372036854775807")
    tab.get_by_label("Seed number", exact=True).fill("-1")
    generate(tab)
    assert site.studio.runs[-1].requests[0].seed >= 0

"""What is in memory is said on the page, and freed by its button, but not under a run."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from pipelines.model_manager.component_cache import CachedComponent
from tests.ui import pages
from tests.ui.page_server import Site
from ui.memory_status import EMPTY, memory_line, memory_text


def test_the_text_names_the_largest_first() -> None:
    cached = (
        CachedComponent("a/vae", 2_000_000, False),
        CachedComponent("a/tokenizer", 0, False),
        CachedComponent("a/unet", 5_500_000, True),
    )
    said = memory_text("cpu", 10**9, cached)
    assert said == "cpu: 7.5 MB of 1.0 GB in memory: a/unet (in use), a/vae"
    beside = (*cached, CachedComponent("a/text_encoder", 9_100_000_000, True, waiting=True))
    assert memory_text("cuda", 10**10, beside) == (
        "cuda: 7.5 MB of 10.0 GB in memory: a/unet (in use), a/vae; "
        "9.1 GB beside it: a/text_encoder (in use)"
    )


def test_memory_is_shown_and_freed_when_idle(page: Page, site: Site) -> None:
    manager = site.studio.manager
    line = page.locator("#memory .cs-note")
    button = page.get_by_role("button", name="Free memory")
    button.click()
    pages.until(lambda: manager.cached_bytes == 0, "memory is freed")
    expect(line).to_have_text(EMPTY)
    pages.fill(page, Prompt="an apple", Steps=800)
    pages.generate(page)
    pages.wait_status(page, "running")
    expect(line).to_contain_text("basic/unet (in use)")
    held = manager.cached_bytes
    button.click()
    expect(button).to_be_enabled()
    assert manager.cached_bytes == held > 0, "a run keeps its model"
    expect(line).to_contain_text("basic/unet (in use)")
    page.get_by_role("button", name="Stop", exact=True).click()
    pages.wait_status(page, "stopped")
    expect(line).to_have_text(
        re.compile(r"^cpu: \d+\.\d MB of [\d.,]+ [MG]B in memory: .*basic/unet, .*basic/vae")
    )
    expect(line).not_to_contain_text("in use")
    expect(line).to_have_text(memory_line(site.studio))
    page.reload()
    expect(line).to_have_text(memory_line(site.studio))
    button.click()
    expect(line).to_have_text(EMPTY)
    assert manager.cached_bytes == 0

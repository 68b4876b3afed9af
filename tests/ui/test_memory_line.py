"""What is in memory is said on the page, and freed by its button, but not under a run."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from pipelines.residents import Resident
from tests.ui.conftest import Site
from tests.ui.pages import until
from ui.memory_line import memory_text


def test_the_text_names_the_largest_first() -> None:
    residents = (
        Resident("a/vae", 2_000_000, False),
        Resident("a/tokenizer", 0, False),
        Resident("a/unet", 5_500_000, True),
    )
    said = memory_text("cpu", 10**9, residents)
    assert said == "cpu: 7.5 MB of 1,000 MB in memory: a/unet (in use), a/vae"


def test_memory_is_shown_and_freed_when_idle(page: Page, site: Site) -> None:
    manager = site.studio.manager
    line = page.locator("#memory .cs-note")
    button = page.get_by_role("button", name="Free memory")
    with manager.use("basic"):
        expect(line).to_contain_text("basic/unet (in use)")
        button.click()
        expect(line).to_have_text(
            re.compile(r"cpu: \d+\.\d MB of [\d,]+ MB in memory: .*basic/vae")
        )
        assert manager.resident_bytes > 0
    button.click()
    until(lambda: manager.resident_bytes == 0, "memory is freed")
    expect(line).to_have_text("Nothing is in memory.")

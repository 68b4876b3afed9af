"""Names, other machines and the login: who is served at all."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from gradio_client import Client
from playwright.sync_api import Browser, expect

from pipelines import InvalidRequest, Request, Sheet, Studio
from tests.ui import pages
from tests.ui.page_server import READY, Site, start
from ui.guard.hosts import HostNames
from ui.server import make_server

LOGIN = ("ada", "correct:horse")
STRANGE = ("example.org", "127.0.0.1.example.org", "localhost.example.org", "10.1.2.3", "", "a b",
           "127.0.0.1@example.org", "[::2]", "localhost:x", "0.0.0.0")  # fmt: skip


@pytest.fixture(scope="module")
def guarded(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that other machines reach, with a login."""
    studio = Studio(models, tmp_path_factory.mktemp("guarded"), device="cpu")
    site, stop = start(
        studio, host="0.0.0.0", auth=":".join(LOGIN), allow_hosts=["studio.example:8443"],
        trusted_proxies=["127.0.0.1"],
    )  # fmt: skip
    yield site
    stop()
    studio.close()


@pytest.fixture(scope="module")
def inside(guarded: Site) -> httpx.Client:
    """A client that has logged in."""
    client = httpx.Client(base_url=guarded.url)
    form = {"username": LOGIN[0], "password": LOGIN[1]}
    assert client.post("/login", data=form).status_code == 200
    return client


@pytest.mark.parametrize("host", STRANGE)
def test_a_name_that_is_not_the_servers_is_refused(site: Site, guarded: Site, host: str) -> None:
    for one in (site, guarded):
        for route in ("/", "/config", "/gradio_api/info", "/pictures/x/0.png", "/assets/x.js"):
            answer = httpx.get(one.url + route, headers={"host": host})
            assert answer.status_code == 400, route
            assert len(answer.text.splitlines()) <= 1


def test_nobody_moves_the_pages_addresses_elsewhere(site: Site, inside: httpx.Client) -> None:
    for moved in ("example.org", "127.0.0.1, example.org", "example.org, 127.0.0.1"):
        answer = httpx.get(site.url, headers={"x-forwarded-host": moved})
        assert answer.status_code == 400
    told = httpx.get(site.url, headers={"x-gradio-server": "http://example.org"})
    assert (told.status_code, "example.org" in told.text) == (200, False)
    proxied = {"x-forwarded-host": "studio.example:8443", "x-forwarded-proto": "https"}
    told = inside.get("/config", headers=proxied)
    assert told.json()["root"] == "https://studio.example:8443"


def test_names_that_are_given_count(guarded: Site) -> None:
    for host in ("studio.example:8443", "localhost:1", "127.0.0.1"):
        assert httpx.get(guarded.url, headers={"host": host}).status_code == 200
    proxied = {"origin": "https://studio.example:8443"}
    assert httpx.post(f"{guarded.url}/login", headers=proxied).status_code != 403
    assert (
        httpx.post(f"{guarded.url}/login", headers={"origin": "https://studio.example"}).status_code
        == 403
    )


def test_names_of_a_server() -> None:
    names = HostNames.of("0.0.0.0", ["Sheet.Example", "other.example:81"])
    for host in ("sheet.example", "SHEET.example:443", "other.example", "[::1]:7", "10.0.0.7:80"):
        assert names.include(host, "10.0.0.7"), host
    for host in ("10.0.0.8", "example", "sheet.example.org", "sheet.example:", "[::1", "::1"):
        assert not names.include(host, "10.0.0.7"), host
    assert HostNames.of("::1", []).include("[::1]:7860", "::1")
    assert names.include("10.0.0.7:80", "::ffff:10.0.0.7"), "as it arrives where both are heard"
    assert names.include("[fd00:0:0::2]", "fd00::2")
    for given, sent in {
        "a.example,b.example": "b.example", "fd00::9": "[fd00::9]:7860", "[fd00::9]": "[fd00::9]",
        "bücher.example": "xn--bcher-kva.example", "a.example": "a.example.:80",
        "a.example.": "a.example",
    }.items():  # fmt: skip
        assert HostNames.of("0.0.0.0", [given]).include(sent, "10.0.0.7"), given
    with pytest.raises(InvalidRequest, match="--allow-host is 'http://x'"):
        HostNames.of("::1", ["http://x"])


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_other_machines_are_served_with_a_login_only(models: Path, host: str) -> None:
    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with pytest.raises(InvalidRequest, match="login with --auth USER:PASSWORD"):
        make_server(Studio(models), host=host, port=0)
    make_server(Studio(models), host=host, port=0, auth="ada:horse").bound.close()


@pytest.mark.parametrize("auth", ["ada", ":horse", "ada:", "", " :x"])
def test_a_login_has_a_name_and_a_password(models: Path, auth: str) -> None:
    with pytest.raises(InvalidRequest, match="must be USER:PASSWORD") as told:
        make_server(Studio(models), port=0, auth=auth)
    assert "horse" not in str(told.value)


def test_its_own_address_of_ipv6_is_answered(models: Path) -> None:
    try:
        site, stop = start(Studio(models), host="::1")
    except InvalidRequest:
        pytest.skip("no IPv6 here")
    assert httpx.get(site.url).status_code == 200
    stop()


def test_every_route_asks_for_the_login(guarded: Site, inside: httpx.Client) -> None:
    run = guarded.studio.submit(Sheet(base=Request(model="basic", steps=1)))
    pages.until(lambda: run.snapshot().finished, "a picture", 60)
    file = run.snapshot().cells[0].file
    own = (
        f"/pictures/{run.id}/0.png", f"/sheets/{run.id}.png", f"/sheets/{run.id}.json",
        f"/gradio_api/file={file}",
    )  # fmt: skip
    others = ("/config", "/gradio_api/info", f"/films/{run.id}/0/1.png", "/sources/x.png",
              f"/maps/{run.id}/0/0.png", "/gradio_api/queue/data", "/gradio_api/heartbeat/x",
              "/gradio_api/startup-events", "/gradio_api/token", "//config")  # fmt: skip
    for route in (*own, *others):
        assert httpx.get(guarded.url + route).status_code == 401, route
        wrong = {f"access-token-{name}": "x" for name in ("", "unsecure-", "1")}
        assert httpx.get(guarded.url + route, cookies=wrong).status_code == 401, route
    for route in ("upload", "run/predict", "queue/join", "cancel", "reset", "component_server"):
        assert httpx.post(f"{guarded.url}/gradio_api/{route}", json={}).status_code == 401, route
    for route in own:
        assert inside.get(route).status_code == 200, route
    front = httpx.get(guarded.url).text
    assert '"auth_required":true' in front and "cs-header" not in front
    wrong_form = {"username": LOGIN[0], "password": "horse"}
    assert httpx.post(f"{guarded.url}/login", data=wrong_form).status_code == 400


def test_programs_log_in(guarded: Site) -> None:
    with pytest.raises(Exception, match=r"(?i)auth|log"):
        Client(guarded.url, verbose=False)
    client = Client(guarded.url, auth=LOGIN, verbose=False)
    files, _ = client.predict(model="basic", steps=1, api_name="/generate")
    assert Path(files[0]).is_file()


def test_a_person_logs_in(guarded: Site, browser: Browser) -> None:
    page = browser.new_page()
    try:
        page.goto(guarded.url)
        page.get_by_label("username").fill(LOGIN[0])
        page.get_by_label("password").fill(LOGIN[1])
        page.get_by_role("button", name="Login").click()
        page.wait_for_selector(READY, state="attached")
        pages.fill(page, Prompt="a boat", Steps=2)
        pages.generate(page)
        pages.wait_status(page, "done")
        expect(page.locator(".cs-cell img").first).to_be_visible()
        assert pages.picture(page).width > 0
    finally:
        page.close()

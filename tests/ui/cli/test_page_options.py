"""Options of the served page: what the command line and variables hand to the server."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import app
import ui.server
from tests.cli.test_readme import TEXT


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the server was asked for; it does not start."""
    kept: list[dict[str, Any]] = []
    monkeypatch.setattr(ui.server, "serve", lambda studio, **options: kept.append(options))
    return kept


def serve(*arguments: str, **variables: str) -> str:
    result = CliRunner().invoke(app.app, ["serve", *arguments], env=variables)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_readmes_servers_start_as_written(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    lines = [line.strip() for line in TEXT.splitlines() if "python app.py serve" in line]
    for line in (one for one in lines if one.startswith("CONTACT_SHEET_AUTH=")):
        login, *words = shlex.split(line)
        serve(*words[3:], CONTACT_SHEET_AUTH=login.partition("=")[2])
    assert len(asked) == 2
    assert asked[0]["host"] == "0.0.0.0"
    behind = asked[1]
    assert (behind["auth"], behind["root_path"]) == ("ada:a-long-password", "/sheet")
    assert behind["allow_hosts"] == ["example.org"]
    assert behind["trusted_proxies"] == ["127.0.0.1"]


def test_variables_count_where_no_option_is_given(asked: list[dict[str, Any]]) -> None:
    serve(GRADIO_ROOT_PATH="/known")
    serve(GRADIO_ROOT_PATH="/known", CONTACT_SHEET_ROOT_PATH="/ours")
    serve("--root-path", "/said", CONTACT_SHEET_ROOT_PATH="/ours")
    # Without a word it serves too, and reads the same variables.
    env = {"CONTACT_SHEET_ROOT_PATH": "/ours", "CONTACT_SHEET_AUTH": "ada:horse"}
    assert CliRunner().invoke(app.app, [], env=env).exit_code == 0
    assert [one["root_path"] for one in asked] == ["/known", "/ours", "/said", "/ours"]
    assert asked[-1]["auth"] == "ada:horse"


def test_a_certificate_is_handed_on(asked: list[dict[str, Any]]) -> None:
    serve("--ssl-certfile", "c.pem", "--ssl-keyfile", "k.pem",
          CONTACT_SHEET_SSL_KEYFILE_PASSWORD="x")  # fmt: skip
    made = asked[0]["certificate"]
    assert (made.certfile, made.keyfile, made.password) == (Path("c.pem"), Path("k.pem"), "x")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--root-path", "https://example.org/sheet"), "a name goes to --allow-host"),
        (("--trusted-proxy", "*"), "--trusted-proxy is '*'"),
        (("--ssl-keyfile", "k.pem"), "--ssl-keyfile needs the certificate"),
        (("--ssl-certfile", "none.pem"), "--ssl-certfile is 'none.pem': No such file"),
        (("--allow-host", "*.example.org"), "--allow-host is '*.example.org'"),
    ],
)
def test_wrong_options_end_in_one_line(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    result = CliRunner().invoke(app.app, ["serve", "--outputs", str(tmp_path), *arguments])
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1

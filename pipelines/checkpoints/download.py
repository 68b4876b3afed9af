"""Model download: fetches a folder from the hub, pinned, safetensors only, whole or not at all.

The only code that asks the network, and only when `fetch` is called. What has arrived waits in
`.downloads` in the models folder, where no model is looked for: half a model is never listed, and
a download that was cut off goes on with the files that have not come whole.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from pipelines.checkpoints import diffusers_folder
from pipelines.errors import InvalidRequest, ModelUnavailable, first_line
from pipelines.utils.hub import online

STAGING = ".downloads"
_COMPONENTS = (
    "scheduler", "tokenizer", "tokenizer_2", "tokenizer_3", "text_encoder", "text_encoder_2",
    "text_encoder_3", "unet", "transformer", "vae",
)  # fmt: skip
_ENDINGS = ("*.json", "*.txt", "*.model", "*.safetensors")
FETCHED = ("model_index.json", *(f"{part}/{end}" for part in _COMPONENTS for end in _ENDINGS))
"""What is fetched: no pickles, no code, and of the parts only those that a family loads."""
LEFT = ("*.fp16.*", "*.fp16-*", "*.non_ema.*")
"""Second copies of weights."""


def fetch(id: str, repository: str, revision: str, gigabytes: float, folder: Path) -> Path:
    """Fetch a model's folder into `folder`, under the model's id, and return it.

    Args:
        revision: the commit, in full.
        gigabytes: what it will take, about; checked against the disk before anything is asked.
    Raises:
        InvalidRequest: if it is there already or the disk is too small.
        ModelUnavailable: if it does not come; what came stays for the next try.
    """
    target, waiting = folder / id, folder / STAGING / id
    check_target(target, gigabytes)
    had_staging = waiting.parent.exists()
    try:
        with online():
            from huggingface_hub import constants, get_session, snapshot_download
            from huggingface_hub.utils.logging import set_verbosity

            set_verbosity(logging.ERROR)
            # Asked once and shortly: without a network the library tries for half a minute.
            get_session().head(constants.ENDPOINT, timeout=10)
            snapshot_download(
                repository,
                revision=revision,
                local_dir=waiting,
                allow_patterns=list(FETCHED),
                ignore_patterns=list(LEFT),
            )
        diffusers_folder.read_index(waiting)
    except ModelUnavailable:
        raise
    except Exception as error:  # the library and what it stands on raise many kinds
        _tidy(waiting, had_staging)
        raise ModelUnavailable(_reason(error, id, repository)) from error
    shutil.rmtree(waiting / ".cache", ignore_errors=True)
    waiting.rename(target)
    _tidy(waiting, had_staging=False)
    return target


def check_target(target: Path, gigabytes: float) -> None:
    """Refuse a target that is there already, or has no room. Raises: InvalidRequest."""
    if target.exists():
        raise InvalidRequest(f"{target} is there already; move it away to fetch it again")
    free = shutil.disk_usage(target.parent).free / 1e9
    if gigabytes > free:
        raise InvalidRequest(
            f"{target.name} takes about {gigabytes:g} GB and {target.parent} has {free:.1f} GB "
            "free; make room, or name another folder with --models"
        )


def access(repository: str) -> str:
    """Explain how to get access to a gated model."""
    return (
        f"accept its licence at https://huggingface.co/{repository} while logged in, then run "
        "`hf auth login` or set HF_TOKEN"
    )


def _reason(error: Exception, id: str, repository: str) -> str:
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError

    if isinstance(error, GatedRepoError):
        return f"{repository} is gated: {access(repository)}; then run the same command again"
    again = f"run `python app.py download {id}` again to go on where it stopped"
    if isinstance(error, LocalEntryNotFoundError) or "Connect" in type(error).__name__:
        return f"the hub cannot be reached, so {id} cannot be fetched; with a network, {again}"
    return f"{id} could not be fetched from {repository}: {first_line(error)}; {again}"


def _tidy(waiting: Path, had_staging: bool) -> None:
    """Take away folders in which nothing waits; the library's own notes do not count."""
    came = (
        path
        for path in waiting.rglob("*")
        if ".cache" not in path.relative_to(waiting).parts and path.is_file()
    )
    if waiting.is_dir() and not any(came):
        shutil.rmtree(waiting)
    if not had_staging and waiting.parent.is_dir() and not any(waiting.parent.iterdir()):
        waiting.parent.rmdir()

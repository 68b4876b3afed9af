"""Headers from strangers: what contradicts itself is refused, and the largest take little."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from pipelines.checkpoints.formats.tensor_files import read_header
from pipelines.errors import ModelUnavailable
from tests.robustness.test_imports import fresh

ROW = '{"dtype":"F32","shape":[1],"data_offsets":[%d,%d]}'
TABLES = {
    "twice the same": (f'{{"a":{ROW % (0, 4)},"a":{ROW % (0, 4)}}}', 4),
    "twice in a row": ('{"a":{"dtype":"F32","shape":[1],"shape":[2],"data_offsets":[0,4]}}', 4),
    "overlapping": (f'{{"a":{ROW % (0, 4)},"b":{ROW % (2, 6)}}}', 6),
    "the same place": (f'{{"a":{ROW % (0, 4)},"b":{ROW % (0, 4)}}}', 4),
    "a hole": (f'{{"a":{ROW % (0, 4)},"b":{ROW % (8, 12)}}}', 12),
    "a hole at the start": (f'{{"a":{ROW % (4, 8)}}}', 8),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_that_contradict_themselves(tmp_path: Path, kind: str) -> None:
    text, size = TABLES[kind]
    file = tmp_path / "x.safetensors"
    file.write_bytes(struct.pack("<Q", len(text)) + text.encode() + b"\0" * size)
    with pytest.raises(ModelUnavailable, match="is not a safetensors file"):
        read_header(file)


def test_the_largest_headers_take_little(tmp_path: Path) -> None:
    """Time and memory of the listing, measured in a process of its own."""
    texts = {
        "nested": b"[" + b"[]," * 33_000_000 + b"[]]", "numbers": b"[" + b"1," * 49_000_000 + b"1]",
        "names": b"{" + b'"aaaa":{},' * 9_000_000 + b'"a":{}}', "deep": b"[" * 100_000_000,
    }  # fmt: skip
    for name, text in texts.items():
        (tmp_path / f"{name}.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
        del text
    texts.clear()
    size = struct.pack("<IQQ", 3, 2**60, 2**60)
    (tmp_path / "counts.gguf").write_bytes(b"GGUF" + size + b"\0" * 64)
    told = fresh(
        f"""
import resource, time
from pathlib import Path
from pipelines import Studio
folder = Path({str(tmp_path)!r})
studio = Studio(folder / "empty", device="cpu")
studio.models(), studio.loras(), studio.embeddings()
before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
studio = Studio(folder, device="cpu")
infos = studio.models()
taken = time.process_time() - started
studio.loras(), studio.embeddings()
tell(megabytes=(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
     seconds=taken, problems=[i.problem for i in infos])
"""
    )
    assert len(told["problems"]) == 5 and all(told["problems"])
    assert told["seconds"] < 1 and told["megabytes"] < 200

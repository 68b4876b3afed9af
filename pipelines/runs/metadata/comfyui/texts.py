"""Prompts of a ComfyUI graph: follows conditioning and strings to the texts that were encoded."""

from __future__ import annotations

import re
from typing import Any

from pipelines.runs.metadata.comfyui.graph import Graph, Node, chosen_input, link, slot
from pipelines.runs.metadata.parts.json_text import clean
from pipelines.runs.metadata.parts.settings import said

_BUDGET = 3_000
"""Nodes looked at for one prompt, however they are wired."""
_DEPTH_MAX = 60
_LENGTH_MAX = 200_000
_NEVER = re.compile(
    r"^(model|clip|vae|image|images|latent|latent_image|samples|mask|control_net|controlnet|"
    r"pixels|style_model|clip_vision|clip_vision_output|seed|noise|sigmas|sampler)$",
    re.IGNORECASE,
)
_JOIN = re.compile(
    r"concat|join|stringfunction|combine.*(text|string)|(text|string).*combine", re.I
)
_SEPARATORS = {"space": " ", "comma": ", ", "newline": "\n"}
# Their outputs are positive and negative; a pipe's are not.
_TWO_OUTPUTS = re.compile(r"control ?net|condition|inpaint|apply|video", re.IGNORECASE)
_PART = re.compile(
    r"^[a-d]$|^(text|string|str|input|prompt|value)s?[_ -]?([a-z]|\d{1,3})?$", re.IGNORECASE
)
_TEXTS: tuple[tuple[str, ...], ...] = (
    ("populated_text",),
    ("t5xxl", "clip_l", "clip_g"),
    ("text_g", "text_l"),
    ("user_prompt",),
    ("mt5xl", "bert"),
    ("text",),
    ("prompt",),
    ("string",),
    ("wildcard_text",),
    ("result",),
    ("value",),
    ("String", "Text", "text_0", "text_1", "text1", "multiline_text", "input_text", "anything"),
)


class TextWalk:
    """Texts at the end of a link, with a budget of nodes for graphs that are wired to explode."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._budget = _BUDGET

    def prompts(self, value: Any, side: str) -> list[str]:
        """Texts that a conditioning or a string is made of.

        Args:
            side: "positive" or "negative", where a node has both.
        """
        return list(said(self._follow(value, side, 0, ())))

    def _follow(self, value: Any, side: str, depth: int, trail: tuple[str, ...]) -> list[str]:
        if isinstance(value, str):
            return [clean(value)]
        if isinstance(value, dict):
            return self._follow(
                value.get("__value__", value.get("content")), side, depth + 1, trail
            )
        node = self._graph.get(link(value) or "")
        if node is None or node.id in trail or depth > _DEPTH_MAX or self._budget <= 0:
            return []
        self._budget -= 1
        trail = (*trail, node.id)
        if "zeroout" in node.kind.lower():
            return []
        if {"positive", "negative"} <= node.links.keys() and _TWO_OUTPUTS.search(node.kind):
            side = ("positive", "negative")[min(slot(value), 1)]
        if _JOIN.search(node.kind) and "conditioning" not in node.kind.lower():
            return self._joined(node, side, depth, trail)
        if any(key.startswith("conditioning") for key in node.links):
            # A text here is of a box or a control, not of the picture.
            return self._through(node, side, depth, trail)
        own = self._own(node, side, depth, trail)
        return own if own else self._through(node, side, depth, trail)

    def _joined(self, node: Node, side: str, depth: int, trail: tuple[str, ...]) -> list[str]:
        result = node.inputs.get("result")
        if isinstance(result, str) and result.strip():
            return [clean(result)]
        parts = [
            " ".join(self._follow(one, side, depth + 1, trail))
            for key, one in node.inputs.items()
            if _PART.match(key) and not isinstance(one, bool)
        ]
        between = next(
            (one for k in ("delimiter", "separator") if isinstance(one := node.inputs.get(k), str)),
            ", " if "Text Concatenate" in node.kind else "",
        )
        between = _SEPARATORS.get(between, between)
        joined = between.replace("\\n", "\n").join(part for part in parts if part)
        return [joined[:_LENGTH_MAX]]

    def _own(self, node: Node, side: str, depth: int, trail: tuple[str, ...]) -> list[str]:
        """Texts that stand in a node, or come to it as strings."""
        other = "negative" if side == "positive" else "positive"
        sided = (f"{side}_prompt", f"text_{side}", f"prompt_{side}", f"{side}_text")
        for keys in ((side,), *((key,) for key in sided), *_TEXTS):
            found: list[str] = []
            for key in keys:
                value = node.inputs.get(key)
                if isinstance(value, str | dict) or (
                    value is not None and key not in (side, other)
                ):
                    found += self._follow(value, side, depth + 1, trail)
            found = [text for text in found if text.strip()]
            if found:
                return found
        return []

    def _through(self, node: Node, side: str, depth: int, trail: tuple[str, ...]) -> list[str]:
        """Go on to what feeds a node: its own side, else all that may be a conditioning."""
        links = node.links
        keys = [
            key for key in links if key.lower() in (side, f"{side}_conditioning", f"base_{side}")
        ]
        if not keys:
            other = "negative" if side == "positive" else "positive"
            keys = [key for key in links if not _NEVER.match(key) and other not in key.lower()]
        chosen = chosen_input(self._graph, node)
        keys = [chosen] if chosen else keys
        found: list[str] = []
        for key in keys:
            found += self._follow(node.inputs[key], side, depth + 1, trail)
            if found and re.search(r"switch|^any", node.kind, re.IGNORECASE):
                break
        return found

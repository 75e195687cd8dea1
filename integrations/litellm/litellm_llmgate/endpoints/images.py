"""Pictures that are made or edited."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from litellm.types.utils import ImageObject, ImageResponse

from litellm_llmgate.endpoints.endpoint import Asked, of
from llmgate_plugins.types import Usage
from llmgate_plugins.usage import answers_of, estimate_tokens, usage_from_litellm

__all__ = ["Images"]

_TOKENS: Final[Mapping[str, int]] = {"low": 272, "medium": 1_056, "high": 4_160}
"""Of a picture by OpenAI, 1024 pixels wide and high, by its quality."""
_SQUARE: Final = 1_024
_LARGEST: Final = (1_024, 1_536)
_OF_AN_INPUT: Final = 400
"""Tokens of a picture that is to be edited, as usual; at most by OpenAI's rule for high fidelity."""
_MOST_OF_AN_INPUT: Final = 8_000


class Images:
    """`/v1/images/generations` and `/v1/images/edits`.

    Args:
        call_type: LiteLLM's word for it.
    """

    def __init__(self, call_type: str) -> None:
        self.call_type = call_type

    def usage_in(self, answer: Any) -> Usage | None:
        """Tokens, of models that count them."""
        told = of(answer, "usage")
        read = of(told, "input_tokens") or of(told, "prompt_tokens") or 0
        written = of(told, "output_tokens") or of(told, "completion_tokens") or 0
        inner = of(told, "input_tokens_details") or of(told, "prompt_tokens_details")
        outer = of(told, "output_tokens_details") or of(told, "completion_tokens_details")
        drawn = of(outer, "image_tokens")
        if drawn is None:
            text = of(outer, "text_tokens")
            drawn = written - text if type(written) is type(text) is int else written
        return usage_from_litellm(
            {
                "prompt_tokens": read,
                "completion_tokens": written,
                "prompt_tokens_details": {
                    "image_tokens": of(inner, "image_tokens"),
                    "cached_tokens": of(inner, "cached_tokens"),
                },
                "completion_tokens_details": {"image_tokens": drawn},
            }
        )

    def expected(self, asked: Asked) -> Iterator[Any]:
        """So many pictures; by the piece, and by tokens."""
        params = asked.params
        pictures = [ImageObject(b64_json="")] * answers_of(params)
        yield ImageResponse(created=0, data=pictures)
        quality, size = params.get("quality"), _size(params.get("size"))
        tokens = _TOKENS.get(str(quality), _TOKENS["high" if asked.most else "medium"])
        width, height = size or (_LARGEST if asked.most else (_SQUARE, _SQUARE))
        drawn = -(-tokens * width * height // _SQUARE**2) * len(pictures)
        text = len(asked.text.encode()) + 16 if asked.most else estimate_tokens(len(asked.text))
        seen = asked.kwargs.get("image")
        inputs = len(seen) if isinstance(seen, list) else int(seen is not None)
        seen = inputs * (_MOST_OF_AN_INPUT if asked.most else _OF_AN_INPUT)
        told: dict[str, Any] = {
            "input_tokens": text + seen,
            "output_tokens": drawn,
            "total_tokens": text + seen + drawn,
            "input_tokens_details": {"text_tokens": text, "image_tokens": seen},
        }
        yield ImageResponse(created=0, data=pictures, usage=told)


def _size(told: Any) -> tuple[int, int] | None:
    width, _, height = str(told).partition("x")
    return (int(width), int(height)) if width.isdecimal() and height.isdecimal() else None

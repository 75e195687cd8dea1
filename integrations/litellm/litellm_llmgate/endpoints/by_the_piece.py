"""Queries, pages and seconds of pictures that move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from litellm.llms.base_llm.ocr.transformation import OCRResponse, OCRUsageInfo
from litellm.types.rerank import RerankResponse
from litellm.types.videos.main import VideoObject

from litellm_llmgate.endpoints.endpoint import Asked, of
from litellm_llmgate.endpoints.reports import usage_in
from llmgate_plugins.types import Usage
from llmgate_plugins.usage import estimate_tokens, usage_from_litellm

__all__ = ["Moderation", "Pages", "Rerank", "Videos"]

_DOCUMENTS: Final = 100
"""So many are one search; Cohere counts a long one as several."""
_LONG: Final = 2_000
_USUAL_PAGES: Final = 10
_MOST_PAGES: Final = 1_000
_USUAL_SECONDS: Final = 8
_MOST_SECONDS: Final = 20


class Rerank:
    """`/v1/rerank`."""

    call_type = "arerank"

    def usage_in(self, answer: Any) -> Usage | None:
        """Tokens, of models that count them and not searches."""
        meta = of(answer, "meta")
        read = of(of(meta, "billed_units"), "total_tokens") or of(of(meta, "tokens"), "input_tokens") or 0
        return usage_from_litellm({"prompt_tokens": read, "completion_tokens": 0})

    def expected(self, asked: Asked) -> Iterator[Any]:
        """So many searches, and as many tokens: the question stands before each document."""
        query, *documents = [len(one.encode()) for one in asked.texts] or [0]
        pieces = sum(-(-length // _LONG) or 1 for length in documents)
        read = sum(documents) + query * max(len(documents), 1)
        tokens = read if asked.most else estimate_tokens(read)
        units = {"search_units": -(-pieces // _DOCUMENTS) or 1, "total_tokens": tokens}
        yield RerankResponse(id="", results=[], meta={"billed_units": units})


class Moderation:
    """`/v1/moderations`. Who moderates takes no money, save chat models that LiteLLM asks in that place."""

    call_type = "amoderation"

    def usage_in(self, answer: Any) -> Usage | None:
        """Seldom told."""
        return usage_in(answer)

    def expected(self, asked: Asked) -> Iterator[Any]:  # noqa: ARG002 - one signature for all
        """The text tells."""
        yield from ()


class Pages:
    """`/v1/ocr`."""

    call_type = "aocr"

    def usage_in(self, answer: Any) -> Usage | None:
        """Tokens, where pages are not what counts."""
        return usage_in(answer)

    def expected(self, asked: Asked) -> Iterator[Any]:
        """The pages that are asked for; else some, since nobody has opened the document."""
        named = asked.params.get("pages")
        listed = isinstance(named, Sequence) and not isinstance(named, str) and bool(named)
        pages = len(named) if listed else _MOST_PAGES if asked.most else _USUAL_PAGES  # type: ignore[arg-type]
        yield OCRResponse(pages=[], model=asked.model, usage_info=OCRUsageInfo(pages_processed=pages))


class Videos:
    """`/v1/videos`: what begins one is billed for all of it."""

    call_type = "create_video"

    def usage_in(self, answer: Any) -> Usage | None:  # noqa: ARG002 - one signature for all
        """Seconds alone are told."""
        return None

    def expected(self, asked: Asked) -> Iterator[Any]:
        """So many seconds."""
        told = str(asked.params.get("seconds") or "")
        seconds = float(told) if told.isdecimal() else _MOST_SECONDS if asked.most else _USUAL_SECONDS
        usage = {"duration_seconds": seconds, "video_resolution": asked.params.get("size")}
        yield VideoObject(id="", object="video", status="queued", usage=usage)

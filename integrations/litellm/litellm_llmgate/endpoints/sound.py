"""Texts that are spoken, and sound that is written down."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final

from litellm.litellm_core_utils.audio_utils.utils import calculate_request_duration
from litellm.types.utils import (
    TranscriptionResponse,
    TranscriptionUsageInputTokenDetailsObject,
    TranscriptionUsageTokensObject,
)

from litellm_llmgate.endpoints.endpoint import Asked, of, put
from llmgate_plugins.errors import ProviderError
from llmgate_plugins.types import Message, Response, Usage
from llmgate_plugins.usage import usage_from_litellm

__all__ = ["Speech", "Transcription"]

_SPOKEN: Final = 15
"""Bytes of text that are spoken in a second, in any script; slowly half as many."""
_TOKENS_OF_SPEECH: Final = 25
_TOKENS_OF_SOUND: Final = 32
_TOKENS_OF_WORDS: Final = 8
"""Tokens of a second, at most: of speech that is made, of sound that is heard, of what is written of it."""
_USUAL_SOUND: Final = 8_000
_LEAST_SOUND: Final = 2_000
"""Bytes of a second of sound whose file does not tell how long it is."""


class Speech:
    """`/v1/audio/speech`. Nothing is reported with the bytes: what is spoken is counted."""

    call_type = "aspeech"

    def usage_in(self, answer: Any) -> Usage | None:
        """Never told.

        Raises:
            ProviderError: It is a page, and no sound.
        """
        kind = of(of(of(answer, "response"), "headers"), "content-type")
        if isinstance(kind, str) and kind.startswith("text/html"):
            raise ProviderError("the provider answered with a page and no sound", code="bad_response")
        return None

    def expected(self, asked: Asked) -> Iterator[Any]:  # noqa: ARG002 - one signature for all
        """LiteLLM reckons with the text alone."""
        yield None

    def is_told(self, prices: Mapping[str, Any]) -> bool:
        """Whether LiteLLM's cost is all of it: it knows nothing of how long the sound is."""
        return self.besides(prices, "x", most=False) == 0

    def besides(self, prices: Mapping[str, Any], text: str, *, most: bool) -> float:
        """US dollars for the sound, where that is not in the price of the characters."""
        if prices.get("input_cost_per_character") is not None:
            return 0.0
        token = prices.get("output_cost_per_audio_token") or prices.get("output_cost_per_token") or 0.0
        second = prices.get("output_cost_per_second") or token * _TOKENS_OF_SPEECH
        return float(second) * len(text.encode()) / (_SPOKEN / 2 if most else _SPOKEN)


class Transcription:
    """`/v1/audio/transcriptions`."""

    call_type = "atranscription"

    def usage_in(self, answer: Any) -> Usage | None:
        """Tokens, of models that count them and not seconds."""
        told = of(answer, "usage")
        inner = of(told, "input_token_details") or of(told, "prompt_tokens_details")
        return usage_from_litellm(
            {
                "prompt_tokens": of(told, "input_tokens") or of(told, "prompt_tokens") or 0,
                "completion_tokens": of(told, "output_tokens") or of(told, "completion_tokens") or 0,
                "prompt_tokens_details": {"audio_tokens": of(inner, "audio_tokens")},
            }
        )

    def heard(self, answer: Any) -> Any:
        """An answer that tells LiteLLM the seconds that this one tells, where it has not seen them itself."""
        told = of(answer, "usage")
        seconds = of(told, "seconds") if of(told, "type") == "duration" else of(answer, "duration")
        return _lasting(seconds) if isinstance(seconds, int | float) and seconds > 0 else None

    def expected(self, asked: Asked) -> Iterator[Any]:
        """So many seconds, by the file's own word or its size; or as many tokens."""
        file = asked.kwargs.get("file")
        seconds = calculate_request_duration(file)
        if seconds is None:
            seconds = _length(file) / (_LEAST_SOUND if asked.most else _USUAL_SOUND)
        yield _lasting(seconds)
        heard, written = (-int(-seconds * one) for one in (_TOKENS_OF_SOUND, _TOKENS_OF_WORDS))
        answer = TranscriptionResponse(text="")
        answer.usage = TranscriptionUsageTokensObject(
            type="tokens",
            input_tokens=heard,
            output_tokens=written,
            total_tokens=heard + written,
            input_token_details=TranscriptionUsageInputTokenDetailsObject(audio_tokens=heard, text_tokens=0),
        )
        yield answer

    def message_in(self, answer: Any) -> Message:
        """What was heard."""
        text = answer if isinstance(answer, str) else of(answer, "text")
        return Message(role="assistant", content=text or "")

    def changed(self, answer: Any, message: Message) -> Any:
        """A copy that says this instead."""
        if isinstance(answer, str):
            return message.text
        answer = copy.deepcopy(answer)
        put(answer, "text", message.text)
        return answer

    def made(self, response: Response, model: str, name: str) -> Any:  # noqa: ARG002 - one signature for all
        """A plugin's answer in this shape."""
        return TranscriptionResponse(text=response.message.text)


def _lasting(seconds: float) -> TranscriptionResponse:
    answer = TranscriptionResponse(text="")
    answer._hidden_params = {"audio_transcription_duration": seconds}
    return answer


def _length(file: Any) -> int:
    if isinstance(file, tuple):
        file = file[1] if len(file) > 1 else b""
    if hasattr(file, "getbuffer"):
        return int(file.getbuffer().nbytes)
    return len(file) if isinstance(file, bytes | bytearray) else 0

"""Quantiles of a stream of values in little memory: exact while they are few, a t-digest from then on."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Self

from llmgate_plugins.errors import ConfigurationError

if TYPE_CHECKING:
    from fastdigest import TDigest

__all__ = ["Sketch", "require_fastdigest"]

FEW: Final = 128
"""Values that are kept as they are before they go into the digest, all at once."""
CENTROIDS: Final = 100
"""Of a digest. Measured on lognormal latencies: p50 within 0.2 %, p95 and p99 within 1.2 %."""


def require_fastdigest() -> None:
    """Raises `ConfigurationError` if the digest's package is missing."""
    try:
        import fastdigest  # noqa: F401 - whether it is there
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            "live statistics need fastdigest: pip install 'llmgate-plugins[insight]'"
        ) from missing


class Sketch:
    """Takes values in, answers for quantiles. Not thread-safe.

    Fewer than `FEW` values are all kept, and the answers exact. A digest takes 4.5 kB from
    its first value on, 1.7 kB packed; most time slices of most deployments never have one.
    """

    __slots__ = ("_digest", "_few", "_packed")

    def __init__(self) -> None:
        self._few = array("d")
        self._digest: TDigest | None = None
        self._packed: bytes | None = None

    @classmethod
    def merged(cls, sketches: Iterable[Self]) -> Self:
        """One to read from, which has taken in what all of these have."""
        whole = cls()
        digests = []
        for one in sketches:
            whole._few.extend(one._few)
            digest = one._opened()
            if digest is not None:
                digests.append(digest)
        if digests:
            from fastdigest import merge_all

            whole._digest = merge_all(digests, max_centroids=CENTROIDS)
            whole._condense()
        return whole

    def add(self, value: float) -> None:
        """Take a value in."""
        few = self._few
        few.append(value)
        if len(few) >= FEW:
            self._condense()

    def absorb(self, other: Self) -> None:
        """Take in what another has."""
        self._few.extend(other._few)
        digest = other._opened()
        if digest is not None:
            mine = self._opened()
            self._digest, self._packed = digest.merge(mine) if mine is not None else digest.copy(), None
        if len(self._few) >= FEW:
            self._condense()

    def pack(self) -> None:
        """Use less memory: more may come, but probably nothing will."""
        if self._digest is not None:
            self._condense()
            self._packed, self._digest = self._digest.to_bytes(), None

    def quantile(self, share: float) -> float | None:
        """The value that this share of all is at or below (by nearest rank where exact); None without any."""
        digest = self._whole()
        if digest is not None:
            return float(digest.quantile(share))
        if not self._few:
            return None
        return sorted(self._few)[max(math.ceil(share * len(self._few)), 1) - 1]

    def share_above(self, value: float) -> float:
        """The share of all that is greater than this value; 0 without any."""
        digest = self._whole()
        if digest is not None:
            return 1.0 - float(digest.cdf(value))
        if not self._few:
            return 0.0
        return 1.0 - bisect_right(sorted(self._few), value) / len(self._few)

    def _whole(self) -> TDigest | None:
        """The digest with everything in it; None where all values are kept as they are."""
        if self._digest is None and self._packed is None:
            return None
        self._condense()
        return self._digest

    def _condense(self) -> None:
        """Put the values that are kept as they are into the digest."""
        digest = self._opened()
        if digest is None:
            from fastdigest import TDigest

            digest = TDigest(max_centroids=CENTROIDS)
        if self._few:
            digest.batch_update(self._few)
            del self._few[:]
        self._digest, self._packed = digest, None

    def _opened(self) -> TDigest | None:
        """The digest, unpacked; None without one."""
        if self._packed is None:
            return self._digest
        from fastdigest import TDigest

        return TDigest.from_bytes(self._packed)

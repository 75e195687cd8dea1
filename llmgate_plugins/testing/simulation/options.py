"""What a simulated run is made of: a few knobs; everything else is drawn from the seed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

__all__ = ["Options", "Result", "Violation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The knobs of a run.

    Attributes:
        calls: Calls in all: three fifths while things fail, the rest after they have healed.
        workers: Tasks that call at the same time; None: 1 to 8, drawn from the seed.
        deployments: None: 2 to 6.
        faults: How much goes wrong: 0 for nothing, 1 for up to eight troubles at a time.
        leaving: Share of calls that their caller cancels or abandons.
        noise: Seconds by which a timer may be late, so that tasks run in another order.
        hedging: Whether calls are hedged; None: in a third of the seeds.
        trace: Keep every line of the trace, to be read, and not only its hash.
    """

    calls: int = 200
    workers: int | None = None
    deployments: int | None = None
    faults: float = 1.0
    leaving: float = 0.12
    noise: float = 0.002
    hedging: bool | None = None
    trace: bool = False

    def __post_init__(self) -> None:
        for name in ("calls", "workers", "deployments"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value!r}")
        for name in ("faults", "leaving"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share between 0 and 1, not {getattr(self, name)!r}")
        if self.noise < 0:
            raise ValueError(f"noise must be 0 or more seconds, not {self.noise!r}")

    def changed(self) -> dict[str, Any]:
        """What differs from the defaults: with the seed, all it takes to run it again."""
        default = Options()
        return {
            one.name: getattr(self, one.name)
            for one in fields(self)
            if one.name != "trace" and getattr(self, one.name) != getattr(default, one.name)
        }

    @classmethod
    def parse(cls, text: str) -> Self:
        """Options from a JSON object of what differs from the defaults.

        Raises:
            ValueError: It is not one, or a name in it is unknown.
        """
        given = json.loads(text or "{}")
        known = {one.name for one in fields(cls)}
        if not isinstance(given, dict) or not known.issuperset(given):
            raise ValueError(f"options are a JSON object with {', '.join(sorted(known))}, not {text}")
        return cls(**given)


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that did not hold.

    Attributes:
        invariant: "I1" to "I11", or what else must never be ("crash", "leak", "stuck").
        at: Virtual seconds since the run began.
        told: What happened, and where.
    """

    invariant: str
    at: float
    told: str

    def __str__(self) -> str:
        return f"{self.invariant} at {self.at:.3f} s: {self.told}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one run went.

    Attributes:
        violations: Empty if all held.
        trace_hash: Of every send, outcome and decision in order; the same for the same seed.
        calls: How calls ended: status -> how many.
        sent: Requests that reached a provider.
        seconds: Virtual seconds from begin to end.
        trace: Its lines, if `Options.trace` asked for them.
    """

    seed: int
    options: Options
    violations: tuple[Violation, ...]
    trace_hash: str
    calls: dict[str, int]
    sent: int
    seconds: float
    trace: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything held."""
        return not self.violations

    def replay(self) -> str:
        """The command that runs this seed again."""
        changed = self.options.changed()
        extra = f" --options '{json.dumps(changed)}'" if changed else ""
        return f"python -m llmgate_plugins.testing.simulation --from {self.seed} --seeds 1{extra}"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "seed": self.seed,
            "options": self.options.changed(),
            "violations": [asdict(one) for one in self.violations],
            "trace_hash": self.trace_hash,
            "calls": self.calls,
            "sent": self.sent,
            "seconds": self.seconds,
        }

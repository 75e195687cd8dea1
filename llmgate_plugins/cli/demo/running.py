"""Run each host's calls one after another, and show how far it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import click

from llmgate_plugins.cli.demo.hosts import HOSTS, Host, Job, NotInstalled, is_installed
from llmgate_plugins.cli.demo.stage import Stage
from llmgate_plugins.cli.output import wrapped

__all__ = ["Performance", "perform"]

Advance = Callable[[int], None]


@dataclass(slots=True)
class Performance:
    """What one host did.

    Attributes:
        answers: How many answers came.
        kinds: Kind of job -> how many answers.
        missing: What is not installed, if the host could not be used.
        errors: What went wrong, one line each.
        loading, seconds: Time to import the host, and to make its calls.
    """

    host: str
    title: str
    answers: int = 0
    asked: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    missing: str | None = None
    errors: list[str] = field(default_factory=list)
    loading: float = 0.0
    seconds: float = 0.0


def perform(stage: Stage, calls: int, *, quiet: bool) -> list[Performance]:
    """Run about `calls` calls, the same share by each host that is installed."""
    share = max(1, calls // max(1, sum(map(is_installed, HOSTS))))
    done = []
    for host in HOSTS:
        with _shown(host.title, share, quiet=quiet) as advance:
            one = _one(stage, host, share, advance)
        done.append(one)
        if not quiet:
            click.echo(wrapped(f"    {_told(one)}", "    "))
    return done


def _told(one: Performance) -> str:
    if one.missing:
        return f"left out: {one.missing}"
    if one.errors and not one.answers:
        return f"failed: {one.errors[0]}"
    kinds = ", ".join(f"{number} {kind}" for kind, number in one.kinds.items())
    return f"{one.answers} answers in {one.seconds:.1f} s, after loading for {one.loading:.1f} s: {kinds}"


def _one(stage: Stage, host: Host, share: int, advance: Advance) -> Performance:
    done = Performance(host.name, host.title)
    began = time.monotonic()
    try:
        jobs = host.jobs(stage)
    except NotInstalled as missing:
        done.missing = str(missing)
        return done
    except Exception as error:  # noqa: BLE001 - the other hosts can still be shown
        done.errors.append(f"cannot be loaded: {_line(error)}")
        return done
    done.loading = time.monotonic() - began
    began = time.monotonic()
    for job in _within(share, jobs):
        done.asked += job.size
        try:
            answers = job.run()
        except Exception as error:  # noqa: BLE001 - a call that failed is a finding, not the end
            done.errors.append(f"{job.kind}: {_line(error)}")
        else:
            good = [answer for answer in answers if answer]
            done.answers += len(good)
            done.kinds[job.kind] = done.kinds.get(job.kind, 0) + len(good)
            if len(good) < job.size:
                done.errors.append(f"{job.kind}: {job.size - len(good)} empty answers")
        advance(job.size)
    done.seconds = time.monotonic() - began
    return done


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _within(share: int, jobs: Iterator[Job]) -> Iterator[Job]:
    """Jobs until there are as many answers as the host's share."""
    left = share
    for job in islice(jobs, share):
        if left <= 0:
            return
        if job.size <= left:
            left -= job.size
            yield job


@contextmanager
def _shown(title: str, total: int, *, quiet: bool) -> Iterator[Advance]:
    if quiet:
        yield lambda _: None
        return
    bar = _bar(title, total)
    if bar is None:
        click.echo(f"  {title}")
        yield lambda _: None
        return
    with bar.progress:
        yield lambda size: bar.progress.advance(bar.task, size)


class _Bar(NamedTuple):
    progress: Any
    task: Any


def _bar(title: str, total: int) -> _Bar | None:
    """A progress bar on a terminal where rich is installed."""
    if not sys.stdout.isatty():
        return None
    try:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    except ImportError:
        return None
    progress = Progress(TextColumn("  {task.description}"), BarColumn(10), MofNCompleteColumn())
    return _Bar(progress, progress.add_task(title, total=total))

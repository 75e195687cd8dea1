"""Several usage reports of one stream, made one."""

from __future__ import annotations

from dataclasses import replace

from llmgate_plugins.money import INPUT_BUCKETS, Usage

__all__ = ["together"]


def together(before: Usage | None, report: Usage) -> Usage:
    """What two reports of one stream say together, the later one last.

    Reports of a stream are cumulative: each tells all so far, and some are sent twice. So
    the larger one counts, for what was read and what was written apart, since some
    providers tell the one at the beginning and the other at the end. How it was served is
    told by any of them.
    """
    if before is None:
        return report
    if report.tier != before.tier:
        tier = report.tier or before.tier
        before, report = replace(before, tier=tier), replace(report, tier=tier)
    if report.iterations:
        return report
    if before.iterations and report.total <= before.total:
        return before  # the same once more, in less detail
    if report.total_output >= before.total_output:
        if report.total_input >= before.total_input:
            return report
        return replace(report, **{bucket: getattr(before, bucket) for bucket in INPUT_BUCKETS})
    if report.total_input > before.total_input:
        return replace(before, **{bucket: getattr(report, bucket) for bucket in INPUT_BUCKETS})
    return before

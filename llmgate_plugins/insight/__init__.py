"""What the books and the last hours say: reports, exports, forecasts, live statistics."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from llmgate_plugins.errors import ConfigurationError

if TYPE_CHECKING:
    from llmgate_plugins.insight.comparing import Difference, Estimate
    from llmgate_plugins.insight.experiments import ArmResult, ExperimentResult, read_experiments
    from llmgate_plugins.insight.export import export_rows, read_rows
    from llmgate_plugins.insight.forecast import Forecast, ForecastRow, read_forecast
    from llmgate_plugins.insight.live import LiveBy, LiveRow, LiveStatistics
    from llmgate_plugins.insight.outlook import BudgetOutlook
    from llmgate_plugins.insight.reading import read_report
    from llmgate_plugins.insight.report import Level, Quantiles, Report, ReportRow

__all__ = [
    "ArmResult",
    "BudgetOutlook",
    "Difference",
    "Estimate",
    "ExperimentResult",
    "Forecast",
    "ForecastRow",
    "Level",
    "LiveBy",
    "LiveRow",
    "LiveStatistics",
    "Quantiles",
    "Report",
    "ReportRow",
    "export_rows",
    "read_experiments",
    "read_forecast",
    "read_report",
    "read_rows",
]

_HOMES: Final = {
    "comparing": ("Difference", "Estimate"),
    "experiments": ("ArmResult", "ExperimentResult", "read_experiments"),
    "export": ("export_rows", "read_rows"),
    "forecast": ("Forecast", "ForecastRow", "read_forecast"),
    "outlook": ("BudgetOutlook",),
    "live": ("LiveBy", "LiveRow", "LiveStatistics"),
    "reading": ("read_report",),
    "report": ("Level", "Quantiles", "Report", "ReportRow"),
}


def __getattr__(name: str) -> Any:
    # Some bring SQLAlchemy along, so each is imported when it is asked for.
    for home, names in _HOMES.items():
        if name in names:
            try:
                return getattr(importlib.import_module(f"{__name__}.{home}"), name)
            except ModuleNotFoundError as missing:
                if (missing.name or "").partition(".")[0] != "sqlalchemy":
                    raise
                raise ConfigurationError(
                    "reports need SQLAlchemy: pip install 'llmgate-plugins[insight]'"
                ) from missing
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

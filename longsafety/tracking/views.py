"""A saved view of a sweep in MLflow's UI: its arms as groups, the headline's metrics as columns and as charts.

The UI keeps views in tags of the experiment (read from the UI of MLflow 3.17). One that cannot read such a tag does not
show the view, and nothing else changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import urlencode

from longsafety.tracking.sqlite import PARENT_KEY

_TAG = "mlflow.sharedViewState."


def view_tag(name: str, sweep: str, metrics: Iterable[str], milliseconds: int) -> tuple[str, str]:
    """Key and value of the tag for the sweep at the address ``sweep``; the view is as old as the sweep's run."""
    shown = list(metrics)
    columns = [f"params.`{param}`" for param in ("bench_tokens", "seed")]
    state = {
        "searchFilter": f"tags.`{PARENT_KEY}` = '{sweep}'",
        "orderByKey": "attributes.start_time",
        "orderByAsc": True,
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "param", "groupByData": "arm"}]},
        "selectedColumns": [*(f"metrics.`{metric}`" for metric in shown), *columns],
        "chartsSearchFilter": f"^({'|'.join(shown)})$",
        "runsHiddenMode": "SHOW_ALL",
    }
    view = {"name": f"{name} {sweep[:6]}", "createdAt": milliseconds, "updatedAt": milliseconds}
    return _TAG + sweep, json.dumps(view | {"state": json.dumps(state)})


def view_link(experiment: str, sweep: str) -> str:
    """The view's address inside the UI, its charts open."""
    query = {"viewStateShareKey": sweep, "compareRunsMode": "CHART", "workflowType": "machine_learning"}
    return f"#/experiments/{experiment}/runs?{urlencode(query)}"

"""The scores that an evaluation leaves in a run's folder."""

import json
from typing import Any

from genprior.runs.run_folder import Run

METRICS = "metrics.json"


def read_metrics(run: Run) -> dict[str, Any] | None:
    """Returns the run's scores, None where there are none or what is there is not whole: they are quickly made anew."""
    try:
        table = json.loads((run.path / METRICS).read_text())
        return table if _is_whole(table) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # anything may stand in a damaged file
        return None


def _is_whole(table: dict[str, Any]) -> bool:
    """Whether all that is read of scores is there; raises what Python does where the shape is another."""
    numbers = [table["images_seen"], table["samples"], table["real"], table["modes"]["found"], table["modes"]["of"]]
    for score in table["scores"].values():
        numbers += [each[name] for each in (score, score["floor"]) for name in ("value", "low", "high")]
        str.strip(score["title"] + score["better"] + score["unit"])
    classes = table["classes"]
    numbers += [*classes["counts"], *classes["expected"], classes["chi_square"], classes["floor_chi_square"]]
    same = len(classes["names"]) == len(classes["counts"]) == len(classes["expected"])
    texts = [table["judge"]["data"], table["judge"]["hash"], *table["notes"]]
    return same and all(isinstance(n, int | float) for n in numbers) and all(isinstance(t, str) for t in texts)

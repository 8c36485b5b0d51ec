"""The chart's Grafana dashboard, asked of a Prometheus without Grafana.

python -m cluster.dashboard http://127.0.0.1:9090
"""

import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parents[2] / "charts" / "quantroll" / "dashboards" / "quantroll.json"
VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$namespace": ".*", "$name": ".*"}


def panels(part: Any = None) -> Iterator[dict[str, Any]]:
    """Every panel, those of collapsed rows included."""
    document = json.loads(FILE.read_text()) if part is None else part
    for panel in document.get("panels", []):
        yield panel
        yield from panels(panel)


def queries(**variables: str) -> list[tuple[str, str]]:
    """Title of the panel and expression of each of its queries, with Grafana's variables filled in.

    `rate_interval="10s"`, say, is for a Prometheus that has scraped for a short time only.
    """
    values = {**VARIABLES, **{f"$__{name}": value for name, value in variables.items()}}
    found = []
    for panel in panels():
        for target in panel.get("targets", []):
            text = target["expr"]
            for variable, value in sorted(values.items(), reverse=True):
                text = text.replace(variable, value)
            found.append((panel["title"], text))
    return found


def ask(url: str, query: str) -> list[Any]:
    """The instant vector of an expression. Raises ValueError with Prometheus' words when it does not take it."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/api/v1/query?{urllib.parse.urlencode({'query': query})}", timeout=30) as answer:
            return list(json.load(answer)["data"]["result"])
    except urllib.error.HTTPError as error:
        with error:
            raise ValueError(f"{query}: {error.read().decode(errors='replace')[:500]}") from error


def unanswered(url: str, **variables: str) -> list[str]:
    """Panels with a query that has no data in this Prometheus, or only NaN; each with the query."""
    return [
        f"{title}: {query}"
        for title, query in queries(**variables)
        if not any(series["value"][1] != "NaN" for series in ask(url, query))
    ]


if __name__ == "__main__":
    missing = unanswered(sys.argv[1].rstrip("/"))
    print("\n".join(missing) or "every panel has data")
    sys.exit(bool(missing))

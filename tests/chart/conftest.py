"""The pinned Helm, and what the chart renders to."""

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from cluster.binaries import Binaries

CHART = Path(__file__).resolve().parents[2] / "charts" / "quantroll"


@pytest.fixture(scope="session")
def helm(tmp_path_factory):
    """Run Helm; returns the finished process. It is looked for in $QUANTROLL_TOOLS, the pinned tools and $PATH."""
    folders = [os.environ.get("QUANTROLL_TOOLS", ""), Binaries.for_tests().path, os.environ.get("PATH", "")]
    program = shutil.which("helm", path=":".join(filter(None, folders)))
    if program is None:
        raise FileNotFoundError("helm is needed and not found: run `make setup`")
    home = tmp_path_factory.mktemp("helm")
    state = {f"HELM_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}

    def run(*args, env=None):
        return subprocess.run(
            [program, *map(str, args)],
            env={**(env or {"PATH": os.environ["PATH"]}), **state},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def render(helm, tmp_path_factory):
    """Render the chart with some values; returns the manifests by (kind, name)."""

    @functools.cache
    def run(values):
        file = tmp_path_factory.mktemp("values") / "values.yaml"
        file.write_text(values)
        result = helm("template", "quantroll", CHART, "--namespace=quantroll-system", "--values", file)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def rendered(**values):
        found = [manifest for manifest in yaml.safe_load_all(run(yaml.safe_dump(values))) if manifest]
        return {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in found}

    return rendered

"""Throw-away clusters and images from the command line. Needs root; everything of a cluster lives in one folder.

python -m cluster images [TARGET ...]         build the project's images, push what changed; others if named
python -m cluster up [--gateway] [--prometheus] [--volumes N] [--images]
KUBECONFIG=DIR/kubeconfig kubectl get nodes   from any shell of the machine
python -m cluster exec -- COMMAND             inside the cluster's network namespace
python -m cluster load ARCHIVE ...            more images
python -m cluster down
"""

import argparse
import signal
import sys
from pathlib import Path

from bootstrap import cache

from . import images
from .cluster import Cluster


def summary(c: Cluster) -> str:
    lines = [
        f"export KUBECONFIG={c.kubeconfig}",
        "# seconds: " + ", ".join(f"{k} {v}" for k, v in c.state.data["seconds"].items()),
    ]
    lines += [f"# {name}: {'https' if name == 'api' else 'http'}://127.0.0.1:{port}" for name, port in c.ports.items()]
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    ap = argparse.ArgumentParser(
        prog="cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = ap.add_subparsers(dest="verb", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--dir",
        type=Path,
        default=cache.CHECKOUT / ".run" / "cluster",
        help="the cluster's folder (default: %(default)s)",
    )
    up = verbs.add_parser("up", parents=[common])
    up.add_argument("--gateway", action="store_true", help="Contour and Envoy")
    up.add_argument("--prometheus", action="store_true", help="Prometheus, scraping pods by their annotations")
    up.add_argument("--volumes", type=int, default=0, help="how many hostPath volumes, with a default StorageClass")
    up.add_argument("--images", action="store_true", help="have the images of the last build on the node")
    down = verbs.add_parser("down", parents=[common])
    down.add_argument("--keep-logs", action="store_true")
    verbs.add_parser("exec", parents=[common]).add_argument("command", nargs=argparse.REMAINDER)
    verbs.add_parser("load", parents=[common]).add_argument("archive", nargs="+", type=Path)
    verbs.add_parser("images").add_argument(
        "target", nargs="*", choices=[*images.TARGETS, *images.OPTIONAL, []], default=[]
    )
    return ap.parse_args()


def main() -> int:
    a = arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))  # as Ctrl-C does: through `except` and `finally`
    if a.verb == "images":
        for reference in images.build(a.target or images.TARGETS).values():
            print(reference)
        return 0
    c = Cluster(a.dir)
    if a.verb == "up":
        c.up(
            images=images.references().values() if a.images else (),
            with_gateway=a.gateway,
            with_volumes=a.volumes,
            with_prometheus=a.prometheus,
        )
        print(summary(c))
        return 0
    if not c.running:
        print(f"no cluster in {a.dir}", file=sys.stderr)
        return 0 if a.verb == "down" else 1
    return use(c, a)


def use(c: Cluster, a: argparse.Namespace) -> int:
    """The verbs for a cluster that is there."""
    if a.verb == "down":
        c.down(keep_logs=a.keep_logs)
    elif a.verb == "load":
        for archive in a.archive:
            print(c.load(archive), end="")
    else:
        command = a.command[1:] if a.command[:1] == ["--"] else a.command
        return c.run(command or ["bash"]).returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())

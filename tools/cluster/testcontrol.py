"""The control plane alone, for integration tests: no node, no root, a few seconds to start.

    with ControlPlaneOnly(tmp_path / "control") as control:
        control.client.apply({...})
        control.kubeconfig

Everything a controller meets is real: structural schemas and CEL, the status subresource, server-side apply and its
conflicts, watches, garbage collection, the Job and Deployment controllers, admission, RBAC, events. Pods stay Pending:
a test marks them running or finished through their status subresource.
"""

import shutil
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from .binaries import Binaries
from .controlplane import ControlPlane
from .kube import Client, write_kubeconfig
from .procs import State, wait_for


class ControlPlaneOnly:
    """etcd, kube-apiserver, kube-controller-manager and kube-scheduler on a free port of 127.0.0.1.

    Without the last, if `scheduler` is False: nobody says of a pod that there is no node for it then, in two writes a
    look. FOLDER must not exist or be empty. Binaries are looked for in $KUBEBUILDER_ASSETS first. Any number can run at
    once. Start it from the main thread: its processes end with the thread that started them. `flags` are added to
    those of the processes they are filed under, `env` to the environment of each.
    """

    NEEDS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")

    def __init__(
        self,
        folder: Path,
        binaries: Binaries | None = None,
        flags: Mapping[str, Sequence[str]] | None = None,
        env: Mapping[str, str] | None = None,
        *,
        scheduler: bool = True,
    ) -> None:
        self.dir = Path(folder).resolve()
        self.bin = binaries or Binaries.for_tests()
        self._state = State(self.dir)
        self._flags, self._env, self._scheduler = flags, env, scheduler
        self._client: Client | None = None
        self._control: ControlPlane | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
        if kind is None:
            shutil.rmtree(self.dir)  # after a failure its logs are worth more than a tidy folder

    @property
    def kubeconfig(self) -> Path:
        """An administrator's kubeconfig (group system:masters)."""
        return self.dir / "kubeconfig"

    @property
    def client(self) -> Client:
        """kubectl and plain reads as the administrator."""
        self._client = self._client or Client(self.bin, self.kubeconfig)
        return self._client

    def user(self, name: str, *groups: str) -> Path:
        """A kubeconfig with a client certificate for one more user, to test access rules with."""
        if self._control is None:
            raise RuntimeError("not started")
        return self._control.kubeconfig(name, name, *groups)

    def pid(self, process: str) -> int:
        """Of one of the four, which runs."""
        return self._state.pid(process)

    def start(self, timeout: float = 60) -> None:
        """Start all four; returns when the default service account exists. `timeout` in seconds."""
        if missing := self.bin.missing(self.NEEDS):
            raise FileNotFoundError(f"needed and not found: {', '.join(missing)}: run `make setup`")
        self.dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(self.dir.iterdir()):
            raise FileExistsError(f"{self.dir} is not empty")
        with socket.socket() as held:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind(("127.0.0.1", 0))
            self._control = ControlPlane(
                self._state,
                self.bin,
                host="127.0.0.1",
                port=held.getsockname()[1],
                inside=False,
                flags=self._flags,
                env=self._env,
            )
            write_kubeconfig(self.kubeconfig, self._control.pki, self._control.url, "admin", ["system:masters"])
            self._control.start_api()
            wait_for("API server", lambda: self._up("kube-apiserver") and self.client.get("/readyz") == b"ok", timeout)
        self._control.start_controllers(scheduler=self._scheduler)
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        wait_for(
            "default service account", lambda: self._up("kube-controller-manager") and self.client.get(account), timeout
        )

    def _up(self, process: str) -> bool:
        self._state.check(process)
        return True

    def stop(self) -> None:
        """Stop exactly what was started; the folder with its logs stays."""
        self._client = None
        self._state.stop(last=("etcd",))  # the API server waits for its store

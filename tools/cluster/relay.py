"""Carry connections from the machine's loopback into the cluster's network namespace.

    relay FD:HOST:PORT [FD:HOST:PORT ...]

A socket stays in the network namespace it was made in. So the parent makes the listening sockets in its own namespace
and passes them down as file descriptors, and this process, started inside the other namespace, accepts from the one
and connects in the other. No veth pair, no route, no file on disk, and the kernel picks free ports without a race.
"""

import asyncio
import socket
import sys
from collections.abc import Mapping

from .procs import State


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction, and pass on that it has ended."""
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def serve(fd: int, host: str, port: int) -> None:
    """Relay every connection of a listening socket to one address."""

    async def accepted(near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        far_out: asyncio.StreamWriter | None = None
        try:
            far_in, far_out = await asyncio.open_connection(host, port)
            async with asyncio.TaskGroup() as group:
                group.create_task(pump(near_in, far_out))
                group.create_task(pump(far_in, near_out))
        except* (OSError, RuntimeError):
            pass  # one side went away: close the other
        finally:
            for writer in (near_out, far_out):
                if writer:
                    writer.close()

    server = await asyncio.start_server(accepted, sock=socket.socket(fileno=fd), backlog=1024)
    await server.serve_forever()


async def main(maps: list[str]) -> None:
    async with asyncio.TaskGroup() as group:
        for one in maps:
            fd, host, port = one.split(":")
            group.create_task(serve(int(fd), host, int(port)))


def start(state: State, name: str, targets: Mapping[str, tuple[str, int]]) -> dict[str, int]:
    """Start a relay for the named addresses; returns their ports on 127.0.0.1 and records them."""
    sockets = {key: socket.create_server(("127.0.0.1", 0), backlog=1024) for key in targets}
    maps = [f"{sockets[key].fileno()}:{host}:{port}" for key, (host, port) in targets.items()]
    ports = {key: s.getsockname()[1] for key, s in sockets.items()}
    state.data["ports"].update(ports)
    state.spawn_module(name, "relay", *maps, pass_fds=[s.fileno() for s in sockets.values()])
    for s in sockets.values():
        s.close()
    return ports


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))

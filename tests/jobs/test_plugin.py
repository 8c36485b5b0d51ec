"""Plugins of vLLM for the throw-away cluster, in vLLM's own environment.

For CPUs without AVX-512: what is unpacked is what was quantized. For quick starts: the engine's process is forked.
"""

import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cluster.procs import wait_for

pytestmark = [pytest.mark.jobs, pytest.mark.timeout(300)]

UNPACKS = """
import torch
from unpacked_wna16 import UnpackedWNA16LinearKernel
from vllm.model_executor.kernels.linear.mixed_precision.MPLinearKernel import MPLinearLayerConfig
from vllm.model_executor.layers.quantization.utils.quant_utils import pack_quantized_values_into_int32
from vllm.scalar_type import scalar_types

torch.manual_seed(0)
SIZE, GROUP = (64, 32), 32
for kind, has_zeros in ((scalar_types.uint4b8, False), (scalar_types.uint4, True)):
    quantized = torch.randint(0, 16, SIZE, dtype=torch.int32)
    scales, zeros = torch.rand(2, 32).bfloat16(), torch.randint(0, 16, (2, 32), dtype=torch.int32)
    layer = torch.nn.Module()
    layer.q = pack_quantized_values_into_int32(quantized, kind, 0)
    layer.s, layer.z = scales, pack_quantized_values_into_int32(zeros, kind, 1)
    config = MPLinearLayerConfig(SIZE, SIZE, kind, torch.bfloat16, GROUP, has_zeros)
    kernel = UnpackedWNA16LinearKernel(config, "q", "s", "z" if has_zeros else None)
    kernel._process_gptq_weights_w4a16(layer)
    zero = zeros.repeat_interleave(GROUP, 0) if has_zeros else 8
    meant = ((quantized - zero).float() * scales.float().repeat_interleave(GROUP, 0)).bfloat16()
    x = torch.randn(5, 64).bfloat16()
    assert torch.equal(kernel.apply_weights(layer, x), torch.nn.functional.linear(x, meant.t().contiguous()))
    assert not torch.equal(meant, (quantized.float() * scales.float().repeat_interleave(GROUP, 0)).bfloat16())
"""
TAKES_ITS_PLACE = """
import torch
from vllm.plugins import load_general_plugins

load_general_plugins()
from vllm.model_executor.kernels.linear import _POSSIBLE_KERNELS
from vllm.platforms import PlatformEnum

names = {kernel.__name__ for kernel in _POSSIBLE_KERNELS[PlatformEnum.CPU]}
own = hasattr(torch.ops._C, "cpu_gemm_wna16")
assert ("CPUWNA16LinearKernel" in names, "UnpackedWNA16LinearKernel" in names) == (own, not own), (own, names)
"""


@pytest.mark.parametrize("script", [UNPACKS, TAKES_ITS_PLACE], ids=["unpacks", "takes its place"])
def test_weights_of_four_bits_without_a_kernel_of_vllms(vllm, tmp_path, script):
    said = tmp_path / "said"
    assert vllm.start(script, said).wait(240) == 0, said.read_text()


LISTENS = "0A"  # state of a socket in /proc/net/tcp


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def listening(pid):
    """Inodes of the sockets on which a process listens."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{fields[9]}]" for fields in lines if fields[3] == LISTENS}
    return sockets & {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}


def test_the_engine_is_forked_and_does_not_hold_the_servers_port(baseline_engine):
    wait_for("the engine", lambda: answers(baseline_engine.url), 120)
    server = baseline_engine.process.pid
    engines = [pid for pid in children(server) if "EngineCore" in Path(f"/proc/{pid}/cmdline").read_text()]
    assert len(engines) == 1
    server_began, engine_began = (Path(f"/proc/{pid}/auxv").read_bytes() for pid in (server, engines[0]))
    assert server_began == engine_began, "what is started from nothing gets addresses of its own from the kernel"
    assert listening(server)
    assert not listening(server) & listening(engines[0]), "what it listens on for its own purposes is another thing"


def answers(url):
    address = urlsplit(url)
    with socket.socket() as client:
        return client.connect_ex((address.hostname, address.port)) == 0

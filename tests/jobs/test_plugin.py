"""vLLM's plugin for CPUs without AVX-512, in vLLM's own environment: what it unpacks is what was quantized."""

import subprocess

import pytest

from bench.jobs import ROOT, environment

pytestmark = [pytest.mark.jobs, pytest.mark.timeout(300)]

PLUGINS = ROOT / "tools" / "images" / "plugins"
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
def test_weights_of_four_bits_without_a_kernel_of_vllms(serve_python, script):
    variables = environment(PYTHONPATH=str(PLUGINS), VLLM_TARGET_DEVICE="cpu")
    subprocess.run([serve_python, "-c", script], env=variables, check=True, timeout=240)

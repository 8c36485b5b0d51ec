"""A plugin of vLLM: weights of 4 bits on x86 processors without AVX-512.

vLLM's build for those has no kernel of its own for them, which shows at the first request only. Here the weights are
unpacked once, when they are loaded, to the numbers that they stand for: the answers are those of the 4-bit model, and
memory and speed are not. It is for the throw-away cluster and the tests; engines on GPUs never see it.
"""

import torch
from torch.nn import functional
from vllm import _custom_ops  # noqa: F401 - it loads the build for this processor
from vllm.model_executor.kernels import linear
from vllm.model_executor.kernels.linear.mixed_precision.cpu import CPUWNA16LinearKernel
from vllm.model_executor.layers.quantization.utils.quant_utils import unpack_quantized_values_into_int32
from vllm.platforms import PlatformEnum


class UnpackedWNA16LinearKernel(CPUWNA16LinearKernel):
    """Weights as the other kernel takes them, kept as dense ones of the scales' type."""

    def _process_gptq_weights_w4a16(self, layer: torch.nn.Module) -> None:
        packed, scales, zeros = self._get_weight_params(layer)
        kind = self.config.weight_type
        quantized = unpack_quantized_values_into_int32(packed, kind, 0)  # (in, out)
        rows = quantized.size(0) // scales.size(0)  # of a group
        zero = kind.bias
        if zeros is not None:
            zero = unpack_quantized_values_into_int32(zeros, kind, 1).repeat_interleave(rows, 0)
        dense = (quantized - zero).float() * scales.float().repeat_interleave(rows, 0)
        layer.unpacked = torch.nn.Parameter(dense.to(scales.dtype).t().contiguous(), requires_grad=False)

    def apply_weights(self, layer: torch.nn.Module, x: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """The layer's product, by torch."""
        return functional.linear(x, layer.unpacked, bias)


def register() -> None:
    """Put it in the place of the kernel that is missing; where that is there, nothing changes."""
    kernels = linear._POSSIBLE_KERNELS[PlatformEnum.CPU]  # noqa: SLF001 - vLLM has no door for kernels from outside
    if not hasattr(torch.ops._C, "cpu_gemm_wna16") and CPUWNA16LinearKernel in kernels:  # noqa: SLF001
        kernels[kernels.index(CPUWNA16LinearKernel)] = UnpackedWNA16LinearKernel

"""Outlier channels: large models have a few activations that dwarf the others, tiny ones do not.

They are what makes round-to-nearest fail and SmoothQuant, AWQ and GPTQ worth their while (Dettmers et al., LLM.int8(),
arXiv 2208.07339). Scaling a channel of an RMSNorm's gain up and the matching input columns of the layers behind it down
leaves what the full-precision model computes as it was, up to rounding of the weights.
"""

from collections.abc import Mapping

import torch

_BEHIND = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
}


def add_outliers(weights: Mapping[str, torch.Tensor], channels: int, scale: float) -> None:
    """Give each norm of a Llama its `channels` most important channels times `scale`, in place."""
    layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("model.layers."))
    for layer in range(layers):
        for norm, projections in _BEHIND.items():
            gain = weights[f"model.layers.{layer}.{norm}.weight"]
            columns = [weights[f"model.layers.{layer}.{projection}.weight"] for projection in projections]
            weight_size = torch.stack([matrix.float().abs().mean(0) for matrix in columns]).sum(0)
            chosen = (weight_size * gain.float().abs()).topk(channels).indices
            gain[chosen] = (gain[chosen].float() * scale).to(gain.dtype)
            for matrix in columns:
                matrix[:, chosen] = (matrix[:, chosen].float() / scale).to(matrix.dtype)

"""The baseline, its compressed forms, and what these are calibrated with."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from quantroll.api.base import ApiModel, Rule, rules
from quantroll.api.spec.fields import LayerPattern, ModelSource, Name, ObjectName, Sha256, Source
from quantroll.api.spec.serving import ServingOverride


class Dtype(StrEnum):
    """Numeric type of the full-precision model's weights."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


class Scheme(StrEnum):
    """Numeric format of weights and activations, named as in compressed-tensors."""

    W8A8 = "W8A8"
    W8A16 = "W8A16"
    FP8_DYNAMIC = "FP8_DYNAMIC"
    W4A16 = "W4A16"
    W3A16 = "W3A16"
    W2A16 = "W2A16"

    @property
    def weight_bits(self) -> int:
        """Bits of one weight, without scales."""
        return {"W8A8": 8, "W8A16": 8, "FP8_DYNAMIC": 8, "W4A16": 4, "W3A16": 3, "W2A16": 2}[self.value]


class Workload(StrEnum):
    """What the model is for: how much a small loss matters."""

    CHAT = "Chat"
    REASONING = "Reasoning"
    EXTRACTION = "Extraction"
    CODE = "Code"


class Algorithm(StrEnum):
    """How the rounded weights are found."""

    RTN = "RTN"
    GPTQ = "GPTQ"
    AWQ = "AWQ"


class Backend(StrEnum):
    """The library that makes the artifact."""

    LLM_COMPRESSOR = "LLMCompressor"
    AUTO_AWQ = "AutoAWQ"


class TokenSecretRef(ApiModel):
    """A key of a Secret in this namespace."""

    name: ObjectName
    """Name of the Secret."""
    key: Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)] = "token"
    """Key that holds the token."""


class ModelRef(ApiModel):
    """The baseline: the full-precision model that every variant is verified against, and the first stable."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.source.startsWith('hf://') == has(self.revision)",
                "revision, a commit of the repository, is required for hf:// sources, and has no meaning for others",
            ),
            (
                "!has(self.tokenSecretRef) || self.source.startsWith('hf://')",
                "tokenSecretRef is for hf:// sources",
            ),
        ),
    )

    source: ModelSource
    """Folder with safetensors weights, configuration and tokenizer, as pvc://CLAIM/PATH; or a repository of the Hugging
    Face hub, as hf://OWNER/REPOSITORY, which is copied to the artifact volume."""
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")] | None = None
    """Commit of the repository: a branch or tag may move."""
    token_secret_ref: TokenSecretRef | None = None
    """Access token for the repository. Only the prepare Job gets it; the operator never reads it."""
    dtype: Dtype = Dtype.BFLOAT16
    """Numeric type that the baseline is served in."""
    serving: ServingOverride | None = None
    """What the baseline needs other than spec.serving."""


class Variant(ApiModel):
    """One compressed form of the model."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.allowNaive || !(self.scheme.matches('^W[234]A16$') && self.?algorithm.orValue('') == 'RTN')",
                "round-to-nearest below 8 bits loses quality unpredictably: use GPTQ, or set allowNaive: true",
            ),
            (
                "!(self.scheme in ['W3A16', 'W2A16']) || self.allowSubFourBit",
                "fewer than 4 bits degrade most models severely: set allowSubFourBit: true to try it all the same",
            ),
            (
                "!has(self.smoothQuantStrength) || self.scheme == 'W8A8'",
                "smoothQuantStrength moves outliers from activations into weights: only for scheme W8A8",
            ),
            (
                "!has(self.groupSize) || self.scheme in ['W4A16', 'W3A16', 'W2A16']",
                "groupSize is for the weight-only schemes W4A16, W3A16 and W2A16",
            ),
            (
                "!(self.scheme == 'FP8_DYNAMIC' && self.?algorithm.orValue('') in ['GPTQ', 'AWQ'])",
                "FP8_DYNAMIC is made by round-to-nearest: leave algorithm out or set RTN",
            ),
            (
                "self.?algorithm.orValue('') != 'AWQ' || self.scheme == 'W4A16'",
                "AWQ is for scheme W4A16",
            ),
            (
                "self.backend != 'AutoAWQ' || self.?algorithm.orValue('') == 'AWQ'",
                "backend AutoAWQ makes algorithm AWQ alone: set algorithm: AWQ",
            ),
            (
                "self.backend != 'AutoAWQ' || self.ignore == ['lm_head']",
                "backend AutoAWQ always keeps lm_head alone in full precision: leave ignore out",
            ),
        ),
    )

    name: Annotated[Name, Rule("self != 'baseline'", "baseline is the name of the full-precision model")]
    """Name of the variant in status and labels."""
    scheme: Scheme
    """Numeric format of weights (W) and activations (A), named as in compressed-tensors."""
    algorithm: Algorithm | None = None
    """How the rounded weights are found. Default: GPTQ, and RTN (round to nearest) for FP8_DYNAMIC."""
    smooth_quant_strength: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of the activations' outliers that SmoothQuant moves into the weights first. Default: no SmoothQuant."""
    group_size: Literal[32, 64, 128] | None = None
    """Weights that share one scale. Default: 128 below 8 bits; with 8 bits a whole output channel shares one."""
    ignore: Annotated[list[LayerPattern], Field(max_length=64)] = ["lm_head"]
    """Layers kept in full precision: names, or regular expressions with the prefix re:"""
    backend: Backend = Backend.LLM_COMPRESSOR
    """Library that makes the artifact. AutoAWQ is archived upstream: for those who need its format."""
    allow_naive: bool = False
    """Try round-to-nearest below 8 bits all the same."""
    allow_sub_four_bit: bool = False
    """Try fewer than 4 bits all the same."""
    serving: ServingOverride | None = None
    """What this variant needs other than spec.serving."""

    @property
    def resolved_algorithm(self) -> Algorithm:
        """The algorithm, with its default."""
        return self.algorithm or (Algorithm.RTN if self.scheme is Scheme.FP8_DYNAMIC else Algorithm.GPTQ)

    @property
    def resolved_group_size(self) -> int | None:
        """Weights that share a scale; None where the scheme has one scale a channel."""
        grouped = self.scheme in (Scheme.W4A16, Scheme.W3A16, Scheme.W2A16)
        return (self.group_size or 128) if grouped else None

    @property
    def needs_calibration(self) -> bool:
        """Whether making it reads calibration data."""
        return self.resolved_algorithm in (Algorithm.GPTQ, Algorithm.AWQ) or self.smooth_quant_strength is not None


class Calibration(ApiModel):
    """Inputs that GPTQ, AWQ and SmoothQuant observe; they may not appear in the eval set."""

    dataset: Source
    """JSON lines with `text`, `prompt` or `messages`, as pvc://CLAIM/PATH."""
    sha256: Sha256 | None = None
    """Digest that the file must have. Default: whatever it has when prepare reads it."""
    samples: Annotated[int, Field(ge=1, le=100_000)] = 1024
    """Items that are used at most."""
    max_sequence_length: Annotated[int, Field(ge=8, le=1_000_000)] = 2048
    """Tokens after which an item is cut."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seed that chooses the items where the file has more of them."""

"""The admin's configuration: one YAML file, rendered by the chart, read once at the start."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError

from quantroll.api.base import ApiModel
from quantroll.api.engine import EngineProfile
from quantroll.api.prices import PriceTable
from quantroll.api.queries import CountQuery
from quantroll.api.spec import Backend, QueryName, ScorerName
from quantroll.errors import ConfigurationError


class Images(ApiModel):
    """Images of the Jobs."""

    client: Annotated[str, Field(min_length=1)]
    quantize: Annotated[str, Field(min_length=1)]
    quantize_auto_awq: Annotated[str, Field(alias="quantizeAutoAWQ")] = ""  # empty: that backend is not offered
    lm_eval: Annotated[str, Field(alias="lmEval")] = ""  # empty: scorer LMEval is not offered
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"

    def of(self, backend: Backend) -> str:
        """The image that has a backend; empty where the admin offers none."""
        return {Backend.LLM_COMPRESSOR: self.quantize, Backend.AUTO_AWQ: self.quantize_auto_awq}[backend]

    @property
    def backends(self) -> frozenset[Backend]:
        """The backends that have an image."""
        return frozenset(backend for backend in Backend if self.of(backend))

    def judging(self, scorer: ScorerName) -> str:
        """The image of Jobs that judge by a scorer; empty where the admin offers none."""
        return self.lm_eval if scorer is ScorerName.LM_EVAL else self.client

    @property
    def scorers(self) -> frozenset[ScorerName]:
        """The scorers that have an image."""
        return frozenset(scorer for scorer in ScorerName if self.judging(scorer))


class HuggingFace(ApiModel):
    """Where models of hf:// sources come from."""

    endpoint: Annotated[str, Field(pattern=r"^(https?://[^\s@]+)?$")] = ""  # of a mirror; empty: the hub itself


class Prometheus(ApiModel):
    """Where live counts come from."""

    url: Annotated[str, Field(max_length=512, pattern=r"^(https?://[^\s@?#/]+(/[^\s@?#]*)?)?$")] = ""  # empty: nowhere
    ca_file: str = ""  # empty: the public authorities
    bearer_token_file: str = ""  # read again for every question
    timeout_seconds: Annotated[int, Field(ge=1, le=60)] = 10  # of a whole question
    queries: dict[QueryName, CountQuery] = {}  # for driftCheck.metric, by name


class Metrics(ApiModel):
    """The operator's own metrics page."""

    port: Annotated[int, Field(ge=0, le=65535)] = 0  # 0: there is none


class Settings(ApiModel):
    """Everything that the cluster's admin decides."""

    images: Images
    hugging_face: HuggingFace = HuggingFace()
    engines: Annotated[dict[str, EngineProfile], Field(min_length=1)]
    workers: Annotated[int, Field(ge=1, le=64)] = 8
    resync_seconds: Annotated[int, Field(ge=10)] = 300
    namespaces: list[str] = []  # empty: the whole cluster
    prometheus: Prometheus = Prometheus()
    prices: PriceTable = PriceTable()
    metrics: Metrics = Metrics()


def load(path: Path) -> Settings:
    """Read and validate the file; raises ConfigurationError that names file and field."""
    try:
        return Settings.model_validate(yaml.safe_load(path.read_text()) or {})
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "(top level)"
        raise ConfigurationError(f"{path}: {where}: {first['msg']}") from error

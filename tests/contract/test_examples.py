"""The manifests under examples/ are valid and say what the documentation says of them."""

from pathlib import Path

import pytest
import yaml

from quantroll.api.spec import QuantizedModelSpec

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_spec_for_any_namespace(path: Path) -> None:
    manifest = yaml.safe_load(path.read_text())
    QuantizedModelSpec.model_validate(manifest["spec"])
    assert list(manifest["metadata"]) == ["name"]


def test_the_examples_are_there() -> None:
    assert [path.stem for path in EXAMPLES] == ["llama-3.1-8b", "tiny-llama"]


def test_the_tiny_one_tries_three_variants_without_a_gpu() -> None:
    (path,) = (path for path in EXAMPLES if path.stem == "tiny-llama")
    spec = QuantizedModelSpec.model_validate(yaml.safe_load(path.read_text())["spec"])
    assert [variant.name for variant in spec.variants] == ["int8", "gptq4", "rtn4"]
    assert [step.weight for step in spec.rollout.steps] == [10, 50, 100]
    assert "nvidia.com/gpu" not in path.read_text()

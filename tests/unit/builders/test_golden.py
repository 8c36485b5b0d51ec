"""Every manifest as text, for a review to see what a change does. UPDATE_GOLDEN=1 writes the files anew."""

import os
from pathlib import Path

import pytest
import yaml

from unit.builders.samples import all_manifests

GOLDEN = Path(__file__).parent / "golden"


class Dumper(yaml.SafeDumper):
    """Without anchors: what is shared in memory is written out."""

    def ignore_aliases(self, data):
        return True

    def as_written(self, text):
        """Scripts keep their lines."""
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Dumper.add_representer(str, Dumper.as_written)


@pytest.mark.parametrize("name", all_manifests())
def test_manifest_is_as_reviewed(name):
    path = GOLDEN / f"{name}.yaml"
    text = yaml.dump(all_manifests()[name], Dumper=Dumper, sort_keys=False, width=120)
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_no_golden_file_is_left_over():
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == set(all_manifests())

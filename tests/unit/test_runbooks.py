"""The documentation keeps up with the code: a runbook for every reason, a line for every phase and condition."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from quantroll.api.spec import QuantizedModelSpec
from quantroll.constants import KIND, Condition, Phase, Reason
from quantroll.domain.conditions import SETTLED
from quantroll.domain.gate import GateReason, Verdict
from quantroll.domain.ladder import INFEASIBLE
from quantroll.domain.pipeline import BASELINE_PAUSE, PREPARE_PAUSE

CHECKOUT = Path(__file__).resolve().parents[2]
RUNBOOKS = (CHECKOUT / "docs" / "runbooks.md").read_text()
CONCEPTS = (CHECKOUT / "docs" / "concepts.md").read_text()
PAGES = sorted(path for pattern in ("*.md", "docs/*.md", "docs/adr/*.md") for path in CHECKOUT.glob(pattern))
PAGES.remove(CHECKOUT / "docs" / "api.md")  # generated, without links to files; patterns in it look like links

GOOD = {
    Reason.PROVEN, Reason.PROGRESSING, Reason.SETTLED, Reason.SERVING, Reason.PROMOTED, Reason.WAITING, Reason.MADE,
    Reason.SAVES, Reason.FLOOR_MET, Reason.COMMAND_DONE, Reason.RESUMED, Reason.VERDICT,
}  # fmt: skip
# phases in which a model comes to rest are reasons of Stalled, but the one in which all is well
REASONS = {str(reason) for reason in (*Reason, *GateReason, *(SETTLED - {Phase.STEADY}))}
RULES = yaml.safe_load((CHECKOUT / "charts" / "quantroll" / "files" / "rules.yaml").read_text())
ALERTS = {rule["alert"] for group in RULES["groups"] for rule in group["rules"]}
PARTS = ("- **You see:** ", "- **Do:** ", "- **By itself:** ")


def sections(page):
    """Texts below the headings of third rank."""
    parts = re.split(r"^### (.+)$", page, flags=re.MULTILINE)
    names, texts = parts[1::2], [re.split(r"^## ", text, flags=re.MULTILINE)[0] for text in parts[2::2]]
    assert len(names) == len(set(names)), "a heading comes twice"
    return dict(zip(names, texts, strict=True))


def rows(title):
    """First cells of the last table below a heading of the concepts page."""
    below = CONCEPTS.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    tables = re.findall(r"^\|[- |]+\|\n((?:\|.*\n)+)", below, flags=re.MULTILINE)
    return [line.split("|")[1].strip() for line in tables[-1].splitlines()]


def anchors(page):
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_reason_and_alert_has_a_runbook_and_no_runbook_is_left_over():
    assert set(sections(RUNBOOKS)) == REASONS | ALERTS


@pytest.mark.parametrize("reason", sorted((REASONS - GOOD) | ALERTS))
def test_a_runbook_says_what_is_seen_what_to_do_and_whether_it_heals(reason):
    meaning, points = sections(RUNBOOKS)[reason].strip().split("\n\n")
    assert meaning.endswith(".")
    points = re.split(r"\n(?=- )", points)
    assert [point[: len(part)] for point, part in zip(points, PARTS, strict=True)] == list(PARTS)
    assert re.search(r"\b(yes|no|not|only)\b", points[-1], flags=re.IGNORECASE)


def test_concepts_explain_every_phase_condition_and_verdict():
    assert sorted(rows("Phases")) == sorted(Phase)
    assert sorted(rows("Conditions")) == sorted(Condition)
    assert set(rows("The gate")) == set(Verdict)
    assert f"**{INFEASIBLE}**" in CONCEPTS


def test_the_pauses_between_tries_are_those_of_the_code():
    assert timedelta(seconds=30) == PREPARE_PAUSE
    assert timedelta(minutes=1) == BASELINE_PAUSE
    assert "after 30 seconds, doubling up to 10 minutes" in RUNBOOKS
    assert "after 1 minute, doubling up to 20 minutes" in RUNBOOKS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def manifests():
    """Every QuantizedModel that a page shows."""
    for page in PAGES:
        for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL):
            yield from (
                pytest.param(found["spec"], id=str(page.relative_to(CHECKOUT)))
                for found in yaml.safe_load_all(block)
                if found.get("kind") == KIND
            )


@pytest.mark.parametrize("spec", list(manifests()))
def test_manifests_in_the_documentation_can_be_used(spec):
    assert QuantizedModelSpec.model_validate(spec).variants

"""The HTML page, as a browser sees it: nothing fetched, nothing complained about, light and dark, wide and narrow."""

import os
from html.parser import HTMLParser

import pytest

from quantroll.report.page import html
from quantroll.report.report import report_on
from quantroll.report.subject import read
from unit.report import browser, documents

HOSTILE = (
    "<script>document.title='taken'</script>",
    '"><img src=x onerror="document.title=\'taken\'">',
    "'-alert(1)-' javascript:alert(1) {{ 7*7 }} {% raw %} &lt;b&gt; ]]> --> </style></svg></title>",
)
VOID = {"meta", "link", "img", "br"}
NEEDED = {"light": ("rgb(253, 253, 252)", "rgb(27, 28, 30)"), "dark": ("rgb(22, 24, 27)", "rgb(231, 231, 228)")}


def page(document):
    return html(report_on(read(document)))


class Elements(HTMLParser):
    """The tags of a page, and every address that it names."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("document", [documents.proven(), documents.costed(), documents.pending()])
def test_the_page_is_whole_and_names_no_address(document):
    found = Elements(page(document))
    assert found.open == []
    assert "script" not in found.tags
    names = [value for name, value in found.attributes if name in ("href", "src", "xlink:href", "action")]
    assert [value for value in names if not value.startswith("#")] == ["data:,"]


def test_headings_of_the_table_are_headings():
    text = page(documents.costed())
    assert text.count('scope="col"') == 20
    assert text.count("<th scope=row") == 5


@pytest.mark.parametrize("hostile", HOSTILE)
def test_text_of_others_adds_no_element_and_no_attribute(hostile):
    harmless, found = Elements(page(documents.hostile("x"))), Elements(page(documents.hostile(hostile)))
    assert sorted(set(found.tags)) == sorted(set(harmless.tags))
    assert {name for name, _ in found.attributes} == {name for name, _ in harmless.attributes}
    assert "49" not in page(documents.hostile("{{ 7*7 }}")).replace("0.0.49", "").partition("<main>")[0]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if not browser.PROGRAM:
        missing = "no Chromium here: `make system` installs it"
        if os.environ.get("E2E") == "skip":
            pytest.skip(missing)
        pytest.fail(f"{missing}; E2E=skip leaves the browser out")
    with browser.Browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def opened(chromium, tmp_path):
    def open_page(document, *, width=1280, dark=False):
        file = tmp_path / "report.html"
        file.write_text(page(document), encoding="utf-8")
        chromium.open(file.as_uri(), width=width, dark=dark)
        assert chromium.requests == [file.as_uri()]
        assert chromium.complaints == []
        return chromium

    return open_page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("name", ["proven", "costed", "pending"])
def test_a_browser_shows_it_in_both_schemes_without_scrolling_sideways(opened, name, width, scheme):
    shown = opened(getattr(documents, name)(), width=width, dark=scheme == "dark")
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
    style = "getComputedStyle(document.body)"
    assert (shown.evaluate(f"{style}.backgroundColor"), shown.evaluate(f"{style}.color")) == NEEDED[scheme]
    charts = 0 if name == "pending" else 2
    assert shown.evaluate("document.querySelectorAll('svg.chart').length") == charts
    inked = "[...document.querySelectorAll('svg text')].every(e => getComputedStyle(e).fill != 'rgb(0, 0, 0)')"
    assert shown.evaluate(inked)
    inside = "[...document.querySelectorAll('svg')].every(e => e.getBoundingClientRect().right <= innerWidth)"
    assert shown.evaluate(inside)


def test_the_wide_table_scrolls_in_a_box_that_the_keyboard_reaches(opened):
    shown = opened(documents.costed(), width=400)
    box = "document.querySelector('.box')"
    assert shown.evaluate(f"{box}.scrollWidth > {box}.clientWidth")
    assert shown.evaluate(f"{box}.focus(), document.activeElement == {box}")
    name = "document.querySelector('tbody th').getBoundingClientRect().left"
    before = shown.evaluate(name)
    shown.evaluate(f"{box}.scrollLeft = 500, 0")
    assert shown.evaluate(name) == before  # names stay in sight


def test_letters_of_the_charts_are_legible_on_a_telephone(opened):
    shown = opened(documents.costed(), width=400)
    sizes = "Math.min(...[...document.querySelectorAll('svg text')].map(e => e.getBoundingClientRect().height))"
    assert shown.evaluate(sizes) >= 9


def test_the_light_and_the_dark_page_have_contrast(opened):
    """At least 4.5 : 1 for every colour of text, as WCAG 2.1 asks for."""
    luminance = """(c => { const [r, g, b] = c.match(/[0-9.]+/g).map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b })"""
    for dark in (False, True):
        shown = opened(documents.costed(), dark=dark)
        for name in ("--ink", "--muted", "--good", "--bad", "--unsure", "--odd", "--floor", "--accent"):
            ratio = shown.evaluate(
                f"(() => {{ const lum = {luminance}; const e = document.createElement('i'); document.body.append(e);"
                f" e.style.color = 'var({name})'; const a = lum(getComputedStyle(e).color), b ="
                " lum(getComputedStyle(document.body).backgroundColor); e.remove();"
                " return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) })()"
            )
            assert ratio >= 4.5, (name, dark)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_browser_runs_nothing_of_others(opened, hostile):
    shown = opened(documents.hostile(hostile), width=400)
    assert shown.evaluate("document.title") != "taken"
    assert shown.evaluate("document.images.length + document.scripts.length") == 0
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert hostile in shown.evaluate("document.body.innerText")

"""The report in a real browser: no error, no request, every control works, readable in both themes and on a phone."""

import json
import time

import numpy as np
import pytest
from made_up import made_up_record

from cloudchamber.reporting import write_report

RESOLUTION = 1 / 127


class Tab:
    """One page in the browser, with the few things the tests do to it."""

    def __init__(self, driver, path, width=1280, theme="light"):
        self.driver, self.path = driver, path
        phone = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        media = {"prefers-color-scheme": theme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in media.items()]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        for log in ("browser", "performance"):
            driver.get_log(log)
        driver.get(path.as_uri())
        self.wait("return [...document.querySelectorAll('[data-chart],[data-image]')].every(e => e.data)")

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def wait(self, script, *arguments, seconds=8):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.run(script, *arguments)
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f"never true: {script}")

    def one(self, selector):
        return self.driver.find_element("css selector", selector)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def heat(self, kind):
        values = self.run(f"return document.querySelector('[data-image={kind}]').data[0].z")
        return np.array(values, dtype=float)

    def choose(self, selector, value, event):
        self.run(
            "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event(arguments[2], {bubbles: true}))",
            self.one(selector),
            value,
            event,
        )

    def requests(self):
        entries = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [e["params"]["request"]["url"] for e in entries if e["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith("data:")]


@pytest.fixture
def tab(browser, pages):
    opened = Tab(browser, pages["full"])
    yield opened
    opened.run("localStorage.clear()")


@pytest.mark.parametrize("name", ["full", "hostile"])
def test_it_opens_without_an_error_and_without_a_request(browser, pages, name):
    tab = Tab(browser, pages[name])
    time.sleep(0.3)
    assert tab.driver.get_log("browser") == []
    assert tab.requests() == [pages[name].as_uri()]
    assert tab.run("return window.attacked === undefined")


def test_the_policy_stops_whatever_would_run_or_be_fetched_all_the_same(tab):
    tab.run(
        "const s = document.createElement('script'); s.textContent = 'window.attacked = 1'; document.body.append(s);"
        "const i = new Image(); i.src = 'http://127.0.0.1:9/x.png'; document.body.append(i)"
    )
    time.sleep(0.2)
    assert tab.run("return window.attacked === undefined")
    assert any("Content Security Policy" in entry["message"] for entry in tab.driver.get_log("browser"))


def test_the_verdict_and_the_findings_are_visible(tab):
    assert tab.one("h1").is_displayed()
    assert [card.is_displayed() for card in tab.all("article.finding")] == [True, True]
    assert "Training is stuck" in tab.one("article.problem").text


def test_every_chart_is_drawn_with_its_phases(tab):
    names = tab.run("return [...document.querySelectorAll('[data-chart]')].map(e => e.dataset.chart)")
    assert names == ["loss", "accuracy", "feature_cosine", "gradient_cosine", "effective_width"]
    for chart in tab.all("[data-chart]"):
        assert tab.run("return arguments[0].querySelectorAll('.trace path.js-line').length", chart) > 0
        assert tab.run("return arguments[0].layout.shapes.length", chart) == 1


def test_the_slider_and_the_layer_chooser_change_the_numbers(tab, record):
    images = record["sample_cosine"].values
    np.testing.assert_allclose(tab.heat("sample_cosine"), images[2, 2], atol=RESOLUTION)
    tab.choose("#image-step", 1, "input")
    np.testing.assert_allclose(tab.heat("sample_cosine"), images[1, 2], atol=RESOLUTION)
    assert tab.one("#image-now").text.startswith("step 200, first phase")
    assert tab.one("#image-step").get_attribute("aria-valuetext").startswith("step 200")
    tab.choose("#image-layer", "linear1", "change")
    np.testing.assert_allclose(tab.heat("sample_cosine"), images[1, 0], atol=RESOLUTION)


def test_the_slider_listens_to_the_keyboard(tab):
    slider = tab.one("#image-step")
    before = tab.heat("neuron_cosine")
    slider.send_keys("\ue012")  # arrow left
    assert slider.get_attribute("value") == "1"
    assert not np.array_equal(before, tab.heat("neuron_cosine"))


def test_neurons_are_ordered_at_each_step_or_once(tab, record):
    tab.choose("#image-step", 0, "input")
    anew = tab.heat("neuron_cosine")
    blocks = np.diff((anew[0] > 0.6).astype(int))
    assert np.abs(blocks).sum() <= 1
    tab.choose("#image-order", "last", "change")
    np.testing.assert_allclose(np.sort(tab.heat("neuron_cosine"), axis=None), np.sort(anew, axis=None))


def test_play_runs_through_the_steps_and_stops_at_the_last(tab):
    play = tab.one("#image-play")
    tab.run("arguments[0].click()", play)
    assert play.get_attribute("aria-pressed") == "true"
    assert tab.one("#image-step").get_attribute("value") == "0"
    tab.wait("return document.getElementById('image-step').value === '2'")
    tab.wait("return document.getElementById('image-play').getAttribute('aria-pressed') === 'false'")


def test_a_layer_can_be_hidden_in_all_charts_at_once(tab):
    tab.run("document.querySelector('[data-legend=layers] button').click()")
    assert tab.one("[data-legend=layers] button").get_attribute("aria-pressed") == "false"
    for name in ("feature_cosine", "gradient_cosine", "effective_width"):
        assert tab.run(f"return document.querySelector('[data-chart={name}]').data[0].visible") is False
    assert tab.run("return document.querySelector('[data-change=feature_cosine]').data[1].x.length") == 3


def test_zooming_one_chart_zooms_all(tab):
    tab.run("Plotly.relayout(document.querySelector('[data-chart=loss]'), {'xaxis.range': [100, 200]})")
    tab.wait("return [...document.querySelectorAll('[data-chart]')].every(e => e.layout.xaxis.range[0] === 100)")
    tab.run("document.getElementById('theme').click()")
    assert tab.run("return document.querySelector('[data-chart=accuracy]').layout.xaxis.range") == [100, 200]


def test_the_recipe_can_be_copied(tab):
    tab.one("[data-copy=recipe]").click()
    tab.wait("return document.querySelector('[data-copy=recipe]').textContent !== 'Copy'")
    assert tab.one("[data-copy=recipe]").get_attribute("textContent") == "Copied"


WEAKEST_CONTRAST = """
const channel = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const luminance = (text) => {
  const [r, g, b] = text.match(/[\\d.]+/g).map(Number);
  return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
};
const ground = luminance(getComputedStyle(document.body).backgroundColor);
const contrast = (element) => {
  const own = luminance(getComputedStyle(element).color);
  return (Math.max(own, ground) + 0.05) / (Math.min(own, ground) + 0.05);
};
const words = 'main :is(p, dt, dd, small, li, td, th, h1, h2, h3, a, b, button)';
return Math.min(...[...document.querySelectorAll(words)].map(contrast));
"""
TOO_WIDE = """
return [...document.querySelectorAll('.plot')].filter(e => e.getBoundingClientRect().right > innerWidth + 1).length
"""
COLORS = """
const chart = (name) => document.querySelector(`[data-chart=${name}]`);
return [getComputedStyle(document.body).backgroundColor, chart('loss').layout.font.color,
        chart('feature_cosine').data[0].line.color];
"""
NAMELESS = """
const name = (e) => e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.[0]?.textContent.trim();
return [...document.querySelectorAll('button, select, input, a')].filter(e => !name(e) || e.tabIndex < 0).length
"""
REPEATED_IDS = """
const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
return ids.length - new Set(ids).size
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_and_can_be_read_in_both_themes(browser, pages, theme, width):
    tab = Tab(browser, pages["full"], width, theme)
    assert tab.run("return document.documentElement.dataset.theme") == theme
    assert tab.run("return document.documentElement.scrollWidth") <= width
    assert tab.run(WEAKEST_CONTRAST) >= 4.5
    assert tab.run(TOO_WIDE) == 0


def test_hostile_and_long_names_do_not_widen_a_phone(browser, pages, tmp_path):
    names = tuple(f"model.layers.{index}.self_attention.query_projection" for index in range(30))
    long = made_up_record([0, 5], [2.0, 1.0], feature_cosine=[0.1, 0.2], layers=names, image_steps=(0, 5))
    for path in (pages["hostile"], write_report(long, tmp_path / "long.html")):
        assert Tab(browser, path, 390).run("return document.documentElement.scrollWidth") <= 390


def test_the_toggle_changes_the_theme_of_page_and_charts_and_is_remembered(tab):
    light = tab.run(COLORS)
    tab.one("#theme").click()
    dark = tab.run(COLORS)
    assert all(one != other for one, other in zip(light, dark, strict=True))
    tab.driver.refresh()
    tab.wait("return document.querySelector('[data-chart=loss]')?.data")
    assert tab.run(COLORS) == dark


def test_every_control_has_a_name_and_can_be_reached(tab):
    assert tab.run(NAMELESS) == 0
    assert tab.run(REPEATED_IDS) == 0


@pytest.mark.parametrize(
    "record",
    [
        made_up_record([0], [2.3], feature_cosine=[0.4], image_steps=(0,)),
        made_up_record([0, 1], [np.nan, np.inf], feature_cosine=[np.nan] * 2),
        made_up_record([0, 1], None),
    ],
)
def test_degenerate_records_open_without_an_error(browser, tmp_path, record):
    tab = Tab(browser, write_report(record, tmp_path / "report.html"))
    time.sleep(0.2)
    assert tab.driver.get_log("browser") == []
    assert tab.one("h1").is_displayed()

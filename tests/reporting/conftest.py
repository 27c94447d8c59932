"""A record with everything in it, one that attacks the page, and one browser for all tests of this folder."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from made_up import made_up_record

from cloudchamber._core.finding import Evidence, Finding, Findings
from cloudchamber.reporting import write_report

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
)
ATTACK = "</script><script>window.attacked=1</script><img src=http://evil.test/x onerror=window.attacked=1>"
RECIPE = "model: {name: mlp, depth: 4, width: 32}\ndata: {name: digits}\noptimizer: {name: sgd, lr: 0.1}\n"

FINDINGS = Findings(
    [
        Finding(
            code="stuck",
            title="Training is stuck on its first plateau.",
            severity="problem",
            confidence="medium",
            because="only 400 steps were observed",
            layers=("linear2",),
            steps=(0, 400),
            evidence=(Evidence("probe_loss", 2.3011, 2.3026, "the best constant output"),),
            advice=("Set `initialization.variance_scale` to 1.", "Use momentum 0.9."),
            source="mlp2024, Section 3",
        ),
        Finding(code="fine", title="Every class is learned.", severity="good", confidence="high"),
    ]
)


def full_record(**more):
    steps = np.arange(0, 401, 10)
    features = 0.3 + 0.5 * np.exp(-(((steps - 220) / 90.0) ** 2))
    width = np.where(np.isin(steps, (0, 200, 400)), 32 - steps / 20, np.nan)
    loss = np.log(10.0) / (1 + np.exp((steps - 250) / 15.0))
    settings = {
        "feature_cosine": features,
        "gradient_cosine": features - 0.2,
        "class_accuracy": np.clip(np.outer(steps / 400, np.linspace(0.5, 1.0, 10)), 0, 1),
        "effective_width": width,
        "train_loss": loss + 0.01,
        "image_steps": (0, 200, 400),
        "recipe": RECIPE,
    }
    return made_up_record(steps, loss, **settings | more)


@pytest.fixture(scope="session")
def record():
    return full_record()


@pytest.fixture(scope="session")
def hostile():
    record = full_record(layers=(ATTACK, "<b>two</b>", "a & b", "d"), recipe=f"steps: 1 # {ATTACK}\n")
    record.attrs["environment"] = json.dumps({ATTACK: ATTACK})
    record["coverage"].values[0] = f"skipped, because {ATTACK}"
    record = record.assign_coords(module=[ATTACK, *record["module"].values[1:]])
    for name in record.data_vars:
        record[name].attrs["long_name"] = f"{name} {ATTACK}"
        record[name].attrs["symbol"] = f"x_{ATTACK}"
    return record


@pytest.fixture(scope="session")
def hostile_findings():
    evidence = (Evidence(ATTACK, 1.0, 2.0, ATTACK),)
    one = Finding("x", ATTACK, "problem", "low", ATTACK, ATTACK, (ATTACK,), (0, 1), evidence, (ATTACK, ATTACK), ATTACK)
    return Findings([one])


@pytest.fixture(scope="session")
def pages(tmp_path_factory, record, hostile, hostile_findings):
    """Return the paths of two reports: of a whole record, and of one that attacks the page."""
    folder = tmp_path_factory.mktemp("reports")
    return {
        "full": write_report(record, folder / "full.html", findings=FINDINGS),
        "hostile": write_report(hostile, folder / "hostile.html", findings=hostile_findings),
    }


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Return headless Chromium; skip loudly without it, except where CI requires it."""
    missing = [str(path) for path in (CHROMIUM, DRIVER) if not path.exists()]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"the report's browser tests are required in CI; missing: {', '.join(missing)}")
    if missing:
        pytest.skip(f"NO BROWSER TEST OF THE REPORT RAN: {', '.join(missing)} missing (Debian: chromium-driver)")
    driver = _driver(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


def _driver(folder):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(str(DRIVER)))

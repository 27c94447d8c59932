"""The smoke scale of every built exhibit: it runs on digits, draws, and keeps a small result."""

import matplotlib.pyplot as plt
import pytest

from cloudchamber.papers import Results, RunCache, entries, load_exhibit, result_text, run_exhibit

BUILT = [item for item in entries() if item.built]
MOST_BYTES = 600_000


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One cache for all exhibits, so that what they share is run once."""
    return RunCache(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("item", BUILT, ids=lambda item: item.id)
def test_smoke_runs_and_keeps_a_small_result(item, shared, tmp_path):
    exhibit, results = load_exhibit(item), Results(tmp_path)
    result = run_exhibit(exhibit, "smoke", shared, results)
    assert [verdict.claim for verdict in result.verdicts] == [claim.name for claim in exhibit.claims]
    arrays = results.arrays(item.id, "smoke")
    assert all(claim.name in result_text(exhibit, result, arrays) for claim in exhibit.claims)
    folder = results.place(item.id, "smoke")
    assert sum(path.stat().st_size for path in folder.iterdir()) < MOST_BYTES
    figure = exhibit.draw(arrays)
    assert figure.axes
    plt.close(figure)

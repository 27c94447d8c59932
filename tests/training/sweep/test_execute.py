"""Chunks in this process: computed once, failures are data, and the same whatever is done twice."""

import numpy as np
import pytest
import torch
from sweep_cases import NUMBERS, Watching, bits, fails_at_one, noted, times, with_task

from cloudchamber import InvalidInput
from cloudchamber.training.sweep.chunks import Chunk
from cloudchamber.training.sweep.execute import execute
from cloudchamber.training.sweep.ledger import Ledger, name_of


def test_every_chunk_has_its_outcome():
    outcomes = execute(NUMBERS, times)
    for chunk in NUMBERS:
        outcome = outcomes[chunk.key]
        np.testing.assert_array_equal(outcome.arrays["value"], [chunk.task["factor"] * x for x in range(3)])
        assert outcome.arrays["name"].tolist() == ["x0", "x1", "x2"]
        assert outcome.errors == (None, None, None)
        assert outcome.seconds > 0
        assert outcome.environment["threads"] == 1


def test_a_key_is_that_of_the_content_alone():
    one = Chunk({"a": 1, "b": [1.0, None]}, ({"x": 1}, {"x": 2}))
    assert one.key == Chunk({"b": [1.0, None], "a": 1}, ({"x": 1}, {"x": 2}), cost=7.0).key
    others = [
        Chunk({"a": 1, "b": [1.0]}, one.cells),
        Chunk(one.task, one.cells[::-1]),
        Chunk(one.task, one.cells[:1]),
        Chunk({"a": 1.5, "b": [1.0, None]}, one.cells),
    ]
    assert len({one.key, *(other.key for other in others)}) == 5


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1}, np.zeros(2), object()])
def test_what_is_no_json_has_no_key(value):
    with pytest.raises(InvalidInput, match=r"finite JSON values; got .* Remedy: "):
        execute([Chunk({"a": value}, ({},))], times)


def test_what_stands_in_the_ledger_is_not_computed_again(tmp_path):
    log, ledger = tmp_path / "log", tmp_path / "ledger.sqlite"
    chunks = with_task(log=str(log))
    first, half = execute(chunks[:2], noted, ledger=ledger), log.read_text()
    watching = Watching()
    whole = execute(chunks, noted, ledger=ledger, callbacks=[watching])
    assert log.read_text().startswith(half)
    assert len(log.read_text().splitlines()) == len(chunks)
    assert watching.began == [(4, 2)]
    assert [key for key, _ in watching.ended] == [chunk.key for chunk in chunks[2:]]
    assert bits(whole) == bits(execute(chunks, noted))
    assert bits(first).items() <= bits(whole).items()


def test_the_ledger_gives_back_every_bit_and_type(tmp_path):
    def strange(task, cells):
        return {
            "file": np.array([[np.nan, -0.0], [np.inf, 1e-310]]),
            "allow_pickle": np.array([1 + 2j, np.nan]),
            "float32": np.array([np.nan, 1], dtype=np.float32),
            "none": np.zeros((2, 0, 3)),
            "whole": np.array([2**62, -1]),
            "truth": np.array([True, False]),
            "text": ["ψ", ""],
            "a/b c": np.zeros((2, 1)),
        }

    chunk = Chunk({}, ({"x": 0}, {"x": 1}))
    now = execute([chunk], strange, ledger=tmp_path / "l")
    assert bits(execute([chunk], strange, ledger=tmp_path / "l")) == bits(now)
    assert now[chunk.key].arrays["text"].tolist() == ["ψ", ""]


def test_a_failing_cell_is_recorded_and_the_others_go_on(tmp_path):
    ledger = tmp_path / "ledger"
    outcomes = execute(NUMBERS, fails_at_one, ledger=ledger)
    for chunk in NUMBERS:
        outcome = outcomes[chunk.key]
        assert outcome.errors == (None, "ValueError: there is a 1 among 1", None)
        assert outcome.failed == 1
        factor = chunk.task["factor"]
        np.testing.assert_array_equal(outcome.arrays["value"], [0, np.nan, 2 * factor])
        np.testing.assert_array_equal(outcome.arrays["count"], [1, np.nan, 1])
        assert outcome.arrays["name"].tolist() == ["x0", "", "x2"]
        assert outcome.arrays["drawn"].dtype == np.float32
    assert bits(execute(NUMBERS, fails_at_one, ledger=ledger)) == bits(outcomes)


def test_cells_that_all_fail_leave_no_arrays():
    chunk = Chunk({"factor": 1.0}, ({"x": 1}, {"x": 1}))
    outcome = execute([chunk], fails_at_one)[chunk.key]
    assert outcome.arrays == {}
    assert outcome.failed == 2


def test_failed_cells_are_tried_again_only_on_request(tmp_path):
    marker, ledger = tmp_path / "now it works", tmp_path / "ledger"

    def fragile(task, cells):
        if task["factor"] == 2.0 and not marker.exists():
            raise OSError("no such data")
        return times(task, cells)

    assert sum(o.failed for o in execute(NUMBERS, fragile, ledger=ledger).values()) == 3
    marker.touch()
    assert sum(o.failed for o in execute(NUMBERS, fragile, ledger=ledger).values()) == 3
    watching = Watching()
    again = execute(NUMBERS, fragile, ledger=ledger, retry_failed=True, callbacks=[watching])
    assert watching.began == [(4, 3)]
    assert bits(again) == bits(execute(NUMBERS, fragile)) == bits(execute(NUMBERS, fragile, ledger=ledger))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda cells: {"value": 3.0},
        lambda cells: {"value": np.zeros(len(cells) + 1)},
        lambda cells: {"value": [object()] * len(cells)},
        lambda cells: {"value": [b"bytes"] * len(cells)},
        lambda cells: {"value": [[1], [1, 2], [1]][: len(cells)]} if len(cells) > 1 else {"value": 1.0},
        lambda cells: None,
    ],
)
def test_a_work_that_returns_something_else_has_failed(wrong):
    def work(task, cells):
        return wrong(cells)

    outcome = execute(NUMBERS[:1], work)[NUMBERS[0].key]
    assert outcome.failed == 3
    assert all(error.partition(":")[0] in ("InvalidInput", "AttributeError") for error in outcome.errors)


def test_cells_of_different_shapes_do_not_fit_into_one_chunk():
    def work(task, cells):
        if len(cells) > 1:
            raise ValueError("one by one, please")
        return {"value": np.zeros((1, 1 + cells[0]["x"] // 2))}

    outcome = execute(NUMBERS[:1], work)[NUMBERS[0].key]
    assert [error is None for error in outcome.errors] == [True, True, False]
    assert "arrays of one shape" in outcome.errors[2]
    np.testing.assert_array_equal(outcome.arrays["value"], [[0], [0], [np.nan]])


def test_the_caller_keeps_threads_and_random_numbers():
    torch.set_num_threads(1)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    outcomes = execute(NUMBERS, times, threads=2)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == 1
    assert {outcome.environment["threads"] for outcome in outcomes.values()} == {2}


def test_a_work_that_draws_from_global_generators_is_the_same_again():
    torch.manual_seed(1)
    first = execute(NUMBERS, times)
    torch.manual_seed(2)
    assert bits(execute(NUMBERS[::-1], times)) == bits(first)


def test_the_same_chunk_twice_is_computed_once(tmp_path):
    chunks = with_task(log=str(tmp_path / "log"))
    execute([*chunks, *chunks], noted)
    assert len((tmp_path / "log").read_text().splitlines()) == 4


def test_what_another_work_made_is_not_taken(tmp_path):
    ledger = tmp_path / "ledger"
    execute(NUMBERS, times, ledger=ledger)
    assert all(outcome.failed for outcome in execute(NUMBERS, fails_at_one, ledger=ledger).values())
    assert bits(Ledger(ledger, name_of(times)).load()) == bits(execute(NUMBERS, times))


def test_an_interrupted_sweep_keeps_what_was_finished(tmp_path):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(NUMBERS, times, ledger=tmp_path / "ledger", callbacks=[Watching(2, stop)])
    watching = Watching()
    outcomes = execute(NUMBERS, times, ledger=tmp_path / "ledger", callbacks=[watching])
    assert watching.began == [(4, 2)]
    assert bits(outcomes) == bits(execute(NUMBERS, times))


@pytest.mark.parametrize("on", ["", "cluster", "processes://", "processes://0", "processes://-1", "ray:", "Ray"])
def test_an_unknown_place_is_refused(on, tmp_path):
    with pytest.raises(InvalidInput, match=r"`on` is processes, .* Remedy: "):
        execute(NUMBERS, times, on=on, ledger=tmp_path / "ledger")
    assert list(tmp_path.iterdir()) == []


def test_threads_and_names_are_checked(tmp_path):
    with pytest.raises(InvalidInput, match="`threads` must be at least 1"):
        execute(NUMBERS, times, threads=0)
    with pytest.raises(InvalidInput, match="a function with a name"):
        execute(NUMBERS, lambda task, cells: {}, ledger=tmp_path / "ledger")

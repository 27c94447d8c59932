"""Ctrl-C: the first one ends a run cleanly, the second one at once, and both can be resumed to the same bits."""

import signal

import pytest
from small_runs import FILES, Do, assert_same, checkpoint, files, small

from cloudchamber._core.storage import open_record
from cloudchamber.training import resume, run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(small(), tmp_path_factory.mktemp("whole") / "run").folder


def raised(number):
    return lambda: signal.raise_signal(number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [5, 11, 16])
def test_an_interrupted_run_keeps_its_record_and_goes_on_to_the_same_bits(tmp_path, whole, number, step):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    result = run(small(), tmp_path / "run", callbacks=[Do(step, raised(number))])
    assert (result.status, result.step) == ("interrupted", step)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert files(tmp_path / "run") == FILES
    assert checkpoint(tmp_path / "run")["step"] == step
    until = open_record(whole).sel(step=slice(0, step), image_step=slice(0, step))
    assert result.record.identical(until)
    assert open_record(tmp_path / "run").identical(until)
    assert resume(tmp_path / "run").status == "finished"
    assert_same(tmp_path / "run", whole)


def test_a_run_can_be_interrupted_again_and_again(tmp_path, whole):
    run(small(), tmp_path / "run", callbacks=[Do(1, raised(signal.SIGINT))])
    for step in (5, 20, 29):
        result = resume(tmp_path / "run", callbacks=[Do(step, raised(signal.SIGINT))])
        assert (result.status, result.step) == ("interrupted", step)
    assert resume(tmp_path / "run").status == "finished"
    assert_same(tmp_path / "run", whole)


def test_at_the_last_step_there_is_nothing_to_interrupt(tmp_path, whole):
    result = run(small(), tmp_path / "run", callbacks=[Do(30, raised(signal.SIGINT))])
    assert result.status == "finished"
    assert_same(tmp_path / "run", whole)


def test_a_second_interrupt_ends_the_run_at_once(tmp_path, whole):
    handler = signal.getsignal(signal.SIGINT)

    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(small(), tmp_path / "run", callbacks=[Do(12, twice)])
    assert signal.getsignal(signal.SIGINT) is handler
    assert checkpoint(tmp_path / "run")["step"] == 7
    resume(tmp_path / "run")
    assert_same(tmp_path / "run", whole)

"""When a child is started again: a delay that doubles, a rest after a threshold, earlier failures forgotten in time."""

from __future__ import annotations

from framework.process.health import (
    CONFIGURATION_REST,
    FIRST_DELAY,
    LAST_LINES,
    LONGEST_DELAY,
    REST,
    STABLE,
    START_TIMEOUT,
    THRESHOLD,
    Health,
    describe_exit,
)


def fail(health: Health, status: int = 1, *, ready_for: float | None = None) -> float:
    health.started(100, 0.0, 0.0)
    if ready_for is not None:
        health.became_ready(0.0, 0.0)
    return health.ended(status, ready_for or 0.0, 0.0)


def test_delays_double_up_to_the_longest_and_then_it_rests() -> None:
    health = Health()
    delays = [fail(health) for _ in range(THRESHOLD - 1)]
    assert delays == [min(LONGEST_DELAY, FIRST_DELAY * 2**number) for number in range(THRESHOLD - 1)]
    assert health.state == "waiting"
    assert fail(health) == REST
    assert health.state == "failed"
    assert health.restarts == THRESHOLD


def test_an_application_that_cannot_be_imported_rests_at_once_and_ever_longer() -> None:
    health = Health()
    assert [fail(health, 78) for _ in range(7)] == [*CONFIGURATION_REST, CONFIGURATION_REST[-1], CONFIGURATION_REST[-1]]
    assert health.state == "failed"


def test_being_ready_for_long_makes_earlier_failures_forgotten() -> None:
    health = Health()
    for _ in range(5):
        fail(health)
    assert fail(health, ready_for=STABLE) == FIRST_DELAY
    assert fail(health, ready_for=STABLE - 1) == FIRST_DELAY * 2


def test_the_reason_is_what_the_child_said_or_how_it_ended() -> None:
    health = Health()
    fail(health, -11)
    assert health.last_error == "killed by SIGSEGV"
    health.started(1, 0.0, 0.0)
    health.lines.append("the last line")
    health.ended(3, 0.0, 0.0)
    assert health.last_error == "ended with exit code 3: the last line"
    health.started(1, 0.0, 0.0)
    health.complaint = "no such module"
    health.ended(78, 0.0, 0.0)
    assert health.last_error == "no such module"
    health.started(1, 0.0, 0.0)
    assert health.complaint == ""


def test_only_the_last_lines_are_kept() -> None:
    health = Health()
    health.lines.extend(str(number) for number in range(100))
    assert list(health.lines) == [str(number) for number in range(100 - LAST_LINES, 100)]


def test_something_is_due_only_while_a_child_starts_or_rests() -> None:
    health = Health(next_start=3.0)
    assert (health.resting, health.running, health.next_event) == (True, False, 3.0)
    health.started(7, 10.0, 0.0)
    assert (health.resting, health.running, health.next_event) == (False, True, 10.0 + START_TIMEOUT)
    health.became_ready(11.0, 0.0)
    assert (health.resting, health.running, health.next_event) == (False, True, None)
    health.enter("stopped", 0.0)
    assert (health.resting, health.running, health.next_event) == (False, False, None)


def test_exit_codes_are_put_into_words() -> None:
    assert describe_exit(0) == "ended with exit code 0"
    assert describe_exit(-9) == "killed by SIGKILL"
    assert describe_exit(-63) == "killed by signal 63"

"""Where a run's time goes, and the end of a job that hangs."""

import json
import subprocess
import sys
import time

import pytest
from support.toy_run import run, run_config

from jaxharm.config import LogConfig
from jaxharm.training import session
from jaxharm.training.clock import Clock, Watchdog, goodput, goodput_line, told_while


def test_every_second_is_in_one_phase():
    clock, begin = Clock(), time.monotonic()
    clock.enter("step")
    with clock.during("input"):
        time.sleep(0.05)
        with clock.during("compile"):
            time.sleep(0.02)
    spent = clock.seconds()
    assert spent["input"] >= 0.05
    assert spent["compile"] >= 0.02
    assert sum(spent.values()) == pytest.approx(time.monotonic() - begin, abs=0.02)


def record(first, reached, started, /, **seconds):
    return {"step": first, "reached": reached, "started": started, "seconds": seconds}


def test_goodput_of_a_run_that_was_killed():
    first = record(0, 100, "2030-01-01T00:00:00+0000", start=5, compile=15, step=100, save=2)
    again = record(80, 200, "2030-01-01T00:03:00+0000", start=5, compile=5, step=120, evaluate=8)
    found = goodput([first, again])
    assert found["lost"] == 20  # steps 81 to 100
    assert found["useful"] == 200
    assert found["between"] == 58  # from 2:02, where the first one is heard of last
    assert found["wall"] == 180 + 138
    assert found["share"] == pytest.approx(200 / 318, abs=1e-3)
    line = goodput_line(found)
    assert line.startswith("63% of 318.0 s went into steps; the rest: 20.0 s compiling, 8.0 s eval")
    assert "20.0 s done twice, 58.0 s not running" in line


def test_goodput_where_a_session_ended_before_it_trained_and_where_a_clock_was_put_back():
    begun = {"step": 0, "started": "2030-01-01T00:00:10+0000"}
    trained = record(0, 10, "2030-01-01T00:00:00+0000", start=1, step=9)
    found = goodput([begun, trained])
    assert (found["between"], found["lost"], found["wall"], found["share"]) == (0, 0, 10, 0.9)
    assert goodput([])["share"] == 0


def test_run_json_says_where_the_time_went(tmp_path, capsys):
    begin = time.monotonic()
    run(run_config(), tmp_path)
    wall = time.monotonic() - begin
    record = json.loads((tmp_path / "run.json").read_text())
    (start,) = record["starts"]
    assert start["reached"] == 6
    assert sum(start["seconds"].values()) == pytest.approx(record["goodput"]["wall"], abs=0.01)
    assert record["goodput"]["wall"] <= wall
    assert record["goodput"]["lost"] == 0
    assert goodput_line(record["goodput"]) in capsys.readouterr().out


def test_a_long_compilation_says_that_it_goes_on(capsys):
    with told_while("compiling", print, every=0.01):
        time.sleep(0.05)
    assert capsys.readouterr().out.startswith("still compiling (0 s)\n")


HANGS = """
import time
from jaxharm.training.clock import Watchdog
with Watchdog({limit}) as watchdog:
    watchdog.moved("in step 7")
    for _ in range(8):
        time.sleep(0.1)
        {moved}
print("ended")
"""


@pytest.mark.parametrize(
    ("limit", "moved", "status"),
    [(0.4, "", 70), (0.4, "watchdog.moved('in step 8')", 0), (0, "", 0)],
)
def test_a_job_that_hangs_is_ended_and_says_where(limit, moved, status):
    program = HANGS.format(limit=limit, moved=moved)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == status
    assert done.stdout == ("" if status else "ended\n")
    if status:
        assert done.stderr.startswith("error: process 0 of 1 on ")
        assert "has been in step 7 for" in done.stderr
        assert "log.hang_limit=0.4" in done.stderr
        assert "time.sleep" in done.stderr or 'File "<string>"' in done.stderr


def test_the_watchdog_of_a_run_has_its_limit_and_hears_of_all_it_does(tmp_path, monkeypatch):
    heard = []

    class Noted(Watchdog):
        def __init__(self, limit):
            super().__init__(limit)
            heard.append(limit)

        def moved(self, doing):
            super().moved(doing)
            heard.append(doing)

    monkeypatch.setattr(session, "Watchdog", Noted)
    run(run_config(log=LogConfig(every=2, images_every=0, hang_limit=600)), tmp_path)
    assert heard[0] == 600
    known = {"compiling the training step", "in step 6", "evaluating after step 6"}
    assert known | {"saving step 4", "waiting for the last checkpoint"} <= set(heard)

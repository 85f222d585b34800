"""Real processes that are killed, stopped or run out of disk, then run again."""

import pytest
from support.toy_run import curve, saved


def assert_same_run(workdir, undisturbed):
    assert saved(workdir) == saved(undisturbed)
    assert curve(workdir) == curve(undisturbed)
    for name in ("weights.safetensors", "manifest.json"):
        assert (workdir / "weights" / name).read_bytes() == (
            undisturbed / "weights" / name
        ).read_bytes()


@pytest.mark.slow
def test_kill_in_training_then_rerun(toy_command, undisturbed, tmp_path):
    assert toy_command(tmp_path, "--kill-at-batch", 5)[0] == -9
    status, _, errors = toy_command(tmp_path)
    assert status == 0, errors
    assert_same_run(tmp_path, undisturbed)


@pytest.mark.slow
def test_kill_in_a_checkpoint_then_rerun(toy_command, undisturbed, tmp_path):
    assert toy_command(tmp_path, "--kill-in-checkpoint", 4)[0] == -9
    assert [p.name for p in (tmp_path / "last").iterdir() if p.name.isdigit()] == ["2"]
    assert list((tmp_path / "last").glob("4.orbax-checkpoint-tmp*"))
    status, output, errors = toy_command(tmp_path)
    assert status == 0, errors
    assert "resumed at step 2" in output
    assert_same_run(tmp_path, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_request_to_stop_saves_and_rerun_resumes(toy_command, undisturbed, tmp_path, signal):
    status, output, errors = toy_command(tmp_path, "--term-at-evaluation", 1, "--signal", signal)
    assert status == 0, errors
    assert "stopped at step 3 on request" in output.splitlines()[-1]
    assert "run the same command again to resume" in output.splitlines()[-1]
    status, output, errors = toy_command(tmp_path)
    assert status == 0, errors
    assert "resumed at step 3" in output
    assert_same_run(tmp_path, undisturbed)


@pytest.mark.slow
def test_disk_full_in_a_checkpoint_keeps_the_previous_one(toy_command, undisturbed, tmp_path):
    status, _, errors = toy_command(tmp_path, "--disk-full-at-evaluation", 2)
    assert status == 2
    assert errors.count("\n") == 1
    assert errors.startswith("error: a checkpoint could not be written to")
    assert "that of step 2 is kept" in errors
    status, output, errors = toy_command(tmp_path)
    assert status == 0, errors
    assert "resumed at step 2" in output
    assert_same_run(tmp_path, undisturbed)

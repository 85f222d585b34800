"""The scaling plan of benchmarks/: its arithmetic, its input, and no record lost or doubled."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from jaxharm.chips.targets import CHIPS
from jaxharm.errors import InputError

FILE = Path(__file__).resolve().parents[1] / "benchmarks" / "scaling_model.py"


@pytest.fixture(scope="module")
def model():
    spec = importlib.util.spec_from_file_location("scaling_model", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["scaling_model"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["scaling_model"]


def record(topology="v5e:4x4", **step):
    figures = {"images_per_chip": 2, "bytes": None, **step}
    figures.setdefault("collectives", {"count": 10, "bytes": 10**8})
    run = "toy at 64x64, batch 32 on 16 x TPU v5e, bfloat16"
    return {"run": run, "topology": topology, "streams": 1, "training step": figures}


def test_a_step_is_its_work_and_its_exchanges(model):
    (row,) = model.rows(record(seconds=0.05), [256], 0.4, 60.0, {})
    # 10 x 2 x 16 hops of 1 us, and 2 x 255/256 of 100 MB over 200 GB/s.
    exchange = 10 * 2 * 16e-6 + 2 * 255 / 256 * 1e8 / 200e9
    assert row["exchange ms"] == pytest.approx(exchange * 1e3, abs=0.01)
    assert row["step ms"] == pytest.approx(50 + exchange * 1e3, abs=0.01)
    assert row["batch"] == 512
    assert row["binds"] == "chip"


def test_one_chip_exchanges_nothing_and_more_chips_never_less(model):
    links = model.LINKS["v5e"]
    times = [links.exchange(10, 1e8, chips) for chips in (1, 2, 8, 256, 512, 1024)]
    assert times[0] == 0
    assert times == sorted(times)


def test_a_gpu_takes_the_longer_of_arithmetic_and_memory(model):
    chip = CHIPS["h200"]
    on_tpu = record("v5e:4x4", bytes=2 * chip.bandwidth, seconds=1.0)
    traffic = model.bytes_of_images([on_tpu])
    assert traffic == {"toy at 64x64": chip.bandwidth}
    step = record("h200:8", operations=0.4 * chip.peak)
    assert model.work_seconds(step, chip, 0.4, traffic) == pytest.approx(2)
    assert model.work_seconds(step, chip, 0.4, {"toy at 64x64": 0}) == pytest.approx(1)
    with pytest.raises(InputError, match="nothing counts the bytes of toy at 64x64"):
        model.work_seconds(step, chip, 0.4, {})


def test_input_binds_where_a_host_has_too_few_cores(model):
    nothing = {"count": 0, "bytes": 0}
    # 4 chips of 2 images in 1 ms are 8,000 images a second: 133 cores of 60, where a host has 112.
    (row,) = model.rows(record(seconds=0.001, collectives=nothing), [8], 0.4, 60.0, {})
    assert row["cores"] == "134 of 112"
    assert row["binds"] == "input, 1.2 times"


@pytest.mark.parametrize(("records", "hosts", "each"), [(1000, 7, 3), (64, 64, 1), (100, 1, 9)])
def test_every_record_of_whole_batches_is_read_once(model, records, hosts, each):
    seen = model.deal(records, hosts, each, seed=5)
    assert len(seen) == records // (hosts * each) * hosts * each
    assert set(seen.values()) == {1}


def test_the_command_prints_a_plan_and_counts(model, tmp_path, monkeypatch, capsys):
    file = tmp_path / "toy.json"
    file.write_text(json.dumps(record(seconds=0.05)))
    monkeypatch.setattr(sys, "argv", ["scaling_model.py", str(file), "--chips", "8", "1024"])
    assert model.main() == 0
    printed = capsys.readouterr().out
    assert "| toy at 64x64 | TPU v5e | 1024 | 2048 |" in printed
    assert "24576 of 24576 in whole batches were read, 0 of them more than once" in printed

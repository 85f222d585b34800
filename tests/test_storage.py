"""Folders in a bucket, here one that fsspec keeps in memory: copies of them, and runs in them."""

import json
import time
from pathlib import Path

import fsspec
import pytest
from support.fixtures_data import write_tree
from support.toy_run import curve, run_config, saved, toy_evaluate, toy_stream

from data_pipelines.build import build
from data_pipelines.loader import eval_batches
from data_pipelines.reading import dataset_info, list_built
from jaxharm import storage
from jaxharm.errors import InputError
from jaxharm.registry import make_system
from jaxharm.storage import Bucket, Mirror, is_bucket, local_copy, path_of
from jaxharm.training import run_folder
from jaxharm.training.loop import train_task
from jaxharm.training.run_folder import opened_folder
from jaxharm.training.task import Programs, Task
from jaxharm.weights.portable import load_variables

URL = "memory://bucket/run"


@pytest.fixture(autouse=True)
def empty_bucket(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXHARM_CACHE", str(tmp_path / "cache"))
    files = fsspec.filesystem("memory")
    yield files
    if files.exists("/bucket"):
        files.rm("/bucket", recursive=True)


@pytest.fixture
def another_machine(tmp_path, monkeypatch):
    """Makes what follows find no copies."""
    return lambda: monkeypatch.setenv("JAXHARM_CACHE", str(tmp_path / "another"))


def train(url=URL, steps=6, stop_at=None):
    """Trains the toy system in a folder; stops as a killed process does before step `stop_at`."""

    def stream(start):
        for step, batch in enumerate(toy_stream(8, start, slice(0, 8)), start):
            if step == stop_at:
                raise KeyboardInterrupt
            yield batch

    config = run_config(steps=steps)
    system = make_system(config, total_steps=steps)
    with opened_folder(url) as folder:
        task = Task(config, system, folder, stream, toy_evaluate)
        return train_task(task, Programs(task))


def test_what_is_in_a_bucket():
    assert [is_bucket(p) for p in ("gs://b/x", "s3://b", "/a", "file:///a", "a")] == [
        *(True, True, False, False, False)
    ]
    assert str(path_of("file:///a/b")) == "/a/b"
    with pytest.raises(
        InputError, match="gs://b/x is in a bucket, and this needs a folder of this"
    ):
        path_of("gs://b/x")


def test_a_scheme_that_is_not_known_or_has_no_library(monkeypatch):
    with pytest.raises(InputError, match="nothing is known of ftps3://"):
        Bucket("ftps3://b")

    def missing(url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(InputError, match="pip install s3fs"):
        Bucket("s3://b")


def test_a_copy_is_brought_up_to_date_and_what_it_holds_is_not_fetched_again(
    empty_bucket, monkeypatch
):
    for name in ("a/x.txt", "a/y.txt", "z.txt"):
        empty_bucket.pipe_file(f"/bucket/run/{name}", name.encode())
    fetched = []
    get = Bucket.get

    def noted(bucket, name, file):
        fetched.append(name)
        get(bucket, name, file)

    monkeypatch.setattr(Bucket, "get", noted)
    folder = local_copy(URL, lambda names: [n for n in names if n.startswith("a/")])
    assert fetched == ["a/x.txt", "a/y.txt"]
    assert (folder / "a" / "x.txt").read_bytes() == b"a/x.txt"
    empty_bucket.pipe_file("/bucket/run/a/x.txt", b"new")
    empty_bucket.rm_file("/bucket/run/a/y.txt")
    assert local_copy(URL) == folder
    assert fetched == ["a/x.txt", "a/y.txt", "a/x.txt", "z.txt"]
    assert (folder / "a" / "x.txt").read_bytes() == b"new"
    assert not (folder / "a" / "y.txt").exists()


def test_a_name_that_leads_out_of_the_folder_is_refused(monkeypatch):
    monkeypatch.setattr(Bucket, "tags", lambda self: {"../../evil.txt": "1"})
    with pytest.raises(InputError, match="leads out of its folder"):
        local_copy(URL)


def test_whatever_the_library_raises_is_a_sentence(monkeypatch):
    def refused(*arguments, **options):
        raise PermissionError("Forbidden: no such credentials")

    bucket = Bucket(URL)
    monkeypatch.setattr(bucket._files, "find", refused, raising=False)
    with pytest.raises(InputError, match=r"cannot read memory://bucket/run \(Forbidden: no such"):
        bucket.tags()


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def test_a_file_that_arrives_cut_is_sent_as_a_stream(tmp_path, empty_bucket, monkeypatch):
    """As gcsfs does it with files whose last byte a server takes for part of a separator."""
    put_file = type(empty_bucket).put_file

    def loses_a_byte(self, local, remote, **options):
        put_file(self, local, remote, **options)
        self.pipe_file(remote, self.cat_file(remote).removesuffix(b"\r"))

    monkeypatch.setattr(type(empty_bucket), "put_file", loses_a_byte)
    (tmp_path / "a").write_bytes(b"ends in\r")
    bucket = Bucket(URL)
    assert bucket.put(tmp_path / "a", "a").startswith("8 ")
    assert bucket.read("a") == b"ends in\r"
    monkeypatch.setattr(Bucket, "_send_as_stream", lambda self, file, place: None)
    with pytest.raises(InputError, match="of a, which has 8 bytes, it holds 7"):
        bucket.put(tmp_path / "a", "a")


def test_a_file_that_comes_cut_is_tried_again_and_never_taken(tmp_path, empty_bucket, monkeypatch):
    empty_bucket.pipe_file("/bucket/run/a", b"whole")
    get_file, times = type(empty_bucket).get_file, []

    def cut_at_first(self, remote, local, **options):
        get_file(self, remote, local, **options)
        times.append(1)
        if len(times) <= cuts:
            cut(Path(local))

    monkeypatch.setattr(type(empty_bucket), "get_file", cut_at_first)
    cuts = 2
    Bucket(URL).get("a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"whole"
    cuts = 100
    with pytest.raises(InputError, match="4 of the 5 bytes of a came: run the same command again"):
        Bucket(URL).get("a", tmp_path / "c")
    assert not list(tmp_path.glob("c*"))  # nor a part of it


def test_a_marker_is_sent_last_and_removed_first(monkeypatch):
    done = []
    monkeypatch.setattr(Bucket, "put", lambda self, file, name: done.append(name) or "1")
    monkeypatch.setattr(Bucket, "remove", lambda self, names: done.extend(names))
    with Mirror(URL) as mirror:
        folder = mirror.folder / "last" / "4"
        folder.mkdir(parents=True)
        for name in ("_CHECKPOINT_METADATA", "a", "z", "x.partial"):
            (folder / name).write_text(name)
        mirror.send()
        assert done == ["last/4/a", "last/4/z", "last/4/_CHECKPOINT_METADATA"]
        mirror.send()
        assert len(done) == 3
        for name in ("_CHECKPOINT_METADATA", "a", "z"):
            (folder / name).unlink()
        done.clear()
        mirror.send()
        assert sorted(done) == ["last/4/_CHECKPOINT_METADATA", "last/4/a", "last/4/z"]
        assert done[0] == "last/4/_CHECKPOINT_METADATA"


def test_a_checkpoint_that_was_being_sent_is_no_part_of_the_run(empty_bucket):
    for name in ("last/4/_CHECKPOINT_METADATA", "last/4/a", "last/6/a", "run.json"):
        empty_bucket.pipe_file(f"/bucket/run/{name}", b"1")
    with Mirror(URL) as mirror:
        assert not (mirror.folder / "last" / "6").exists()
        assert (mirror.folder / "last" / "4" / "a").is_file()
    assert not empty_bucket.exists("/bucket/run/last/6/a")


def test_a_run_in_a_bucket_resumes_on_another_machine(tmp_path, another_machine, capsys):
    train(str(tmp_path / "plain"))
    with pytest.raises(KeyboardInterrupt):
        train(stop_at=5)
    another_machine()
    capsys.readouterr()
    train()
    said = capsys.readouterr().out
    assert "resumed at step 4" in said
    assert f"weights in {URL}/weights" in said
    folder = local_copy(URL)
    assert saved(folder) == saved(tmp_path / "plain")
    assert curve(folder) == curve(tmp_path / "plain")
    assert list((folder / "tensorboard").iterdir())
    weights = [load_variables(place) for place in (URL, tmp_path / "plain")]
    assert json.dumps(weights[0][0]) == json.dumps(weights[1][0])
    train()
    assert f"the run in {URL} is finished (6 steps)" in capsys.readouterr().out


@pytest.mark.slow
def test_what_could_not_be_sent_is_still_here(monkeypatch, capsys):
    def full(self, file, name):
        raise InputError("cannot write to memory://bucket/run (quota)")

    put = Bucket.put
    train(steps=2)
    monkeypatch.setattr(Bucket, "put", full)
    with pytest.raises(InputError, match="cannot write to memory://bucket/run"):
        train(steps=6)
    monkeypatch.setattr(Bucket, "put", put)
    capsys.readouterr()
    train(steps=6)
    assert "is finished (6 steps)" in capsys.readouterr().out
    assert "last/6/_CHECKPOINT_METADATA" in Bucket(URL).tags()


@pytest.mark.slow
def test_a_second_job_is_kept_out_and_a_killed_one_is_not_waited_for_long(
    monkeypatch, empty_bucket, capsys
):
    note = f"/bucket/run/{storage.NOTE}"
    train(steps=2)
    assert not empty_bucket.exists(note)
    monkeypatch.setattr(run_folder, "_SURE", 3)
    left = {"job": "1", "who": "process 7 on host a", "until": time.time() + 100}
    empty_bucket.pipe_file(note, json.dumps(left).encode())
    train(steps=4)
    assert "is held by process 7 on host a; waiting up to 3 s" in capsys.readouterr().out
    times = iter(range(100))
    read = Bucket.read

    def renewed(self, name):
        return json.dumps({**left, "until": time.time() + 100 + next(times)}).encode()

    monkeypatch.setattr(Bucket, "read", renewed)
    with pytest.raises(InputError, match=r"another job is training in .* \(process 7 on host a\)"):
        train(steps=6)
    monkeypatch.setattr(Bucket, "read", read)


def test_data_sets_in_a_bucket_are_read_through_a_copy(tmp_path, empty_bucket):
    tree = write_tree(tmp_path / "tree", {"small_test.txt": ["a0_1_1.jpg"]})
    build("folder", manual_dir=tree, data_dir=tmp_path / "data", name="small")
    empty_bucket.put(str(tmp_path / "data"), "/bucket/data", recursive=True)
    place = "memory://bucket/data"
    assert list_built(place) == ["small"]
    assert dataset_info("small", place).splits == dataset_info("small", tmp_path / "data").splits
    with eval_batches("small", data_dir=place, split="test", image_size=32) as batches:
        assert next(batches).composite.shape[1:3] == (32, 32)
    with pytest.raises(InputError, match="is in a bucket"):
        build("folder", manual_dir=tree, data_dir=place)

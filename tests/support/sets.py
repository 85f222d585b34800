"""Small evaluation sets in memory, and a command that evaluates one in several processes."""

import json
import sys
from pathlib import Path

import numpy as np

if __name__ == "__main__":  # a command: the path that conftest.py gives to tests
    sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from jaxharm.interfaces import Output
from jaxharm.schema import Batch


def images(count, side=16, seed=0):
    """Records: sub-dataset a and b, names in order, foreground boxes of growing width."""
    rng = np.random.default_rng(seed)
    records = []
    for i in range(count):
        target = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        mask = np.zeros((side, side, 1), np.float32)
        mask[2:8, 2 : 3 + i % (side - 3)] = 1
        composite = np.where(mask > 0, target // 2 + 30, target).astype(np.uint8)
        records.append((f"image{i}", "ab"[i % 3 == 0], composite, mask, target))
    return records


def batches(records, size, *, process=0, processes=1):
    """Evaluation batches of `size` records in all, this process's rows, the last one padded."""
    rows = size // processes
    for start in range(0, len(records), size):
        places = range(start + process * rows, start + (process + 1) * rows)
        chosen = [records[min(p, len(records) - 1)] for p in places]
        yield Batch(
            composite=np.stack([r[2] for r in chosen]),
            mask=np.stack([r[3] for r in chosen]),
            target=np.stack([r[4] for r in chosen]),
            index=np.array(places, np.int32),
            valid=np.array([p < len(records) for p in places], np.float32),
            composite_id=np.array([r[0] for r in chosen], object),
            subset=np.array([r[1] for r in chosen], object),
        )


def halfway(batch):
    """A model that removes three quarters of every error, the background exactly."""
    composite, target = (x.astype(np.float32) / 255 for x in (batch.composite, batch.target))
    return Output(image=composite + np.float32(0.75) * (target - composite))


def identity(batch):
    return Output(image=batch.composite.astype(np.float32) / 255)


def main():
    import jax

    from jaxharm.errors import InputError
    from jaxharm.evaluation.evaluate import evaluate
    from jaxharm.evaluation.gallery import Gallery

    port, process, out, broken = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=process)

    def predict(batch):
        image = halfway(batch).image
        if broken in batch.composite_id:
            image[0, 0, 0, 0] = np.nan
        return Output(image=image)

    gallery = Gallery(6)
    mine = batches(images(11), 4, process=process, processes=2)
    try:
        result = evaluate(predict, mine, "default_256", observers=[gallery])
    except InputError as error:
        print(error)
        return
    (out / f"summary{process}.json").write_text(json.dumps([result.summary, result.baseline]))
    gallery.write(result, out / "gallery.html")


if __name__ == "__main__":
    main()

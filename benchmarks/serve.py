"""How fast the HTTP service answers, and how fast the studio shows a curve that is being dragged.

    python benchmarks/serve.py --checkpoint WEIGHTS --megapixels 2

Starts `jaxharm studio` on this machine and sends it requests from 1, 4 and 16 clients at once, each of
which waits for its answer before it sends the next. Times are the clients' own, the picture's coding and
decoding included. Only this machine is addressed; everything stops by itself.
"""

import argparse
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np

from jaxharm.images import Tags, encode_image
from jaxharm.registry import SHIPPED

CLIENTS = (1, 4, 16)
SECONDS = 300.0


@contextmanager
def running(checkpoint: str | None, queue: int) -> Iterator[str]:
    """The address of a studio that runs meanwhile."""
    command = [sys.executable, "-m", "jaxharm", "studio", "--no-browser", "--port", "0"]
    command += [
        "--queue",
        str(queue),
        *(["--checkpoint", f"tried={checkpoint}"] if checkpoint else []),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.match(r"(http://\S+)/", process.stdout.readline())
        assert found, "the server did not start"
        try:
            yield found[1]
        finally:
            process.terminate()


def pictures(megapixels: float) -> dict[str, bytes]:
    """A composite of soft shapes with grain, and its mask, as PNG."""
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    width = round(height * 1.5)
    y, x = np.mgrid[:height, :width] / height
    soft = np.stack([np.sin(4 * x + k) * np.cos(3 * y - k) for k in (0, 1, 2)], -1)
    grain = np.random.default_rng(0).normal(0, 3, soft.shape)
    composite = np.clip(127 + 80 * soft + grain, 0, 255).astype(np.uint8)
    mask = ((np.hypot(x - 0.75, y - 0.5) < 0.3) * 255).astype(np.uint8)[..., None]
    files = {"composite": composite, "mask": mask}
    return {name: b"".join(encode_image("a.png", p, Tags())) for name, p in files.items()}


def timed(
    send: Callable[[httpx.Client], httpx.Response], clients: int, each: int
) -> dict[str, Any]:
    """Times of `clients` that send `each` requests."""
    spent, refused, lock = list[float](), 0, threading.Lock()

    def work() -> None:
        nonlocal refused
        with httpx.Client(timeout=SECONDS) as client:
            for _ in range(each):
                started = time.perf_counter()
                answer = send(client)
                seconds = time.perf_counter() - started
                with lock:
                    if answer.status_code == 200:
                        spent.append(seconds)
                    else:
                        refused += 1

    threads = [threading.Thread(target=work) for _ in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = time.perf_counter() - started
    return {"spent": sorted(spent), "refused": refused, "rate": len(spent) / whole}


def quantiles(spent: list[float]) -> tuple[float, float]:
    """Median and 95th percentile, in milliseconds."""
    return 1e3 * statistics.median(spent), 1e3 * spent[max(0, int(0.95 * len(spent)) - 1)]


def show_service(address: str, files: dict[str, bytes], model: str, each: int) -> None:
    """Prints a table of the service."""

    def send(client: httpx.Client) -> httpx.Response:
        parts = {name: (f"{name}.png", data) for name, data in files.items()}
        if model != SHIPPED:
            parts["background"] = parts["composite"]
        form = {"model": model, "format": "jpg"}
        return client.post(f"{address}/v1/harmonize", files=parts, data=form)

    with httpx.Client(timeout=SECONDS) as client:
        answer = send(client)
        answer.raise_for_status()
    print(f"| clients ({model}) | p50, ms | p95, ms | requests a second | refused |")
    print("|---:|---:|---:|---:|---:|")
    for clients in CLIENTS:
        found = timed(send, clients, each)
        p50, p95 = quantiles(found["spent"])
        print(
            f"| {clients} | {p50:.0f} | {p95:.0f} | {found['rate']:.1f} | {found['refused']} |",
            flush=True,
        )


def show_drag(address: str, files: dict[str, bytes], model: str) -> None:
    """Prints how long it takes to see a curve that was changed."""
    with httpx.Client(base_url=address, timeout=SECONDS) as client:

        def ask(path: str, said: dict[str, Any]) -> httpx.Response:
            answer = client.post(f"/studio/{path}", json=said)
            answer.raise_for_status()
            return answer

        names = {}
        for role, data in files.items():
            answer = client.post("/studio/pictures", files={"picture": (f"{role}.png", data)})
            names[role] = answer.json()["picture"]
        scene = ask("scenes", names).json()
        said = {"scene": scene["scene"], "model": model}
        made = ask("looks", said).json()
        if made["editable"] is None:
            return
        curve = made["editable"]["curves"]["red"]
        region = [0, 0, scene["width"], scene["height"], scene["width"]]
        spent, inside = [], []
        for number in range(60):
            changed = [min(1.0, value + 0.002 * number) for value in curve]
            started = time.perf_counter()
            answer = ask("view", {**said, "region": region, "curves": {"red": changed}})
            spent.append(time.perf_counter() - started)
            inside.append(float(answer.headers["server-timing"].split("dur=")[1]) / 1e3)
    size = f"{scene['width']} x {scene['height']}"
    p50, p95 = quantiles(sorted(spent[5:]))
    print(
        f"a curve dragged ({model}, {size} shown): p50 {p50:.0f} ms, p95 {p95:.0f} ms, of which "
        f"rendering and JPEG {1e3 * statistics.median(inside[5:]):.0f} ms"
    )


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--checkpoint", help="further weights to try")
    parser.add_argument("--megapixels", type=float, default=2.0)
    parser.add_argument("--requests", type=int, default=20, help="of each client")
    arguments = parser.parse_args()
    files = pictures(arguments.megapixels)
    with running(arguments.checkpoint, queue=64) as address:
        for model in (SHIPPED, *(["tried"] if arguments.checkpoint else [])):
            show_drag(address, files, model)
            show_service(address, files, model, arguments.requests)


if __name__ == "__main__":
    main()

"""Decode images in processes of their own: encoded bytes go in, pixels come out, through pipes.

A worker is `python -m unnoise.data.workers`. It imports neither torch nor the program that started it, so a script
needs no guard around its main part, and any source can be read: its files are opened by the process that trains. A
request and a reply are each a line of JSON, and the bytes that it lists.
"""

import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any, BinaryIO

import numpy as np

from unnoise.data.dataset import PixelArray, Size
from unnoise.data.decode import Decoded, try_decode
from unnoise.errors import InputError

FEW = 2000  # images that are decoded sooner than workers have started
MOST = 16  # workers that are chosen by themselves
AHEAD = 2  # batches that wait for each worker
READY = b"ready\n"

Decoding = Generator[list[Decoded], None, None]
Named = tuple[str, bytes]  # an image: its name, and its bytes


def worker_count(asked: int, images: int) -> int:
    """Return the number of worker processes; 0 decodes in this one. asked: 0 to choose."""
    if asked:
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if images < FEW or cores == 1 else min(cores, MOST)


class Worker:
    """A process that decodes images; it is started again where an image ends it."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        places = os.pathsep.join(place or os.getcwd() for place in sys.path)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "unnoise.data.workers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": places, "OMP_NUM_THREADS": "1"},
        )
        if _pipe(self.process.stdout).readline() != READY:
            raise InputError(f"data.workers: {sys.executable} -m unnoise.data.workers does not start; set workers = 0")

    def decode(self, images: Sequence[Named], size: Size) -> list[Decoded]:
        """Decode images; one that ends the process, as a fault of a decoder may, is unreadable."""
        try:
            return self._ask(images, size)
        except (OSError, EOFError):
            status = self.process.wait()
            self.close()
            self._start()
        if len(images) == 1:
            return [Decoded(None, f"its decoder ended with status {status}")]
        return [self.decode([image], size)[0] for image in images]

    def _ask(self, images: Sequence[Named], size: Size) -> list[Decoded]:
        request = {"size": size, "images": [[name, len(raw)] for name, raw in images]}
        _send(_pipe(self.process.stdin), request, (raw for _, raw in images))
        replies = _pipe(self.process.stdout)
        found = json.loads(_line(replies))
        return [
            Decoded(_pixels(replies, size, channels) if channels else None, error, tuple(said))
            for channels, error, said in found
        ]

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):  # what is left to write goes nowhere
                _pipe(pipe).close()


def decode_batches(batches: Iterable[Sequence[Named]], size: Size, workers: int) -> Decoding:
    """Decode batches of images in their order; a few batches are read ahead.

    Args:
        batches: names and bytes of images; they are taken in this thread.
        size: width and height of each.
        workers: processes; 0 decodes in this one.
    """
    if not workers:
        yield from ([try_decode(raw, size, name) for name, raw in batch] for batch in batches)
        return
    with _pool(workers) as (threads, free):

        def run(batch: Sequence[Named]) -> list[Decoded]:
            worker = free.get()
            try:
                return worker.decode(batch, size)
            finally:
                free.put(worker)

        waiting: deque[Any] = deque()
        for batch in batches:
            waiting.append(threads.submit(run, batch))
            if len(waiting) > AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def _pool(count: int) -> Iterator[tuple[ThreadPoolExecutor, "SimpleQueue[Worker]"]]:
    """Start workers, and as many threads to wait for them; end both however the block ends."""
    started: list[Worker] = []
    free: SimpleQueue[Worker] = SimpleQueue()
    threads = ThreadPoolExecutor(count, "decode")
    try:
        for _ in range(count):
            started.append(Worker())
            free.put(started[-1])
        yield threads, free
    finally:
        threads.shutdown(cancel_futures=True)
        for worker in started:
            worker.close()


def _pipe(stream: Any) -> BinaryIO:
    found: BinaryIO = stream
    return found


def _send(stream: BinaryIO, head: object, parts: Iterable[bytes]) -> None:
    stream.write(json.dumps(head).encode() + b"\n")
    for part in parts:
        stream.write(part)
    stream.flush()


def _line(stream: BinaryIO) -> bytes:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    return line


def _bytes(stream: BinaryIO, count: int) -> bytes:
    found = stream.read(count)
    if len(found) != count:
        raise EOFError
    return found


def _pixels(stream: BinaryIO, size: Size, channels: int) -> PixelArray:
    width, height = size
    return np.frombuffer(_bytes(stream, width * height * channels), np.uint8).reshape(height, width, channels)


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until there are no more."""
    replies.write(READY)
    replies.flush()
    while line := requests.readline():
        request = json.loads(line)
        width, height = request["size"]
        images = [(name, _bytes(requests, length)) for name, length in request["images"]]
        found = [try_decode(raw, (width, height), name) for name, raw in images]
        _send(
            replies,
            [[0 if one.pixels is None else one.pixels.shape[2], one.error, one.remarks] for one in found],
            (one.pixels.tobytes() for one in found if one.pixels is not None),
        )


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the process that trains, and the pipe ends this one
    with os.fdopen(os.dup(1), "wb") as pipe:
        os.dup2(2, 1)  # what a library prints is no reply
        serve(sys.stdin.buffer, pipe)

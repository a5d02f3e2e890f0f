"""The division of a stream of images among threads: for networks on a CPU, on a GPU, and in a foreign runtime."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from math import ceil
from threading import Lock, Thread

import torch

from segpipe.inference import CompiledNetwork, ExportedNetwork, Network

from .options import PipelineOptions

MAX_WORKERS = 8
"""A CPU computes at most this many images at once; with more cores each gets several."""
LOOK_AHEAD = 4
"""Images of one input size are looked for among this many batches."""

_setting = Lock()


@dataclass(frozen=True, kw_only=True)
class StreamPlan:
    """The division of a stream's work.

    Attributes:
        batch_size: images of one input size that go through the network together.
        readers: threads that read and resize.
        workers: threads that run the network and make results.
        networks: workers that may be in the network at once.
        threads: intra-op threads of torch for each worker. If None, the setting is left unchanged.
        window: images that are on their way at once.
    """

    batch_size: int
    readers: int
    workers: int
    networks: int
    threads: int | None
    window: int


def plan_stream(network: Network, options: PipelineOptions, count: int | None) -> StreamPlan:
    """Return the plan for `count` images, by where a network computes and what executes it.

    If `count` is None, the length of the stream is unknown.
    """
    if network.pixel_mean.device.type != "cpu":
        return plan_batches(options)
    if isinstance(network, ExportedNetwork):  # has threads of its own for one image, while a few label another
        return _plan_single_images(options, workers=2, networks=1, threads=max(1, torch.get_num_threads() // 4))
    if isinstance(network, CompiledNetwork):  # whose code is made for one number of threads
        return _plan_single_images(options, workers=1, networks=1, threads=torch.get_num_threads())
    return plan_side_by_side(options, count)


def plan_batches(options: PipelineOptions) -> StreamPlan:
    """Return the plan for a GPU: one batch is sent to the network while the results of another are waited for."""
    readers = options.readers or min(8, os.cpu_count() or 1)
    batches = 3 if options.batch_size == 1 else LOOK_AHEAD
    return StreamPlan(
        batch_size=options.batch_size,
        readers=readers,
        workers=2,
        networks=1,
        threads=None,
        window=options.batch_size * batches + 2 * readers,
    )


def plan_side_by_side(options: PipelineOptions, count: int | None) -> StreamPlan:
    """Return the plan for torch on a CPU: several images at once, each with its part of torch's threads.

    A network on one thread never waits for another thread, and while one image is read or labeled, others compute.
    """
    threads = torch.get_num_threads()
    most = threads // ceil(threads / MAX_WORKERS)
    workers = min(most, count or MAX_WORKERS) if _is_set_by_thread() else 1
    return _plan_single_images(options, workers=workers, networks=workers, threads=threads // workers)


def apply_thread_count(threads: int | None) -> None:
    """Limit torch to `threads` intra-op threads in this thread. If None, leave the setting unchanged.

    The calling thread must be new to torch, or have its number from here. `torch.set_num_threads` sets the number of
    the calling thread, and also the number that threads which are new to torch begin with. The second is put back at
    once, by a thread that ends with it.
    """
    if threads is None:
        return
    with _setting:
        before = torch.get_num_threads()
        if before == threads:
            return
        torch.set_num_threads(threads)
        restoring = Thread(target=torch.set_num_threads, args=(before,))
        restoring.start()
        restoring.join()


def leave_threads_to_workers() -> None:
    """Limit a new reading thread to one intra-op thread, since a resize asks torch for its number of threads."""
    if _is_set_by_thread():
        apply_thread_count(1)


def _plan_single_images(options: PipelineOptions, *, workers: int, networks: int, threads: int) -> StreamPlan:
    readers = options.readers or 2
    return StreamPlan(
        batch_size=1,
        readers=readers,
        workers=workers,
        networks=networks,
        threads=threads if _is_set_by_thread() else None,
        window=workers + 1 + 2 * readers,
    )


@cache
def _is_set_by_thread() -> bool:
    """Return whether each thread has its own number of threads, as where torch uses OpenMP in official builds."""
    return "parallel backend: OpenMP" in torch.__config__.parallel_info()

"""`worker`: the Faust application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.cli.context import directory_of
from connectors.cli.production import logged

if TYPE_CHECKING:
    import argparse

    from pipelines.worker.numbers import Numbers


def configure(parser: argparse.ArgumentParser) -> None:
    """Options: none of its own."""


def run(args: argparse.Namespace) -> int:
    """Count until stopped."""
    from contextlib import ExitStack

    from connectors.cli.wiring import worker_config
    from connectors.kafka import await_broker
    from connectors.metrics.readings import of_worker
    from connectors.metrics.serving import serving
    from pipelines.worker.run import run_worker

    settings = logged(args)
    await_broker(settings.kafka)
    folder = directory_of(args).path / "worker"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with ExitStack() as stack:

        def watched(numbers: Numbers) -> None:
            stack.enter_context(serving(settings.metrics.bind, lambda: of_worker(numbers)))

        return run_worker(worker_config(settings, folder), None, watched)

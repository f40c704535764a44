"""The endpoint: Prometheus's text format, from a thread of the process."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from connectors.errors import SettingsError
from connectors.metrics.catalogue import BY_NAME, PREFIX
from connectors.metrics.readings import Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from connectors.metrics.catalogue import Metric as Listed
    from connectors.metrics.readings import Read, Sample


@contextmanager
def serving(bind: str, read: Read) -> Iterator[str]:
    """Serve while the context lasts; gives `host:port`, empty where nothing is to be served.

    Args:
        bind: `host:port`, port 0 for any free one; empty: no endpoint.
        read: called for each scrape, in a thread of its own.

    Raises:
        SettingsError: when the address cannot be listened on.
    """
    if not bind:
        yield ""
        return
    registry = CollectorRegistry()
    registry.register(_Figures(read))
    ProcessCollector(registry=registry)
    host, port = _address(bind)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {bind} for metrics ({error.strerror or error}): set metrics.bind to a free address, one"
            " for each process on a machine"
        ) from error
    try:
        yield f"{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def moved(bind: str, places: int) -> str:
    """The address some ports further on, for processes of a machine that share a setting; any port stays any.

    Raises:
        SettingsError: when it is no address.
    """
    if not bind:
        return ""
    host, port = _address(bind)
    return f"{host}:{port and port + places}"


class _Figures(Collector):
    """Asks the process at each scrape."""

    def __init__(self, read: Read) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: what there is to say may begin later."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Samples, grouped by metric."""
        families: dict[str, Metric] = {}
        for sample in self._read():
            listed = BY_NAME[sample.name]
            _add(families.setdefault(listed.name, _family(listed)), sample)
        return families.values()


def _family(listed: Listed) -> Metric:
    kinds: dict[str, Callable[..., Metric]] = {
        "counter": CounterMetricFamily,
        "gauge": GaugeMetricFamily,
        "summary": SummaryMetricFamily,
        "histogram": HistogramMetricFamily,
    }
    text = f"{listed.unit} {listed.meaning}"
    return kinds[listed.kind](PREFIX + listed.name, text, labels=listed.labels)


def _add(family: Metric, sample: Sample) -> None:
    value = sample.value
    if isinstance(family, HistogramMetricFamily) and isinstance(value, Spread):
        family.add_metric(sample.labels, buckets=value.buckets, sum_value=value.total)
    elif isinstance(family, SummaryMetricFamily) and isinstance(value, Spread):
        family.add_metric(sample.labels, count_value=value.count, sum_value=value.total)
    elif isinstance(family, CounterMetricFamily | GaugeMetricFamily) and not isinstance(value, Spread):
        family.add_metric(sample.labels, value)
    else:
        raise TypeError(f"{sample.name} is no {family.type}")


def _address(bind: str) -> tuple[str, int]:
    host, _, port = bind.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004 - the last port
        raise SettingsError(f"metrics.bind is {bind}: write host:port, such as 0.0.0.0:9464")
    return host.strip("[]"), int(port)

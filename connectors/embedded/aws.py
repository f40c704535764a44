"""AWS on this machine: moto's server, for the demo."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Final

from connectors.embedded.broker import HOST
from connectors.errors import InstanceError

REGION: Final = "us-east-1"
ENVIRONMENT: Final = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",  # the stand-in takes any
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Credentials for the stand-in, so that no real ones are ever used with it."""

_SERVE: Final = """
import logging, signal, sys
logging.getLogger("werkzeug").setLevel(logging.ERROR)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
from werkzeug.serving import WSGIRequestHandler, run_simple
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
MotoRequestHandler.protocol_version = "HTTP/1.1"
run_simple(sys.argv[1], int(sys.argv[2]), DomainDispatcherApplication(create_backend_app), threaded=True,
           request_handler=MotoRequestHandler)
"""
"""What `moto_server` does, without a log line for each request and with connections kept open."""


def command(port: int) -> list[str]:
    """How the server is run.

    Raises:
        InstanceError: when the extra that brings it is not installed.
    """
    if find_spec("moto") is None or find_spec("flask") is None:
        raise InstanceError("the local AWS is not installed: pip install 'ses-streams[embedded]'")
    return [sys.executable, "-c", _SERVE, HOST, str(port)]

"""A part that does nothing: for tests of supervision, which need processes to die, not what they do."""

import os
import sys
import time
from pathlib import Path

from connectors.embedded.outside import Outside
from connectors.errors import SourceError

name, parent, reports = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
outside = Outside(parent, reports)
config = outside.configured()
behaviour = config.tasks.get(name, "")
if behaviour == "hopeless":
    outside.report("error", sentence="there is no such queue", code=SourceError.exit_code)
    sys.exit(3)
if behaviour == "dies":
    sys.stderr.write("out of luck\n")
    sys.exit(1)
outside.report("ready", door="127.0.0.1:1", token="t")
while not outside.stop.wait(0.02):
    if outside.recycle and name == "bridge":
        if behaviour == "dies when drained":
            sys.exit(1)
        outside.report("drained")
        time.sleep(0.2)  # what it says now comes while the others stop
        outside.report("done")
        moved = outside.moved(config)
        if moved is None:
            break
        outside.report("moved", broker=moved.broker)
        outside.report("ready")
if name == "sink":
    time.sleep(0.05)  # what it was told last must have come
    Path(config.directory, "clean").write_text(str(outside.drained))
if name == "bridge":
    outside.report("drained")
os._exit(0)

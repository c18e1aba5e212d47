"""A process that publishes one fresh car until it is ended: `python -m tests.publish.process PORT FOLDER KEEPALIVE`."""

import sys
import time
from pathlib import Path

from tests.publish.scene import publishing, settings, state

if __name__ == "__main__":
    port, folder, keepalive_s = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    with publishing(settings(port, folder), keepalive_s=keepalive_s) as (publisher, _):
        publisher.update(state())
        while True:
            time.sleep(1)

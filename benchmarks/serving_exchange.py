"""A server whose documents are exchanged all the time: all of them, every tenth one, all of them, ...

    python benchmarks/serving_exchange.py EXPERIMENT PORT SECONDS    serve, and exchange after so many seconds each

Every version has components of its own, opened anew, as an update has them.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from pathlib import Path

import numpy as np

from nirank.data import Documents
from nirank.serving.opening import Source, source
from nirank.serving.state import Holder, State


def versions(origin: Source) -> list[State]:
    """All documents, and every tenth one."""
    whole = origin.open()
    rows = np.arange(0, len(whole.corpus), 10)
    few = Documents(list(whole.corpus.ids.take(rows)), list(whole.corpus[rows]))
    return [whole, origin.over(few)]


def main() -> None:
    experiment, port, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    origin = source(str(experiment))
    holder = Holder(versions(origin)[0])
    threading.Thread(target=_exchange, args=(holder, origin, seconds), daemon=True).start()
    serve(holder, port)


def serve(holder: Holder, port: int) -> None:
    """Serve as `nirank serve` does."""
    import uvicorn

    from nirank.serving.app import application
    from nirank.serving.connections import Impatient

    uvicorn.run(application(holder), port=port, log_level="warning", http=Impatient)


def _exchange(holder: Holder, origin: Source, seconds: float) -> None:
    for place in itertools.cycle((1, 0)):
        time.sleep(seconds)
        holder.swap(versions(origin)[place])
        print("exchanged", flush=True)


if __name__ == "__main__":
    main()

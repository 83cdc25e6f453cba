"""The worker process: batches of tasks in on standard input, their results out on standard output.

Belongs here: the loop. Does not: the frames (`calls`), nor the computations. It ends when standard input does.
"""

import gc
import os
import sys
from contextlib import suppress

import msgspec

from warehouse.ingest.calls import CALLS, Call, read_frame, write_frame
from warehouse.ingest.steps import Fault

_FRAMES_BETWEEN_COLLECTIONS = 64
_NICENESS = 3
"""Half the weight of the process that writes: were it given no more than each of us, we would end up waiting for it,
with a core that nobody uses."""


def _answer(frame: bytes) -> bytes:
    function, task_type, _ = CALLS[Call(frame[0])]
    max_bytes, tasks = msgspec.msgpack.decode(memoryview(frame)[1:], type=tuple[int, list[task_type]])  # type: ignore[valid-type]
    answers = [result.message if isinstance(result, Fault) else result for result in function(tasks, max_bytes)]
    return msgspec.msgpack.encode(answers)


def main() -> None:
    """Answer frames until standard input ends."""
    with suppress(OSError):
        os.nice(_NICENESS)
    # Records hold no cycles, but so many containers that looking for some takes a fifth of the time.
    gc.freeze()
    gc.disable()
    # Whatever a library prints must not end up between the frames.
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    frames = 0
    while (frame := read_frame(sys.stdin.buffer)) is not None:
        write_frame(output, _answer(frame))
        frames += 1
        if frames % _FRAMES_BETWEEN_COLLECTIONS == 0:
            gc.collect()


if __name__ == "__main__":
    main()

"""What Python makes of the same work; `start_methods.rs` imports it and calls `main`.

Prints one number: seconds per task, or bytes per worker.
"""

import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver, get_context

# Of the preload, where this module is imported by the fork server.
TABLE = b"\1" * int(os.environ.get("TABLE_BYTES", 0))
LONGEST = 120


def noop(x):
    return x


def seconds_per_task(method, tasks):
    with ProcessPoolExecutor(2, mp_context=get_context(method), max_tasks_per_child=1) as pool:
        pool.submit(noop, 0).result()  # starts the server
        start = time.perf_counter()
        futures = [pool.submit(noop, n) for n in range(tasks)]
        assert [future.result() for future in futures] == list(range(tasks))
        return (time.perf_counter() - start) / tasks


def read_table(size, pipe):
    assert TABLE.count(1) == size
    pipe.send(True)
    pipe.recv()


def memory_of(pid):
    def kibibytes(file, key):
        with open(f"/proc/{pid}/{file}") as lines:
            return sum(int(line.split()[1]) for line in lines if line.startswith(key))

    return (kibibytes("smaps_rollup", "Pss:") + kibibytes("status", "VmPTE:")) << 10


def bytes_per_worker(size, workers):
    os.environ["TABLE_BYTES"] = str(size)
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    first = context.Process(target=noop, args=(0,))
    first.start()
    first.join()
    server = forkserver._forkserver._forkserver_pid
    alone = memory_of(server)
    started = []
    for _ in range(workers):
        ours, theirs = context.Pipe()
        process = context.Process(target=read_table, args=(size, theirs))
        process.start()
        started.append((process, ours))
    for _, pipe in started:
        pipe.recv()
    pids = [server] + [process.pid for process, _ in started]
    together = sum(map(memory_of, pids))
    for process, pipe in started:
        pipe.send(True)
        process.join()
    return (together - alone) / workers


def main():
    # Some versions wait for ever for a worker that has left.
    os.setpgid(0, 0)
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(0, signal.SIGKILL))
    signal.alarm(LONGEST)
    what, first, second = sys.argv[1:]
    if what == "seconds_per_task":
        print(seconds_per_task(first, int(second)))
    else:
        print(bytes_per_worker(int(first), int(second)))

"""Pools of CPython do what the benchmark `overhead` asks for.

    python3 peers.py concurrent.futures | multiprocessing.Pool

Reads one request a line from standard input and answers each by a line of numbers, separated by blanks:

    round_trip N     seconds of each of N calls, one after the other
    tasks N          seconds per task: N are submitted one by one, then all results are awaited
    map N            seconds per item of a map over N items, with the chunksize that was best here
    payload N        seconds for N bytes there and back
    pending N        bytes of memory for each of N tasks that are pending

Two workers, started by a fork, which is the fastest method.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

WORKERS = 2
CHUNKSIZES = [100, 1_000, 10_000, 50_000]


def noop(x):
    return x


def block(descriptor):
    os.read(descriptor, 1)


class Futures:
    def __init__(self):
        self.pool = ProcessPoolExecutor(WORKERS, mp_context=get_context("fork"))

    def run(self, x):
        return self.pool.submit(noop, x).result()

    def submit_all(self, count):
        futures = [self.pool.submit(noop, n) for n in range(count)]
        return [future.result() for future in futures]

    def map(self, count, chunksize):
        return sum(1 for _ in self.pool.map(noop, range(count), chunksize=chunksize))

    def pend(self, descriptor, count):
        """Returns what must be kept, and how to wait for its end."""
        blocked = [self.pool.submit(block, descriptor) for _ in range(WORKERS)]
        futures = blocked + [self.pool.submit(noop, n) for n in range(count)]
        return lambda: [future.result() for future in futures]

    def close(self):
        self.pool.shutdown()


class Pool:
    def __init__(self):
        self.pool = get_context("fork").Pool(WORKERS)

    def run(self, x):
        return self.pool.apply(noop, (x,))

    def submit_all(self, count):
        results = [self.pool.apply_async(noop, (n,)) for n in range(count)]
        return [result.get() for result in results]

    def map(self, count, chunksize):
        return len(self.pool.map(noop, range(count), chunksize=chunksize))

    def pend(self, descriptor, count):
        blocked = [self.pool.apply_async(block, (descriptor,)) for _ in range(WORKERS)]
        results = blocked + [self.pool.apply_async(noop, (n,)) for n in range(count)]
        return lambda: [result.get() for result in results]

    def close(self):
        self.pool.terminate()


def timed(call, *args):
    start = time.perf_counter()
    result = call(*args)
    return time.perf_counter() - start, result


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Peer:
    def __init__(self, pool, release, gate):
        self.pool, self.release, self.gate = pool, release, gate
        self.chunksize = None

    def round_trip(self, count):
        return [timed(self.pool.run, n)[0] for n in range(count)]

    def tasks(self, count):
        seconds, results = timed(self.pool.submit_all, count)
        assert results == list(range(count))
        return [seconds / count]

    def map(self, count):
        if self.chunksize is None:
            tried = {chunksize: timed(self.pool.map, count, chunksize)[0] for chunksize in CHUNKSIZES}
            self.chunksize = min(tried, key=tried.get)
        seconds, results = timed(self.pool.map, count, self.chunksize)
        assert results == count
        return [seconds / count]

    def payload(self, size):
        payload = b"\xa5" * size
        seconds, result = timed(self.pool.run, payload)
        assert len(result) == size
        return [seconds]

    def pending(self, count):
        """In a fresh process: what this one has freed before would be used again."""
        command = [sys.executable, __file__, sys.argv[1], str(count)]
        return [float(subprocess.check_output(command))]

    def pending_here(self, count):
        before = resident()
        finish = self.pool.pend(self.gate, count)
        taken = resident() - before
        os.write(self.release, bytes(WORKERS))
        finish()
        return taken / count


def main():
    # The workers inherit the reading end.
    gate, release = os.pipe()
    pools = {"concurrent.futures": Futures, "multiprocessing.Pool": Pool}
    peer = Peer(pools[sys.argv[1]](), release, gate)
    peer.round_trip(10)
    if len(sys.argv) > 2:
        print(peer.pending_here(int(sys.argv[2])), flush=True)
        peer.pool.close()
        return
    print("ready CPython", sys.version.split()[0], flush=True)
    for line in sys.stdin:
        request, count = line.split()
        print(*getattr(peer, request)(int(count)), flush=True)
    peer.pool.close()  # or its workers would stay


if __name__ == "__main__":
    main()

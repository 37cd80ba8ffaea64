"""What the workers are to do. They import it, as the program does."""

import atexit
import os
import random
import threading
import time


def square(number):
    return number * number


def divide(dividend, divisor):
    return dividend / divisor


def leave(code):
    os._exit(code)


def draw():
    time.sleep(0.01)  # so that others have something to do
    return os.getpid(), random.random()


def say(text):
    print(text)


def write_at_exit(path):
    atexit.register(lambda: open(path, "w").write("the end"))


def write_when_idle(path):
    """By a thread that gets on only if Python's lock is free after the task."""

    def write():
        main.wait()
        open(path, "w").write("idle")

    main = threading.Event()
    threading.Thread(target=write, daemon=True).start()
    threading.Timer(0.01, main.set).start()

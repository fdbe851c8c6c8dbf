"""The program: `tornado-gateway` and `python -m tornado_gateway`."""

import os
import signal
import sys


def main() -> None:
    """Run the program and exit with its code. Ctrl-C while its modules are read ends it in silence, as it ends any other program."""
    # Not at the top, and not before: reading modules takes a tenth of a second, in which Python would answer with a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _open_standard_streams()
    if sys.argv[1:2] == ["serve"]:
        _read_structlog_without_rich()
    from tornado_gateway.cli import main as program
    from tornado_gateway.lastresort import speak_carefully

    speak_carefully()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    program()


def _open_standard_streams() -> None:
    """Have something at descriptors 0, 1 and 2. Where one is closed, a socket would come to stand there: what is written to the terminal
    would go to a client, and libuv aborts when it closes such a descriptor.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # the lowest that is free is this one
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _read_structlog_without_rich() -> None:
    """structlog reads rich for tracebacks of a kind that a server never draws: 5 MB of memory, and a tenth of a second of its start."""
    if "rich" not in sys.modules:
        sys.modules["rich"] = None  # type: ignore[assignment]  # how Python is told that a module cannot be imported
        try:
            import structlog  # noqa: F401  # read for its effect
        finally:
            del sys.modules["rich"]


if __name__ == "__main__":
    main()

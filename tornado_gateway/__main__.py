"""The program: `tornado-gateway` and `python -m tornado_gateway`."""

import signal


def main() -> None:
    """Run the program and exit with its code. Ctrl-C while its modules are read ends it in silence, as it ends any other program."""
    # Not at the top, and not before: reading modules takes a tenth of a second, in which Python would answer with a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tornado_gateway.cli import main as program

    signal.signal(signal.SIGINT, signal.default_int_handler)
    program()


if __name__ == "__main__":
    main()

"""The command `promptmill`, also as `python -m promptmill`.

Until the command line listens, Ctrl-C just ends the process: nothing has begun, and Python would print a traceback.
"""

import signal


def main() -> None:
    """Run the command line and exit."""
    told = signal.getsignal(signal.SIGINT)
    if told is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from promptmill.cli import main as run

    signal.signal(signal.SIGINT, told)
    run()


if __name__ == "__main__":
    main()

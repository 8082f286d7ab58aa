"""The command `darts-lstm-seq`: parses arguments, calls the library and writes files.

Invalid arguments or files end with one line on stderr and exit code 2.
"""

import sys
from collections.abc import Sequence

from darts_lstm_seq.cli.arguments import make_parser
from darts_lstm_seq.cli.compare import run_compare
from darts_lstm_seq.cli.forecast import run_forecast
from darts_lstm_seq.cli.tune import run_tune

_COMMANDS = {"compare": run_compare, "forecast": run_forecast, "tune": run_tune}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments
        Command line arguments; those of the process by default.

    Returns
    -------
    int
        The exit code: 0 for success, 1 if no model could be scored, 2 for invalid input, 130 after
        an interrupt.
    """
    parsed = make_parser().parse_args(arguments)
    try:
        return _COMMANDS[parsed.command](parsed)
    except KeyboardInterrupt:
        print("darts-lstm-seq: interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except ValueError as error:
        message = " ".join(str(error).split())
    print(f"darts-lstm-seq: {message}", file=sys.stderr)
    return 2

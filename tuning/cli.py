"""The command line: reads it, runs the command, prints what it found.

Imports nothing heavy, so that `--help` answers at once.
"""

import argparse
import contextlib
import difflib
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from tuning import arguments as parsing
from tuning.arguments import FAULT, INTERRUPTED, WRONG, complain
from tuning.errors import CheckpointError, RequestError, SweepError


def run() -> NoReturn:
    """Run the command of this process, and leave without taking two seconds to unload what it loaded."""
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    options, unknown = parsing.parser().parse_known_args(words)
    if unknown:
        _refuse(options.parser, unknown[0])
    for word in words:
        if word.startswith("--") and word.endswith("=--"):  # argparse takes it for an empty list
            options.parser.error(f"argument {word.removesuffix('=--')}: it must have a value")
    try:
        if options.command in ("sweep", "resume") and sys.stderr.isatty():
            print("checking the request ...", file=sys.stderr, flush=True)  # importing torch takes seconds
        facts, text, code = import_module(f"tuning.commands.{options.command}").run(options)
        _print(json.dumps(facts) if options.json else text)
        return int(code)
    except RequestError as error:
        complain(error)
        return WRONG
    except (SweepError, CheckpointError) as error:
        complain(error)
        return FAULT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # `| head` has read enough; nor shall the flush at exit complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refuse(parser: argparse.ArgumentParser, option: str) -> NoReturn:
    known = [name for action in parser._actions for name in action.option_strings]
    nearest = difflib.get_close_matches(option.partition("=")[0], known, n=1)
    parser.error(f"unknown argument {option}" + (f"; did you mean {nearest[0]}?" if nearest else ""))

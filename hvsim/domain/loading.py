"""Finding what "module:name" means: the program of a domain, or a driver that its lab gave it."""

import importlib
import sys
from collections.abc import Callable

Program = Callable[..., object]
"""Called with the domain: a program does its work, a class of drivers makes one."""


class ProgramError(Exception):
    """A program that cannot be loaded; the text says what is missing and what to do."""


def load_program(reference: str) -> Program:
    """The function that "module:function" names.

    Raises: ProgramError for a reference that is none, a module that does not exist, a missing
        function; whatever the module itself raises on import passes through.
    """
    module_name, colon, function_name = reference.partition(":")
    if not (module_name and colon and function_name):
        raise ProgramError(f"program {reference!r} is not of the form module:function")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the program's own import is missing: its traceback says which
        raise ProgramError(
            f"program {reference!r}: there is no module {error.name!r}; "
            f"looked in {', '.join(sys.path) or 'nothing'}"
        ) from None
    program = getattr(module, function_name, None)
    if program is None:
        names = [
            name
            for name, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", "") == module_name
        ]
        raise ProgramError(
            f"program {reference!r}: module {module_name} has no {function_name!r}; "
            f"it defines {', '.join(sorted(names)) or 'no function'}"
        )
    if not callable(program):
        raise ProgramError(f"program {reference!r}: {function_name!r} is not a function")
    result: Program = program
    return result

"""Parse a script, also one exported from a notebook, or one in the syntax of a newer Python."""

import ast
import sys
import warnings
from collections.abc import Iterator

from unnoise.check.read.python.ipython import as_python
from unnoise.check.read.python.newer_syntax import is_newer, older_syntax
from unnoise.check.subject import Trouble


class Unparsed(Exception):
    """Report a text that cannot be parsed.

    Args:
        kind: "broken", or "partial" where a newer Python may be able to
        message: what the text is
        line: from 1; None where it is not known
        column: from 0
    """

    def __init__(self, kind: Trouble, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.kind, self.message, self.line, self.column = kind, message, line, column


def parse(text: str) -> ast.Module:
    """Parse a script.

    Args:
        text: Python, with or without magics of IPython

    Returns:
        the syntax tree; its lines and columns are those of the text

    Raises:
        Unparsed: the text is not Python
    """
    try:
        return _tree(text)
    except SyntaxError as error:
        last = error
    except (ValueError, RecursionError, MemoryError) as error:
        message = f"is Python that cannot be read: {str(error) or 'nested too deeply'}"
        raise Unparsed("broken", message) from None
    text = text.replace("\r\n", " \n").replace("\r", "\n")
    for rewritten in _rewritten(text):
        try:
            return _tree(rewritten)
        except SyntaxError as error:
            last = error
        except (ValueError, RecursionError, MemoryError):
            break
    line, column = last.lineno, max(0, (last.offset or 1) - 1) if last.lineno else None
    if is_newer(text):
        running = "{}.{}".format(*sys.version_info)
        raise Unparsed("partial", f"may be of a newer Python than {running}, which runs this check", line, column)
    raise Unparsed("broken", f"is not Python: {last.msg}", line, column)


def _rewritten(text: str) -> Iterator[str]:
    """List a text in the syntax of the running Python, then without magics of IPython, as far as these differ."""
    older = older_syntax(text)
    if older != text:
        yield older
    python = as_python(older)
    if python != older:
        yield older_syntax(python)


def _tree(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)

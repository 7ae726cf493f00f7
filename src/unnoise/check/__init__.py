"""Lint for diffusion: read the files of any tool and find silent mistakes.

    import unnoise
    unnoise.check("workflow.json")        # -> list of findings, as `unnoise check` prints them

The package itself is callable (docs/decisions/0007-check-is-a-call.md), with the arguments of `engine.check`.
"""

import sys
from types import ModuleType
from typing import Any


class _Check(ModuleType):
    def __call__(self, *args: Any, **keywords: Any) -> Any:
        from unnoise.check.engine import check

        return check(*args, **keywords)


sys.modules[__name__].__class__ = _Check

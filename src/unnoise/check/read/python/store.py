"""All that a script has bound so far, with branches that are undone and joined again."""

from collections.abc import Callable
from typing import Any

Key = tuple[Any, ...]
MISSING: Any = object()


class Store:
    """Keep values by key; what a branch writes is logged, so that undoing it costs no more than it wrote."""

    def __init__(self) -> None:
        self._now: dict[Key, Any] = {}
        self._logs: list[dict[Key, Any]] = []

    def get(self, key: Key, default: Any = MISSING) -> Any:
        """Return what is kept under a key."""
        return self._now.get(key, default)

    def put(self, key: Key, value: Any) -> None:
        """Keep a value; MISSING takes it away."""
        if self._logs:
            self._logs[-1].setdefault(key, self._now.get(key, MISSING))
        if value is MISSING:
            self._now.pop(key, None)
        else:
            self._now[key] = value

    def begin(self) -> None:
        """Begin a branch."""
        self._logs.append({})

    def undo(self) -> dict[Key, Any]:
        """End the innermost branch as if it had not been, and give what it had written."""
        log = self._logs.pop()
        written = {key: self._now.get(key, MISSING) for key in log}
        for key, value in log.items():
            if value is MISSING:
                self._now.pop(key, None)
            else:
                self._now[key] = value
        return written

    def settle(self) -> None:
        """Forget every branch that has begun: what it wrote stays."""
        self._logs.clear()

    def join(self, first: dict[Key, Any], second: dict[Key, Any], either: Callable[[Any, Any], Any]) -> None:
        """Take up what one of two branches has written; `either` joins what they give to one key."""
        for key in {**first, **second}:
            before = self._now.get(key, MISSING)
            one, other = first.get(key, before), second.get(key, before)
            if one is MISSING or other is MISSING:
                self.put(key, other if one is MISSING else one)
            else:
                self.put(key, either(one, other))

"""The bindings of a script so far, with branches that can be undone and joined."""

from collections.abc import Callable
from typing import Any

Key = tuple[Any, ...]
MISSING: Any = object()


class Store:
    """Store values by key; the writes of a branch are logged, so that undoing costs no more than writing."""

    def __init__(self) -> None:
        self._now: dict[Key, Any] = {}
        self._logs: list[dict[Key, Any]] = []

    def get(self, key: Key, default: Any = MISSING) -> Any:
        """Return the value of a key."""
        return self._now.get(key, default)

    def put(self, key: Key, value: Any) -> None:
        """Store a value; MISSING removes it."""
        if self._logs:
            self._logs[-1].setdefault(key, self._now.get(key, MISSING))
        if value is MISSING:
            self._now.pop(key, None)
        else:
            self._now[key] = value

    def begin(self) -> None:
        """Start a branch."""
        self._logs.append({})

    def undo(self) -> dict[Key, Any]:
        """Undo the innermost branch, and return its writes."""
        log = self._logs.pop()
        written = {key: self._now.get(key, MISSING) for key in log}
        for key, value in log.items():
            if value is MISSING:
                self._now.pop(key, None)
            else:
                self._now[key] = value
        return written

    def settle(self) -> None:
        """End every started branch and keep its writes."""
        self._logs.clear()

    def join(self, first: dict[Key, Any], second: dict[Key, Any], either: Callable[[Any, Any], Any]) -> None:
        """Apply the writes of two branches; `either` joins their values of one key."""
        for key in {**first, **second}:
            before = self._now.get(key, MISSING)
            one, other = first.get(key, before), second.get(key, before)
            if one is MISSING or other is MISSING:
                self.put(key, other if one is MISSING else one)
            else:
                self.put(key, either(one, other))

"""Walks through a world that need not be made again: many tests begin with the same ones."""

import pickle
from collections.abc import Callable
from functools import wraps
from typing import Any

LIMIT = 500  # walks that are kept; random worlds come by here, too


def remembered(walk: Callable[..., Any]) -> Callable[..., Any]:
    """A method whose outcome follows from the object's attributes and its arguments alone; both can be pickled.

    The first walk from a state is made, with all its checks; another one from the very same state is taken from memory.
    Of a subclass nothing is remembered: it may do more on its way.
    """
    made: dict[bytes, bytes] = {}
    owner = walk.__qualname__.partition(".")[0]

    @wraps(walk)
    def walked(self: Any, *args: Any, **named: Any) -> Any:
        if type(self).__qualname__ != owner:
            return walk(self, *args, **named)
        start = pickle.dumps((self.__dict__, args, named))
        if start in made:
            self.__dict__, found = pickle.loads(made[start])
            return found
        found = walk(self, *args, **named)
        if len(made) < LIMIT:
            made[start] = pickle.dumps((self.__dict__, found))
        return found

    return walked

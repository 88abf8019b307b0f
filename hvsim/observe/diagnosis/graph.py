"""Who waits for whom: to the last of them, or round and round.  Pure."""

from __future__ import annotations

from collections.abc import Iterable

from hvsim.observe.diagnosis.rows import EdgeRow


def behind(edges: Iterable[EdgeRow], who: str) -> list[str]:
    """Everybody who waits for *who*, for somebody who waits for *who*, and so on; the nearest
    first, each once."""
    waiting: dict[str, list[str]] = {}
    for edge in edges:
        waiting.setdefault(edge["on"], []).append(edge["who"])
    found: dict[str, None] = {}
    todo = [who]
    while todo:
        for one in waiting.get(todo.pop(0), ()):
            if one not in found:
                found[one] = None
                todo.append(one)
    return list(found)


def circles(edges: Iterable[EdgeRow]) -> list[list[EdgeRow]]:
    """Rings of edges in which each waits for the next and the last for the first, each once."""
    out: dict[str, list[EdgeRow]] = {}
    for edge in edges:
        out.setdefault(edge["who"], []).append(edge)
    found: dict[frozenset[str], list[EdgeRow]] = {}
    for start in out:
        ring = _way_back(out, start)
        if ring:
            found.setdefault(frozenset(one["who"] for one in ring), ring)
    return list(found.values())


def _way_back(out: dict[str, list[EdgeRow]], start: str) -> list[EdgeRow]:
    """The shortest way from *start* to itself; [] when there is none."""
    came: dict[str, EdgeRow] = {}
    todo = [start]
    while todo:
        for edge in out.get(todo.pop(0), ()):
            if edge["on"] in came:
                continue
            came[edge["on"]] = edge
            todo.append(edge["on"])
            if edge["on"] == start:
                way = [edge]
                while way[0]["who"] != start:
                    way.insert(0, came[way[0]["who"]])
                return way
    return []

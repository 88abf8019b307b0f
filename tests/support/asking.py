"""Requests of the control wire by the name of their verb."""

from typing import Any, cast

from hvsim.wire.lab_requests import VERBS, Asked


def asked(verb: str, **fields: Any) -> Asked:
    """The request; what is in its fields is not looked at."""
    return cast(Asked, VERBS[verb](**fields))

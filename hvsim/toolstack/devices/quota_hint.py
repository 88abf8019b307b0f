"""Why a device did not come up, when the reason is the store's quota of its backend domain.

A driver domain that may not make further nodes refuses every further device, and all that libxl
sees is a backend that does not reach InitWait.
"""

import re
from typing import Final

from hvsim.toolstack.host.errors import libxl
from hvsim.toolstack.host.store import Store
from hvsim.xs import requests
from hvsim.xs.requests import StoreError

NEEDED: Final = {"nodes": 33, "watches": 2}
"""What a backend has for one disk: the nodes of its directory, and who watches them."""
_ROW: Final = re.compile(r"^([a-z-]+) *: +(\d+)", re.MULTILINE)


async def hint(store: Store, domid: int) -> list[str]:
    """Lines that name the quota and its remedy; none when *domid* has room for a device."""
    if domid == 0:
        return []
    answers = await store.batch(
        [requests.control(["quota", str(domid)]), requests.control(["quota"])]
    )
    texts = [answer for answer in answers if not isinstance(answer, StoreError)]
    if len(texts) < len(answers):
        return []
    used, limits = (dict(_ROW.findall(text)) for text in texts)
    return [
        libxl(
            f"domain {domid}, the backend, has {used[name]} of the {limits[name]} {name} that it "
            f"may have in xenstore. Raise it: {name} = N under [store.quota] in the lab file, or "
            f"at once: hvsim xenstore control quota set {name} N",
            "info",
        )
        for name, needed in NEEDED.items()
        if name in used and name in limits and int(used[name]) + needed > int(limits[name])
    ]

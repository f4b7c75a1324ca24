"""Whether the Hugging Face hub can be reached, found out in seconds.

The hub's own client retries for half a minute before it gives up; "no network" should come at once.
"""

import time

from huggingface_hub import constants, get_session

ASK_AGAIN = 60.0  # seconds: short enough to notice that a cable was plugged in, long enough not to ask for every file
_last: tuple[float, bool] | None = None


def reachable() -> bool:
    """True if the hub answers. The answer is kept for a minute."""
    global _last
    if constants.HF_HUB_OFFLINE:
        return False
    now = time.monotonic()
    if _last is None or now - _last[0] > ASK_AGAIN:
        try:
            get_session().head(constants.ENDPOINT, timeout=5)
            answer = True
        except Exception:  # Any failure at all (name, route, proxy, certificate) means the same here.
            answer = False
        _last = (now, answer)
    return _last[1]

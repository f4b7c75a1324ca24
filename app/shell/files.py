"""Files that are too large to pass through a page: sent from disk, in pieces, to whoever knows their name."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route


def _send(request: Request) -> Response:
    # Imported by the first who asks: the engine behind it takes seconds, and the server starts without it.
    from ..work import downloads

    found = downloads.named(request.path_params["key"])
    if found is None:
        return PlainTextResponse("This file is gone. Make it again on the page that offered it.", status_code=404)
    return FileResponse(found.file, media_type="application/zip", filename=found.name)


ROUTES = [Route("/download/{key}", _send)]

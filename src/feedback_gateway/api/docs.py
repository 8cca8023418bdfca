"""The human pages at `/docs`: Swagger UI from an installed package, with nothing loaded from anywhere else."""

from importlib.resources import files

from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from feedback_gateway.errors import NotFound

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
ASSETS = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Feedback Gateway: API</title>
<link rel="icon" href="docs/favicon.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript; the same is at <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""

START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""


async def find_page() -> Response:
    """The way from `/` to the page, also behind a proxy that puts a path before it."""
    return RedirectResponse("docs")


async def read_page() -> Response:
    """The page."""
    return HTMLResponse(PAGE, headers={"content-security-policy": POLICY})


async def read_asset(name: str) -> Response:
    """A part of the page. Raises NotFound."""
    if name == "start.js":
        return Response(START, media_type="text/javascript")
    if name not in ASSETS:
        raise NotFound(f"the pages have no part {name[:80]!r}")
    folder = files("fastapi_offline") / "static"
    return FileResponse(str(folder / name), headers={"cache-control": "public, max-age=86400"})

"""Every route that is not a page."""

from __future__ import annotations

from dashboard.downloads import DownloadHandler
from dashboard.routes import CropHandler, HealthHandler, PreviewHandler, ViewHandler
from dashboard.routes_pictures import RegionHandler, SpectrumHandler, ThumbHandler

EXTRA_ROUTES: dict[str, type[ViewHandler]] = {
    r"/preview/([0-9]{1,15})\.jpg": PreviewHandler,
    r"/crop/([0-9]{1,15})\.png": CropHandler,
    r"/region/([0-9]{1,15})\.json": RegionHandler,
    r"/spectrum/([0-9]{1,15})\.json": SpectrumHandler,
    r"/thumb/([0-9]{1,15})\.png": ThumbHandler,
    r"/download/([a-z.]{1,40})": DownloadHandler,
    r"/health": HealthHandler,
}
"""Pattern and handler."""

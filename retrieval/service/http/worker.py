"""What each process of a service does: reads its settings, and makes its application."""

import gc
import logging
import os
import sys

from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE

from retrieval.errors import RecError
from retrieval.service.http.app import create_app, hosts_of
from retrieval.service.logs import configure_logs
from retrieval.service.memory import configure_memory
from retrieval.service.settings import ServiceSettings
from retrieval.serving.threads import configure_threads

_log = logging.getLogger(__name__)

# The environment variable that tells workers their settings, as JSON.
SETTINGS = "REC_SERVICE_SETTINGS"


def application(settings: ServiceSettings) -> FastAPI:
    """Return the application of this process, which is set up for it."""
    configure_logs(settings.log_level)
    configure_memory()
    configure_threads()
    app = create_app(settings, hosts=hosts_of(settings))
    # What is loaded stays; looking through it for garbage would only hold up answers.
    gc.collect()
    gc.freeze()
    return app


def worker() -> FastAPI:
    """Return the application of one of several workers.

    What cannot be mended by trying again ends all of them.
    """
    try:
        return application(ServiceSettings.model_validate_json(os.environ[SETTINGS]))
    except RecError as error:
        _log.error("%s", error)  # whoever looks after the workers prints nothing
        sys.exit(STARTUP_FAILURE)

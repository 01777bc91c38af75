"""MLflow's server as `tuning ui` runs it (`mlflow server --app-name tuning`): its UI opens on training runs.

MLflow 3 opens on pages for language models and with an assistant, whatever an experiment holds, until
somebody chooses otherwise; the browser keeps the choice. Here it is made before, where nobody has made it.
"""

from flask import Response, request
from mlflow.server import app as flask_app
from mlflow.server.fastapi_app import app

__all__ = ["app"]

CHOICES = {
    "mlflow.workflowType_v1": '"machine_learning"',
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
}
"""Of MLflow's UI, as it keeps them in the browser."""

SCRIPT = "".join(
    f"localStorage.getItem('{key}')??localStorage.setItem('{key}','{value}');"
    for key, value in CHOICES.items()
)


@flask_app.after_request
def choose(response: Response) -> Response:
    """Put the choices before all that MLflow's page runs."""
    if request.path == "/" and response.mimetype == "text/html" and response.status_code == 200:
        response.direct_passthrough = False
        page = response.get_data(as_text=True)
        response.set_data(page.replace("<head>", f"<head><script>{SCRIPT}</script>", 1))
        for header in ("ETag", "Last-Modified"):  # a page that was kept from another server is not this one
            response.headers.pop(header, None)
    return response

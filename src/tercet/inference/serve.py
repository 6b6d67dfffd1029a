"""`tercet serve`: a model on this machine's own address, as a web page and as a JSON interface.

The parts are in `service`; this is their order. What the extra `tercet[serve]` brings is imported only here, once it
is known to be there.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from tercet.errors import UsageError
from tercet.model.bundle import SHIPPED, load_bundle

NEEDED = ("starlette", "uvicorn", "python_multipart")


def serve(model: str, *, port: int, on_listening: Callable[[str], None]) -> int:
    """Serve a run folder or Bundle until SIGINT or SIGTERM; `on_listening` gets the address once requests are answered.

    Returns the exit status: 0 where all that was under way was answered, 130 or 143 where a second signal, or an answer
    of more than 20 seconds, cut it.
    """
    if any(find_spec(name) is None for name in NEEDED):
        raise UsageError(f"the service needs {', '.join(NEEDED)}; get them by pip install 'tercet[serve]'.")
    from tercet.inference.service.answers import Model
    from tercet.inference.service.application import application
    from tercet.inference.service.server import ADDRESS, listen, run
    from tercet.inference.service.surroundings import read_surroundings
    from tercet.inference.service.workers import Workers

    with listen(port) as listener:  # before the model is read, so that a taken port is told at once
        bundle = load_bundle(model)
        address = f"http://{ADDRESS}:{listener.getsockname()[1]}"
        workers = Workers()
        try:
            app = application(Model(bundle, read_surroundings(SHIPPED.get(model, model), bundle)), workers)
            return run(app, listener, lambda: on_listening(address))
        finally:
            workers.close()

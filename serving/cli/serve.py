"""`lora-manager serve`: the API alone, in this process."""

from typing import Annotated

import typer

from serving.cli.context import DataOption, database_of, refuse_open_host, settings_of


def serve(
    *,
    data: DataOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
) -> None:
    """Serve the API alone. Dagster and the pipeline run elsewhere, or not at all."""
    from serving import server
    from serving.cli.ports import require_free
    from serving.cli.running import not_restored

    settings = settings_of(data, api_host=host)
    refuse_open_host(settings, host)
    require_free(host, port, "--port", "the API")
    with database_of(settings):
        pass
    with not_restored(settings.data_dir):
        server.run(settings, host, port)

"""Ports that are taken are named before anything starts."""

import os
import socket

import pytest

from serving.cli.errors import CommandError
from serving.cli.ports import is_free, require_free
from tests.serving.cli.conftest import Run


def test_a_taken_port_names_its_holder_and_the_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free("127.0.0.1", port)
        with pytest.raises(CommandError, match=rf"port {port} .*process {os.getpid()}.*--port"):
            require_free("127.0.0.1", port, "--port", "the API")
    require_free("127.0.0.1", port, "--port", "the API")


def test_up_looks_at_its_ports_before_it_does_anything(run: Run, tmp_path: object) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        failed = run("up", "--dagster-port", str(port))
    assert failed.returncode == 1
    assert f"port {port}" in failed.stderr
    assert "--dagster-port" in failed.stderr

"""Starting: light, on the right schema or not at all; and the page, which loads nothing from elsewhere."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from serving import web
from serving.app import create_app
from serving.signing import open_signer
from warehouse.engine import Database
from warehouse.settings import Settings

HEAVY = ("torch", "transformers", "sentence_transformers", "faiss", "onnxruntime", "duckdb", "pyarrow", "dagster")


def test_importing_pulls_in_nothing_heavy() -> None:
    code = f"import sys, serving.app; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_reads_and_writes_nothing(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", "import serving.app"], cwd=tmp_path, check=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.platform
def test_another_schema_is_refused_with_the_remedy(tmp_path: Path) -> None:
    environment = {"LORA_MANAGER_DATA_DIR": str(tmp_path), "PATH": ""}
    command = [sys.executable, "-m", "uvicorn", "serving.app:app", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode != 0
    assert "lora-manager upgrade" in done.stderr


def test_one_signing_secret_for_all_processes(settings: Settings) -> None:
    url = open_signer(settings).sign("/api/v1/adapters/x/preview")
    path, _, query = url.partition("?")
    assert open_signer(settings).is_valid(path, dict(part.split("=") for part in query.split("&")))
    assert (settings.data_dir / "serving.secret").stat().st_mode & 0o077 == 0
    (settings.data_dir / "serving.secret").write_bytes(b"short")
    with pytest.raises(ValueError, match="delete it"):
        create_app(settings)


def test_the_page_loads_nothing_from_elsewhere(sqlite_client: httpx.Client) -> None:
    folder = Path(web.__file__).parent
    pages = [*folder.glob("*.html"), *folder.glob("static/*")]
    assert len(pages) >= 5
    for page in pages:
        text = page.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"""(?:src|href|url|import|from)\W{1,4}(?:https?:)?//(?!127\.0\.0\.1)""", text), page
        assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|style=", text), page
    policy = sqlite_client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for path in set(re.findall(r'(?:src|href)="(/[^"]*)"', (folder / "index.html").read_text(encoding="utf-8"))):
        assert sqlite_client.get(path).status_code == 200, path


def test_the_page_is_served_again_only_when_it_changed(
    sqlite_database: Database, serve: Callable[..., httpx.Client]
) -> None:
    client = serve(sqlite_database)
    first = client.get("/static/app.js")
    assert "no-cache" in first.headers["cache-control"]
    assert client.get("/static/app.js", headers={"If-None-Match": first.headers["etag"]}).status_code == 304

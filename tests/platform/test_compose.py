"""Every service of the default profile of `docker-compose.yml` comes up from the commands that stand there."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.platform.compose import NativeCompose, compose_config
from warehouse.samples import generate_library

pytestmark = [pytest.mark.platform, pytest.mark.slow, pytest.mark.failure]
KEY = "a-key-of-the-test"


@pytest.fixture
def default_profile(tmp_path: Path) -> Iterator[NativeCompose]:
    config = compose_config(LORA_MANAGER_API_KEYS=f"me:admin:{KEY}", LIBRARY=str(tmp_path))
    # Addresses that no other test has at the same time.
    network = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}"
    system = NativeCompose(tmp_path, config, network)
    try:
        yield system
    finally:
        system.stop()


def test_the_default_profile_comes_up_healthy_and_serves_the_library(
    default_profile: NativeCompose, models_dir: Path
) -> None:
    system = default_profile
    assert set(system.services) == {"prepare", "code", "lanes", "webserver", "daemon", "api"}
    generate_library(system.folder / "library", adapters=12, seed=0)
    (system.folder / "data" / "models").symlink_to(models_dir, target_is_directory=True)
    system.start(*system.services)
    for service in set(system.services) - {"prepare"}:
        system.until(lambda service=service: system.is_healthy(service), f"{service} is healthy", pause=1)

    # Nobody asks for a sync: the sensor of the daemon sees the folder, the code server runs it, the API shows it.
    url = f"http://{system.address('api')}:8000"
    with httpx.Client(base_url=url, headers={"X-API-Key": KEY}, trust_env=False, timeout=60) as api:
        assert httpx.get(f"{url}/api/v1/adapters", trust_env=False).status_code == httpx.codes.UNAUTHORIZED
        question = {"prompt": "a watercolor landscape", "limit": 3}

        def recommends() -> bool:
            answer = api.post("/api/v1/recommendations/prompt", json=question)
            return answer.status_code == httpx.codes.OK and len(answer.json()["recommendations"]) == 3

        system.until(recommends, "the library is synced, embedded and published", pause=1)
        ready = api.get("/health/ready")
        assert ready.status_code == httpx.codes.OK, ready.text

        def is_indexed() -> bool:
            # What the alert IndexBehind compares is the same where nothing is behind.
            metrics = api.get("/metrics").text
            embedded = re.findall(r"^lora_manager_embedded_adapters\{.*\} (\S+)$", metrics, re.MULTILINE)
            indexed = re.findall(r"^lora_manager_index_adapters (\S+)$", metrics, re.MULTILINE)
            return indexed == [max(embedded, key=float)]

        system.until(is_indexed, "every adapter is in the published index", pause=1)

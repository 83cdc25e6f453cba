"""The compose file as the real `docker compose` reads it, in every profile: nothing half, open or unbounded."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.platform.compose import ROOT, compose_config, run_compose
from warehouse.settings import Settings

KEYS = {"LORA_MANAGER_API_KEYS": "me:admin:a-key", "LIBRARY": "/library"}
PRODUCTION = ("--env-file", str(ROOT / "docker" / "production.env"))
ONE_SHOT = {"complete", "prepare", "bucket"}
OURS = {"prepare", "code", "lanes", "webserver", "daemon", "api"}
PROFILES = [
    pytest.param((), "", id="default"),
    pytest.param((), "monitoring", id="default-monitoring"),
    *(
        pytest.param(PRODUCTION, f"production,{device},monitoring", id=f"production-{device}")
        for device in ("cpu", "nvidia", "rocm")
    ),
]


def _services(options: tuple[str, ...], profiles: str) -> dict[str, Any]:
    chosen = {"COMPOSE_PROFILES": profiles} if profiles else {}
    variables = {"LIBRARY": "/library"} if options else KEYS
    services: dict[str, Any] = compose_config(*options, **variables, **chosen)["services"]
    return services


def _is_ours(service: dict[str, Any]) -> bool:
    image: str = service["image"]
    return image.startswith("lora-manager:")


def test_the_default_profile_is_six_processes_on_sqlite() -> None:
    services = _services((), "")
    assert set(services) == OURS
    for name, service in services.items():
        environment = service["environment"]
        assert not environment["LORA_MANAGER_DATABASE_URL_FILE"], name
        assert not environment["LORA_MANAGER_RUN_LAUNCHER"], name


@pytest.mark.parametrize("left_out", KEYS)
def test_what_is_missing_is_said_before_anything_starts(left_out: str) -> None:
    done = run_compose(**{name: value for name, value in KEYS.items() if name != left_out})
    assert done.returncode != 0
    assert f"set {left_out} to" in done.stderr or f"{left_out} is missing a value" in done.stderr


@pytest.mark.parametrize("device", ["cpu", "nvidia", "rocm"])
def test_in_production_no_process_of_ours_is_on_sqlite(device: str) -> None:
    services = _services(PRODUCTION, f"production,{device}")
    ours = {name: service for name, service in services.items() if _is_ours(service)}
    assert set(ours) > OURS
    for name, service in ours.items():
        environment = service["environment"]
        assert environment["LORA_MANAGER_DATABASE_URL_FILE"] == "/run/secrets/database_url", name
        assert environment["LORA_MANAGER_RUN_LAUNCHER"] == "celery", name
        assert "database_url" in {secret["source"] for secret in service["secrets"]}, name
    queues = sorted(
        service["command"][1] for service in ours.values() if "pipelines.worker" in (service["entrypoint"] or ())
    )
    assert queues == ["default", "delivery", "gpu"]
    assert {"postgres", "redis", "store"} <= set(services)


def _waits_for(services: dict[str, Any], name: str) -> set[str]:
    others = {other for other in services[name].get("depends_on", {}) if other in services}
    return others.union(*(_waits_for(services, other) for other in others))


def test_production_without_its_settings_starts_nothing_of_ours() -> None:
    services = _services((), "production,cpu")
    for name, service in services.items():
        assert not _is_ours(service) or "complete" in _waits_for(services, name), name
    shell, option, script = [*services["complete"]["entrypoint"], *services["complete"]["command"]]
    argv = (shell, option, script.replace("$$", "$"))
    refused = subprocess.run(argv, capture_output=True, text=True, check=False, env={"SECRETS": ""})
    assert refused.returncode == 1
    assert "--env-file docker/production.env" in refused.stderr
    assert subprocess.run(argv, check=False, env={"SECRETS": "./secrets"}).returncode == 0


def test_a_gpu_worker_is_bound_by_its_environment() -> None:
    nvidia = _services(PRODUCTION, "production,nvidia")["worker-gpu-nvidia"]
    assert nvidia["environment"]["CUDA_VISIBLE_DEVICES"] == "0"
    assert nvidia["build"]["target"] == "cuda"
    assert nvidia["deploy"]["resources"]["reservations"]["devices"][0]["driver"] == "nvidia"
    rocm = _services(PRODUCTION, "production,rocm")["worker-gpu-rocm"]
    assert rocm["environment"]["HIP_VISIBLE_DEVICES"] == "0"
    assert rocm["build"]["target"] == "rocm"
    assert {device["source"] for device in rocm["devices"]} == {"/dev/kfd", "/dev/dri"}


@pytest.mark.parametrize(("options", "profiles"), PROFILES)
def test_every_service_is_confined_bounded_and_pinned(options: tuple[str, ...], profiles: str) -> None:
    for name, service in _services(options, profiles).items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}, name
        assert re.fullmatch(r"lora-manager:(cpu|cuda|rocm)|[\w/.-]+:v?\d+\.\d+.*", service["image"])
        assert name in ONE_SHOT or "mem_limit" in service, name
        assert name in ONE_SHOT or service["healthcheck"]["test"], name
        assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped"), name
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", name
        if service.get("user", "").startswith(("0", "root")):
            assert name == "bucket", name
            assert service["network_mode"] == "none"
        for volume in service.get("volumes", []):
            assert volume["type"] == "volume" or volume.get("read_only"), f"{name} may write to {volume['source']}"


def test_stores_are_reached_by_ours_alone() -> None:
    config = compose_config(*PRODUCTION, LIBRARY="/library")
    assert config["networks"]["stores"]["internal"] is True
    for name in ("postgres", "redis", "store"):
        service = config["services"][name]
        assert set(service["networks"]) == {"stores"}, name
        assert not service.get("ports"), name


@pytest.mark.parametrize(("options", "profiles"), PROFILES)
def test_every_variable_of_ours_is_a_setting(options: tuple[str, ...], profiles: str) -> None:
    named = {
        variable
        for service in _services(options, profiles).values()
        for variable in service.get("environment") or {}
        if variable.startswith("LORA_MANAGER_")
    }
    assert named <= {f"LORA_MANAGER_{name.upper()}" for name in Settings.model_fields}


def test_secrets_are_made_once_and_fit_together(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    script = ROOT / "docker" / "make-secrets"
    subprocess.run((script, folder), check=True)
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert made["database_url"] == f"postgresql://lora:{made['postgres_password']}@postgres:5432/lora"
    assert made["celery_broker_url"] == f"redis://:{made['redis_password']}@redis:6379/0"
    assert made["published_s3_key"] == f"{made['s3_access_key']}:{made['s3_secret_key']}"
    assert made["redis_conf"].split() == ["requirepass", made["redis_password"]]
    assert f"prometheus:reader:{made['metrics_key']}\n" in made["api_keys"]
    random = [made[name] for name in made if re.fullmatch(r"[0-9a-f]{20,48}", made[name])]
    assert len(random) == len(set(random)) == 6
    subprocess.run((script, folder), check=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == made
    wanted = compose_config(*PRODUCTION, LIBRARY="/library", SECRETS=str(folder), MONITORING_SECRETS=str(folder))
    assert {Path(secret["file"]).name for secret in wanted["secrets"].values()} <= set(made)

    # The settings read them as the containers do.
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        data_dir=tmp_path / "data",
        database_url_file=folder / "database_url",
        run_launcher="celery",
        celery_broker_url_file=folder / "celery_broker_url",
        api_keys_file=folder / "api_keys",
    )
    assert settings.url == made["database_url"].replace("postgresql://", "postgresql+psycopg://")
    assert settings.celery_broker_url.get_secret_value() == made["celery_broker_url"]
    assert made["redis_password"] not in repr(settings)
    assert [key.name for key in settings.api_keys] == ["admin", "prometheus"]

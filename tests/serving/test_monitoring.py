"""What Prometheus and Grafana are shipped with: it asks for what `/metrics` has, and fits the compose file."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.warehouse.queries.library import fill
from warehouse.engine import Database

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
RULES = yaml.safe_load((DOCKER / "prometheus" / "rules.yml").read_text(encoding="utf-8"))
PROMETHEUS = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
DASHBOARD = json.loads((DOCKER / "grafana" / "dashboards" / "lora-manager.json").read_text(encoding="utf-8"))
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
OF_PROMETHEUS = {"up"}
SCRAPED = {"job", "instance"}
"""Labels that a scrape adds to every metric."""


def _expressions() -> Iterator[tuple[str, str]]:
    for rule in ALERTS:
        yield rule["alert"], rule["expr"]
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m")


def _selectors(expression: Any) -> Iterator[Any]:
    """Every selector of an expression, and the labels it is grouped by on the way."""
    if isinstance(expression, promql_parser.VectorSelector):
        yield expression
    for name in ("expr", "lhs", "rhs", "vector_selector"):
        inner = getattr(expression, name, None)
        if inner is not None:
            yield from _selectors(inner)
    for argument in getattr(expression, "args", None) or ():
        yield from _selectors(argument)


@pytest.fixture
def labels(database: Database, client: httpx.Client) -> dict[str, set[str]]:
    """Every sample that `/metrics` shows of a library that is used, with its labels, and those that are documented."""
    fill(database, 30)
    url = "https://example.org/"
    client.post("/api/v1/deliveries", json={"prompt": "a knight", "mode": "http", "params": {"url": url}})
    client.post("/api/v1/recommendations/prompt", json={"prompt": "a knight"})
    text = client.get("/metrics").text
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        found.setdefault(family.name, set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    for name, documented in re.findall(r"^\| `(lora_manager_\w+)` \| ([\w, `]+) \|", OPERATIONS, re.MULTILINE):
        found[name].update(label.strip(" `") for label in documented.split(","))
    return found


def test_every_expression_asks_for_what_is_there(labels: dict[str, set[str]]) -> None:
    for where, text in _expressions():
        selectors = list(_selectors(promql_parser.parse(text)))
        assert selectors, where
        named = {selector.name for selector in selectors}
        assert named <= labels.keys() | OF_PROMETHEUS, where
        known = set().union(*(labels.get(name, set()) for name in named)) | SCRAPED
        for selector in selectors:
            wanted = {matcher.name for matcher in selector.matchers.matchers}
            assert wanted <= labels.get(selector.name, set()) | SCRAPED, f"{where}: {selector.name}"
        grouped = {label.strip() for by in re.findall(r"(?:by|on) ?\(([^)]*)\)", text) for label in by.split(",")}
        assert grouped <= known, where


def test_every_legend_names_a_label_that_is_left() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            kept = {each.strip() for by in re.findall(r"by \(([^)]*)\)", target["expr"]) for each in by.split(",")}
            assert shown <= kept | SCRAPED, panel["title"]


def test_every_alert_says_how_urgent_it_is_and_is_explained() -> None:
    guide = (ROOT / "docs" / "production.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| `(\w+)` \|", guide, re.MULTILINE)
    assert {rule["alert"] for rule in ALERTS} <= set(explained)
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]


def test_prometheus_finds_the_api_its_key_and_its_rules() -> None:
    service = COMPOSE["services"]["prometheus"]
    api = next(job for job in PROMETHEUS["scrape_configs"] if job["job_name"] == "lora-manager")
    host, port = api["static_configs"][0]["targets"][0].split(":")
    command = COMPOSE["services"][host]["command"]
    assert command[command.index("--port") + 1] == port
    assert Path(api["authorization"]["credentials_file"]).name in service["secrets"]
    assert "./docker/prometheus:/etc/prometheus:ro" in service["volumes"]
    assert all((DOCKER / "prometheus" / name).exists() for name in PROMETHEUS["rule_files"])
    assert set(service["networks"]) & set(COMPOSE["x-service"]["networks"])


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    service = COMPOSE["services"]["grafana"]
    provisioning = DOCKER / "grafana" / "provisioning"
    source = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"][0]
    provider = yaml.safe_load((provisioning / "dashboards" / "lora-manager.yaml").read_text())["providers"][0]
    assert source["url"] == "http://prometheus:9090"
    used = {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]}
    assert used == {source["uid"]}
    assert f"./docker/grafana/dashboards:{provider['options']['path']}:ro" in service["volumes"]
    assert "./docker/grafana/provisioning:/etc/grafana/provisioning:ro" in service["volumes"]
    home = service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/lora-manager.json"


def test_panels_lie_beside_each_other() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"], panel["title"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])

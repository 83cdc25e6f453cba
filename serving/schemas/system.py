"""Health reports."""

from pydantic import BaseModel, ConfigDict, Field


class Alive(BaseModel):
    """The process answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "alive", "version": "0.1.0"}]})

    status: str
    version: str


class Part(BaseModel):
    """The state of one thing that answers depend on."""

    status: str = Field(description="`ready`, or why not: loading, absent, failed, unreachable, daemon_down.")
    needed: bool = Field(description="Whether the service is not ready without it.")
    detail: str


class Readiness(BaseModel):
    """Whether every question can be answered now."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "ready",
                    "checks": {
                        "database": {"status": "ready", "needed": True, "detail": "schema 0001"},
                        "index": {
                            "status": "ready",
                            "needed": True,
                            "detail": "20260101T080000-ab12cd34, 5000 adapters",
                        },
                        "dagster": {
                            "status": "unreachable",
                            "needed": False,
                            "detail": "Dagster's webserver does not answer",
                        },
                    },
                }
            ]
        }
    )

    status: str = Field(description="`ready`, or `unready` while something that is needed is not ready.")
    checks: dict[str, Part]

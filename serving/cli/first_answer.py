"""The first real answers, asked of the running API as any client would, so that they prove that it works."""

import shutil
import sys
import textwrap
from typing import Any

import httpx

from serving.cli.output import on_terminal, printable

PROMPT = "an airship captain in a clockwork city, watercolor"
_SHOWN = 3


def _lines(answer: dict[str, Any]) -> list[str]:
    width = shutil.get_terminal_size().columns if on_terminal() else sys.maxsize
    lines = []
    for item in answer["recommendations"][:_SHOWN]:
        lines.append(f"    {item['final_score']:.2f}  {printable(item['lora_name'])}")
        explanation = printable(item["explanation"])
        lines.append(textwrap.fill(explanation, width, initial_indent=" " * 10, subsequent_indent=" " * 10))
    return lines


def show_first_answer(api_url: str, *, with_keys: bool) -> None:
    """Print what is similar to the most downloaded adapter, and what a prompt finds; or how to ask with a key."""
    if with_keys:
        print(f'  Ask: curl -H "X-API-Key: …" "{api_url}/api/v1/adapters?limit=3"')
        return
    try:
        with httpx.Client(base_url=api_url, timeout=60, trust_env=False) as client:
            listed = client.get("/api/v1/adapters", params={"limit": 1, "sort": "-downloads"}).raise_for_status().json()
            if not listed["items"]:
                print("  The library is empty: add one with `lora-manager sync PATH`.")
                return
            first = listed["items"][0]
            print(f"  {listed['total']} adapters.")
            similar = client.get(f"/api/v1/recommendations/similar/{first['id']}", params={"limit": _SHOWN})
            print(f"  Similar to {printable(first['name'])!r}:")
            print("\n".join(_lines(similar.raise_for_status().json())))
            found = client.post("/api/v1/recommendations/prompt", json={"prompt": PROMPT, "limit": _SHOWN})
            print(f"  For the prompt {PROMPT!r}:")
            print("\n".join(_lines(found.raise_for_status().json())))
    except httpx.HTTPStatusError as error:
        print(
            f"  No answer yet: {error.request.url.path} said {error.response.status_code} {error.response.text[:300]}"
        )
    except httpx.HTTPError as error:
        print(f"  No answer yet: {error}")

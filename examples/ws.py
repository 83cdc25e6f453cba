"""Queue a generation and follow it live: `python examples/ws.py "a knight, best quality"`.

Needs httpx and websockets. LORA_MANAGER_API (default http://127.0.0.1:8000) is where the API is, LORA_MANAGER_API_KEY
a key for it. Writes the pictures into the folder that it is started in.
"""

import argparse
import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect

ENDINGS = ("generation_complete", "generation_error", "generation_cancelled")


def main() -> int:
    """Follow one generation; the exit code says whether it has pictures."""
    parser = argparse.ArgumentParser(description="Queue a generation and follow it live.")
    parser.add_argument("prompt")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--size", type=int, default=512, help="pixels of a side")
    asked = parser.parse_args()
    api = os.environ.get("LORA_MANAGER_API", "http://127.0.0.1:8000").rstrip("/")
    key = os.environ.get("LORA_MANAGER_API_KEY")
    headers = {"X-API-Key": key} if key else {}

    # Connected before the job is queued: nothing of it is missed. With {"type": "subscribe", "after": seq} a client
    # that was cut off goes on where it was.
    with connect(api.replace("http", "ws", 1) + "/ws/progress", additional_headers=headers, max_size=None) as socket:
        question = {"prompt": asked.prompt, "steps": asked.steps, "width": asked.size, "height": asked.size}
        answer = httpx.post(f"{api}/api/v1/generation/queue-generation", json=question, headers=headers)
        if answer.is_error:
            print(answer.json()["detail"], file=sys.stderr)
            return 1
        job_id = answer.json()["job_id"]
        for text in socket:
            message = json.loads(text)
            if message.get("job_id") != job_id:
                continue
            if message["type"] == "generation_progress":
                print(f"{message['status']} {message['progress']:.0f} % step {message['step']} of {message['steps']}")
            elif message["type"] in ENDINGS:
                return ended(job_id, message)
    return 1


def ended(job_id: str, message: dict[str, Any]) -> int:
    """Write the pictures, or say why there are none."""
    if message["type"] != "generation_complete":
        print(message.get("error", message["status"]), file=sys.stderr)
        return 1
    for number, image in enumerate(message["result"]["images"]):
        data = base64.b64decode(image)
        kind = "png" if data.startswith(b"\x89PNG") else "jpg"
        path = Path(f"{job_id}-{number}.{kind}")
        path.write_bytes(data)
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())

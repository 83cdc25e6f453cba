"""The process that generates: `python -m pipelines.backends.diffusers.worker`, spoken with in lines of JSON.

It reads requests from its standard input and writes what becomes of them to its standard output. A process of its own
because the libraries take seconds to import and gigabytes to hold, compute under Python's lock, and can be stopped for
certain only by ending them. It ends when its input does. Belongs here: the model. Does not: jobs, and who starts it.

In:  {"type": "generate", ...}, {"type": "interrupt"}
Out: {"type": "step", "step", "steps"}, {"type": "done", "pictures", "unfit"}, {"type": "interrupted"},
     {"type": "error", "message", "failure"}
"""

import base64
import io
import json
import os
import queue
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from warehouse.generating import Failure

_MAX_THREADS = 8


class Refused(ValueError):  # noqa: N818 - of the request, not a fault
    """What is asked for cannot be done; the message says why."""

    failure = Failure.REFUSED


class LorasUnfit(Refused):
    """LoRAs do not fit, and are not to be left out."""

    failure = Failure.LORAS


class _Wire:
    """The two directions of the conversation."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self.requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.is_interrupted = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if message["type"] == "interrupt":
                self.is_interrupted.set()
            else:
                self.is_interrupted.clear()
                self.requests.put(message)
        os._exit(0)  # who wanted pictures is gone, whatever is being computed

    def tell(self, kind: str, **members: Any) -> None:
        """Write a message."""
        self._output.write(f"{json.dumps({'type': kind, **members})}\n")
        self._output.flush()


class Painter:
    """A loaded model."""

    def __init__(self, model: Path, device: str) -> None:
        import torch

        torch.set_num_threads(min(torch.get_num_threads(), _MAX_THREADS))
        self._device = _device(device)
        dtype = torch.float32 if self._device == "cpu" else torch.float16
        self._pipe = _load(model, dtype).to(self._device)
        self._pipe.set_progress_bar_config(disable=True)
        self._scheduler = self._pipe.scheduler

    def paint(self, request: Mapping[str, Any], wire: _Wire) -> None:
        """Make the pictures of a request and tell of them."""
        unfit = self._take_loras(request["loras"], strict=request["strict"])
        try:
            self._choose_scheduler(request.get("scheduler"))
            pictures = [picture for number in range(request["n_iter"]) for picture in self._pass(request, number, wire)]
        finally:
            self._pipe.unload_lora_weights()
            self._pipe.scheduler = self._scheduler
        if wire.is_interrupted.is_set():
            wire.tell("interrupted")
        else:
            wire.tell("done", pictures=pictures, unfit=unfit)

    def _take_loras(self, loras: list[Mapping[str, Any]], *, strict: bool) -> dict[str, str]:
        """Load LoRAs by their files; those that do not fit, with the reason."""
        unfit: dict[str, str] = {}
        weights: dict[str, float] = {}
        for number, lora in enumerate(loras):
            path, adapter = Path(lora["path"]), f"lora_{number}"
            try:
                if path.suffix != ".safetensors":
                    raise Refused("only files of safetensors are loaded, for others may run code")  # noqa: TRY301
                self._pipe.load_lora_weights(
                    str(path.parent), weight_name=path.name, adapter_name=adapter, local_files_only=True
                )
            except Exception as error:
                unfit[lora["name"]] = f"{type(error).__name__}: {error}"[:500]
            else:
                weights[adapter] = lora["weight"]
        if unfit and strict:
            self._pipe.unload_lora_weights()
            raise LorasUnfit("; ".join(f"the LoRA {name} does not fit: {why}" for name, why in unfit.items()))
        if weights:
            self._pipe.set_adapters(list(weights), list(weights.values()))
        return unfit

    def _choose_scheduler(self, scheduler: list[Any] | None) -> None:
        if scheduler is None:
            return
        import diffusers

        name, options = scheduler
        self._pipe.scheduler = getattr(diffusers, name).from_config(self._scheduler.config, **options)

    def _pass(self, request: Mapping[str, Any], number: int, wire: _Wire) -> list[dict[str, Any]]:
        if wire.is_interrupted.is_set():
            return []
        import torch

        count, steps = request["batch_size"], request["steps"]
        seeds = [(request["seed"] + number * count + position) % 2**32 for position in range(count)]

        def stepped(pipe: Any, step: int, _timestep: Any, state: dict[str, Any]) -> dict[str, Any]:
            if wire.is_interrupted.is_set():
                pipe._interrupt = True
            wire.tell("step", step=number * steps + min(step + 1, steps), steps=steps * request["n_iter"])
            return state

        images = self._pipe(
            prompt=[request["prompt"]] * count,
            negative_prompt=[request["negative_prompt"]] * count,
            num_inference_steps=steps,
            guidance_scale=request["cfg_scale"],
            width=request["width"],
            height=request["height"],
            # On the CPU whatever computes, so that a seed is the same picture everywhere.
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            callback_on_step_end=stepped,
        ).images
        return [{"seed": seed, "data": _png(image)} for seed, image in zip(seeds, images, strict=True)]


def _png(image: Any) -> str:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def _device(wanted: str) -> str:
    import torch

    if wanted == "rocm":
        return "cuda"
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def _load(model: Path, dtype: Any) -> Any:
    """The pipeline of a folder or checkpoint. Nothing is fetched and no pickle is read: either could be code."""
    import diffusers

    options = {"torch_dtype": dtype, "local_files_only": True, "use_safetensors": True}
    if model.is_dir():
        pipelines: Any = diffusers.DiffusionPipeline
        return pipelines.from_pretrained(str(model), **options)
    if not model.is_file():
        raise Refused(f"the model {model} is not there: correct LORA_MANAGER_DIFFUSERS_MODEL")
    from safetensors import safe_open

    with safe_open(str(model), framework="pt") as tensors:
        is_xl = any(key.startswith("conditioner.embedders.") for key in tensors.keys())  # noqa: SIM118 - no mapping
    kind = diffusers.StableDiffusionXLPipeline if is_xl else diffusers.StableDiffusionPipeline
    return kind.from_single_file(str(model), **options)


def main() -> None:
    """Answer requests until the input ends."""
    # The libraries print: what they say goes where errors go, and the conversation has its own channel.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    wire = _Wire(output)
    painter: Painter | None = None
    while True:
        request = wire.requests.get()
        try:
            if painter is None:
                painter = Painter(Path(request["model"]), request["device"])
            painter.paint(request, wire)
        except Exception as error:
            words, failure = f"{type(error).__name__}: {error}", Failure.ERROR
            if isinstance(error, Refused):
                words, failure = str(error), error.failure
            wire.tell("error", message=words[:2000], failure=failure.value)


if __name__ == "__main__":
    main()

"""Sample models written down in the formats that sites and tools use.

Belongs here: JSON shapes. Does not: what is in them (`records`), where they lie (`library`).
"""

from __future__ import annotations

from random import Random
from typing import TypeAlias

from warehouse.samples.records import Hashes, Image, Model, Version, WeightClaim, blur_hash

Document: TypeAlias = "dict[str, object]"

_SITE = "https://civitai.com"
_SD_VERSIONS = {"SD 1.5": "SD1", "SD 2.1": "SD2", "Flux.1 D": "Other"}
_IMPORTED_AT = 1_760_000_000.25


def api_model(random: Random, model: Model) -> Document:
    """One item of `/api/v1/models`, spelled as in the model's schema generation."""
    downloads = sum(version.downloads for version in model.versions)
    likes = sum(version.likes for version in model.versions)
    document: Document = {
        "id": model.model_id,
        "name": model.subject.name,
        "description": model.description,
        "type": "LORA",
        "poi": False,
        "nsfw": False,
        "allowNoCredit": model.allow_no_credit,
        "allowCommercialUse": _commercial(random, model),
        "allowDerivatives": model.allow_derivatives,
        "allowDifferentLicense": model.allow_different_license,
        "stats": _stats(model.generation, downloads, likes),
        "creator": {"username": model.author, "image": None},
        "tags": list(model.subject.tags),
        "modelVersions": [_api_version(random, model, version, index) for index, version in enumerate(model.versions)],
    }
    if model.generation >= 2025:
        document |= {"nsfwLevel": 1, "minor": False, "cosmetic": None}
    if model.generation >= 2026:
        document |= {"availability": "Public", "sfwOnly": False, "supportsGeneration": model.supports_generation}
    return document


def page(random: Random, models: list[Model]) -> Document:
    """A page of the list endpoint."""
    items = [api_model(random, model) for model in models]
    return {"items": items, "metadata": {"nextCursor": f"{models[-1].model_id}|1", "pageSize": len(items)}}


def version_document(random: Random, model: Model, version: Version, *, merged: bool) -> Document:
    """`{stem}.civitai.info`: a version with a stub of its model; `merged` adds author, tags and licence as forks do."""
    stub: Document = {"name": model.subject.name, "type": "LORA", "nsfw": False, "poi": False}
    document: Document = {
        "id": version.version_id,
        "modelId": model.model_id,
        "name": version.name,
        "createdAt": version.created_at,
        "updatedAt": version.published_at,
        "publishedAt": version.published_at,
        "trainedWords": version.trained_words,
        "baseModel": version.base_model,
        "description": version.description,
        "stats": {"downloadCount": version.downloads, "ratingCount": 0, "rating": 0, "thumbsUpCount": version.likes},
        "model": stub,
        "files": [_file(version.file, model.generation)],
        "images": [_image(random, image, model.generation) for image in version.images],
        "downloadUrl": f"{_SITE}/api/download/models/{version.version_id}",
    }
    if merged:
        stub |= {"description": model.description, "tags": list(model.subject.tags)} | _licence(model)
        document["creator"] = {"username": model.author, "image": None}
        document["extensions"] = {"sd_civitai_helper": {"version": "1.8.1", "skeleton_file": False}}
    return document


def a1111(random: Random, model: Model, version: Version) -> Document:
    """`{stem}.json`: what a person keeps beside a weight file in A1111 or Forge."""
    words = list(model.subject.words)
    return {
        "description": model.subject.sentences[0],
        "sd version": _SD_VERSIONS.get(version.base_model, "SDXL"),
        "activation text": " || ".join((", ".join(words), words[0])) if random.random() < 0.2 else ", ".join(words),
        "preferred weight": random.choice((0, 0.6, 0.75, 0.8, 1.0)),
        "negative text": random.choice(("", "blurry, text")),
        "notes": random.choice(("", "a favourite for wide scenes", "works best below 0.8", "背景向き")),
    }


def lora_manager(random: Random, model: Model, version: Version, stem: str, size: int) -> Document:
    """`{stem}.metadata.json` of ComfyUI-Lora-Manager; `usage_tips` is JSON inside a string."""
    civitai = version_document(random, model, version, merged=True)
    civitai.pop("extensions", None)
    return {
        "file_name": stem,
        "model_name": model.subject.name,
        "file_path": f"C:/ComfyUI/models/loras/{stem}.safetensors",
        "size": size,
        "modified": _IMPORTED_AT,
        "sha256": version.file.hashes.sha256,
        "base_model": version.base_model,
        "preview_url": f"C:/ComfyUI/models/loras/{stem}.webp",
        "preview_nsfw_level": 1,
        "notes": random.choice(("", "use with a lamp in the scene", "two triggers, pick one")),
        "from_civitai": True,
        "civitai": civitai,
        "tags": list(model.subject.tags),
        "modelDescription": model.description,
        "civitai_deleted": False,
        "favorite": random.random() < 0.15,
        "exclude": False,
        "db_checked": False,
        "metadata_source": "civitai_api",
        "usage_tips": random.choice(
            ("{}", '{"strength":0.8}', '{"strength_min":0.5,"strength_max":0.9,"clip_skip":2}')
        ),
    }


def stability_matrix(random: Random, model: Model, version: Version) -> Document:
    """`{stem}.cm-info.json` of Stability Matrix."""
    hashes = version.file.hashes
    return {
        "ModelId": model.model_id,
        "ModelName": model.subject.name,
        "ModelDescription": model.description,
        "Nsfw": False,
        "Tags": list(model.subject.tags),
        "ModelType": "LORA",
        "VersionId": version.version_id,
        "VersionName": version.name,
        "VersionDescription": version.description,
        "AuthorUsername": model.author,
        "BaseModel": version.base_model,
        "RemoteFileName": version.file.name,
        "RemoteFileId": version.file.file_id,
        "FileMetadata": {"fp": "fp16", "size": "pruned", "format": "SafeTensor"},
        "ImportedAt": "2025-10-09T08:53:20+00:00",
        "Hashes": {"SHA256": hashes.sha256.upper(), "CRC32": hashes.crc32.upper(), "BLAKE3": hashes.blake3.upper()},
        "TrainedWords": version.trained_words,
        "Stats": {"downloadCount": version.downloads, "ratingCount": 0, "rating": 0, "thumbsUpCount": version.likes},
        "UserTitle": f"My {model.subject.kind}: {model.subject.name}" if random.random() < 0.2 else None,
        "ThumbnailImageUrl": version.images[0].url if version.images else None,
        "Source": 0,
    }


def swarm(random: Random, model: Model, version: Version, payload_sha256: str) -> Document:
    """`{stem}.swarm.json` of SwarmUI, as its downloader writes it."""
    link = f"{_SITE}/models/{model.model_id}?modelVersionId={version.version_id}"
    return {
        "modelspec.title": f"{model.subject.name} - {version.name}",
        "modelspec.author": model.author,
        "modelspec.description": f'From <a href="{link}">{link}</a>\n{model.description}',
        "modelspec.architecture": _architecture(version.base_model),
        "modelspec.date": version.created_at,
        "modelspec.trigger_phrase": "; ".join(version.trained_words),
        "modelspec.tags": ", ".join(model.subject.tags),
        "modelspec.usage_hint": version.base_model if version.base_model in ("Pony", "Illustrious") else "",
        "modelspec.lora_default_weight": random.choice(("0.8", "1")),
        "modelspec.hash_sha256": f"0x{payload_sha256}",
    }


def rgthree(random: Random, model: Model, version: Version) -> Document:
    """`{file}.rgthree-info.json` of rgthree-comfy: triggers and training tags in one list."""
    trained: list[Document] = [{"word": word, "civitai": True} for word in version.trained_words]
    trained += [{"word": tag, "count": random.randint(2, 60), "metadata": True} for tag in model.subject.essence]
    raw = version_document(random, model, version, merged=False)
    return {
        "file": version.file.name,
        "path": f"loras/{version.file.name}",
        "modified": int(_IMPORTED_AT * 1000),
        "name": f"{model.subject.name} - {version.name}",
        "type": "LORA",
        "baseModel": version.base_model,
        "links": [f"{_SITE}/models/{model.model_id}?modelVersionId={version.version_id}"],
        "strengthMin": 0.5,
        "strengthMax": 0.9,
        "trainedWords": trained,
        "sha256": version.file.hashes.sha256,
        "images": [{"url": image.url, "width": image.width, "height": image.height, "type": "image", "nsfwLevel": 1,
                    "seed": image.seed, "positive": image.prompt, "negative": image.negative, "steps": image.steps,
                    "sampler": image.sampler, "cfg": image.cfg, "model": image.checkpoint} for image in version.images],
        "userNote": random.choice(("", "lovely at dusk")),
        "raw": {"civitai": raw},
    }  # fmt: skip


def _api_version(random: Random, model: Model, version: Version, index: int) -> Document:
    generation = model.generation
    document: Document = {"id": version.version_id, "modelId": model.model_id, "name": version.name}
    if generation == 2023:
        document |= {"createdAt": version.created_at, "updatedAt": version.published_at, "earlyAccessTimeFrame": 0}
    else:
        document |= {"index": index, "publishedAt": version.published_at, "availability": "Public", "nsfwLevel": 1}
        document |= {"baseModelType": "Standard" if generation == 2026 else None}
    document |= {
        "trainedWords": version.trained_words,
        "baseModel": version.base_model,
        "description": version.description,
        "stats": _stats(generation, version.downloads, version.likes),
        "files": [_file(version.file, generation)],
        "images": [_image(random, image, generation) for image in version.images],
        "downloadUrl": f"{_SITE}/api/download/models/{version.version_id}",
    }
    return document


def _file(claim: WeightClaim, generation: int) -> Document:
    return {
        "id": claim.file_id,
        "name": claim.name,
        "sizeKB": claim.size_kb,
        "type": "Model",
        "metadata": {"fp": "fp16", "size": "full" if generation == 2023 else None, "format": "SafeTensor"},
        "pickleScanResult": "Success",
        "pickleScanMessage": "No Pickle imports",
        "virusScanResult": "Success",
        "hashes": _hashes(claim.hashes, generation),
        "downloadUrl": f"{_SITE}/api/download/models/{claim.file_id}",
        "primary": True,
    }


def _hashes(hashes: Hashes, generation: int) -> dict[str, str]:
    claimed = {
        "AutoV1": hashes.autov1.upper(),
        "AutoV2": hashes.sha256[:10].upper(),
        "SHA256": hashes.sha256.upper(),
        "CRC32": hashes.crc32.upper(),
        "BLAKE3": hashes.blake3.upper(),
    }
    return claimed if generation == 2023 else claimed | {"AutoV3": hashes.autov3.upper()}


def _image(random: Random, image: Image, generation: int) -> Document:
    document: Document = {"id": image.image_id, "url": image.url, "width": image.width, "height": image.height}
    document["hash"] = blur_hash(random)
    if generation == 2023:
        document["nsfw"] = "None"
    else:
        document |= {"nsfwLevel": 1, "type": "image", "hasMeta": image.prompt is not None, "onSite": False}
    document["meta"] = _meta(image) if image.prompt is not None else None
    return document


def _meta(image: Image) -> Document:
    model_hash = f"{image.seed:08x}00"
    meta: Document = {
        "Size": f"{image.width}x{image.height}",
        "seed": image.seed,
        "Model": image.checkpoint,
        "steps": image.steps,
        "prompt": image.prompt,
        "negativePrompt": image.negative,
        "sampler": image.sampler,
        "cfgScale": image.cfg,
        "Clip skip": "2",
        "hashes": {"model": model_hash},
        "Model hash": model_hash,
        "Version": "v1.10.1",
        "resources": [
            {"hash": model_hash, "name": image.checkpoint, "type": "model"},
            {"name": image.lora, "type": "lora", "weight": image.weight},
        ],
    }
    if image.seed % 3 == 0:
        meta |= {"Hires upscale": "1.5", "Hires upscaler": "Latent", "Denoising strength": "0.45", "Hires steps": "12"}
    return meta


def _stats(generation: int, downloads: int, likes: int) -> dict[str, object]:
    if generation == 2023:
        votes = likes // 20
        rating = round(4 + likes % 11 / 10, 2) if votes else 0
        return {
            "downloadCount": downloads,
            "favoriteCount": likes,
            "commentCount": likes // 50,
            "ratingCount": votes,
            "rating": rating,
        }
    return {
        "downloadCount": downloads,
        "thumbsUpCount": likes,
        "thumbsDownCount": likes // 60,
        "commentCount": likes // 50,
        "tippedAmountCount": likes // 9,
    }


def _licence(model: Model) -> Document:
    return {
        "allowNoCredit": model.allow_no_credit,
        "allowCommercialUse": list(model.commercial_use),
        "allowDerivatives": model.allow_derivatives,
        "allowDifferentLicense": model.allow_different_license,
    }


def _commercial(random: Random, model: Model) -> object:
    """A licence in one of its spellings: one word (2023), a list, or a Postgres array as text."""
    if model.generation == 2023:
        return model.commercial_use[-1] if model.commercial_use else "None"
    if random.random() < 0.1:
        return "{" + ",".join(model.commercial_use) + "}"
    return list(model.commercial_use)


def _architecture(base_model: str) -> str:
    match base_model:
        case "SD 1.5":
            return "stable-diffusion-v1/lora"
        case "SD 2.1":
            return "stable-diffusion-v2-512/lora"
        case "Flux.1 D":
            return "flux-1-dev/lora"
        case _:
            return "stable-diffusion-xl-v1-base/lora"

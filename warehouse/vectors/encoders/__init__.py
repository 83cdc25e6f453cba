"""Encoders: text (and, where the model can, images) to unit vectors, on whatever device there is.

Belongs here: models and their arithmetic. Does not: what is embedded (`texts`) and where vectors go (`work`).
"""

from warehouse.vectors.encoders.factory import model_origin, model_version, open_encoder, shared_encoder
from warehouse.vectors.encoders.protocol import Encoder, EncoderError, EncoderIdentity, ImageEncoder, Progress

__all__ = [
    "Encoder",
    "EncoderError",
    "EncoderIdentity",
    "ImageEncoder",
    "Progress",
    "model_origin",
    "model_version",
    "open_encoder",
    "shared_encoder",
]

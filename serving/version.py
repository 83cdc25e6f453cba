"""The version of the installed project."""

import importlib.metadata

VERSION = importlib.metadata.version("lora-manager-backend")

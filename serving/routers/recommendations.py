"""`/recommendations`."""

from fastapi import APIRouter

router = APIRouter(prefix="/recommendations", tags=["recommendations"])

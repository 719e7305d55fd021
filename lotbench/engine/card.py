"""`ModelCard`: what a trained model is, besides its files."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class ModelCard(BaseModel):
    """What the cards of a saved and of an exported model have in common."""

    # Other keys are those of another version of LoTBench.
    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="ignore",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    method: str
    version: int
    """Of the method."""
    n_labels: Annotated[int, Field(ge=1, le=100_000)]
    """Classes; 1 for regression."""
    max_length: Annotated[int, Field(ge=1, lt=2**31)]
    """Most tokens of a text."""
    files: dict[str, str] = Field({})
    """Checksums of the other files by name; models of older versions have none."""

"""The hyper-parameters of Leap-of-Thought; see `lotbench.lot`."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from lotbench import reducer
from lotbench.matching import OF_STATES, OF_WORDS

ALL_LAYERS = 1000
PAPER = {
    "straight_through": True,
    "router_width": 256,
    "router_bias": 5.0,
    "router_learning_rate": None,
    "share_normalisation": "softmax",
    "saliency_length": 128,
    "top_p": 0.3,
    "loss_weight": 0.05,
}


class Params(reducer.Params):
    """Hyper-parameters; ``preset: paper`` has the published values."""

    preset: Literal["recommended", "paper"] = Field(
        "recommended", description="values of the other parameters where the file gives none"
    )
    top_p: float = Field(0.5, gt=0, le=1, description="share of saliency that is processed")
    loss_weight: float = Field(1.0, ge=0, le=1e6, description="weight of the guidance loss")
    threshold: float = Field(0.5, ge=0, le=1, description="process iff P(process) is above")
    router_width: int = Field(32, ge=1, le=8192, description="hidden width of each router")
    router_bias: float = Field(
        2.0, ge=-100, le=100, description="initial bias (-b, +b): starts by processing"
    )
    router_learning_rate: float | None = Field(
        2e-3, gt=0, le=10, description="null: the trial's own"
    )
    straight_through: bool = Field(False, description="let the task gradient reach the routers")
    temperature: float = Field(1.0, ge=1e-3, le=1e3, description="of the Gumbel-softmax")
    routing: Literal["leap", "drop"] = Field(
        "leap", description="may a token that is not chosen come back"
    )
    router: Literal["state", "table"] = Field(
        "state", description="decide from states, or once from word and place"
    )
    leaping_keys: Literal["context", "all", "none"] = Field(
        "context", description="layers see leaping tokens as their mean, all of them, or not at all"
    )
    router_context: bool = Field(True, description="add the sequence mean to the router's input")
    guidance: Literal["gradient", "attention", "counted", "random", "none"] = Field(
        "gradient", description="saliency that routers learn from; counted: no router, its mean"
    )
    share_normalisation: Literal["sum", "softmax"] = Field(
        "sum", description="how saliency becomes a share of its text"
    )
    saliency_length: int | None = Field(
        None,
        ge=1,
        le=65_536,
        description="softmax over texts padded to this length, the task's max_length",
    )
    detach_router: bool = Field(False, description="guidance does not train the backbone")
    decision_every: int = Field(
        1, ge=1, le=ALL_LAYERS, description="reuse a decision for this many layers"
    )
    after: int = Field(
        0, ge=0, le=ALL_LAYERS, description="layers that compute every token, before any decision"
    )
    reads: Literal["self", "match"] = Field(
        "self", description="match: a second text's routers also read how it matches the first"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_preset(cls, values: dict[str, Any]) -> dict[str, Any]:
        defaults: dict[str, Any] = PAPER if values.get("preset") == "paper" else {}
        if values.get("routing") == "drop" or values.get("router") == "table":
            defaults = {**defaults, "leaping_keys": "none"}
        if values.get("router") == "table":
            defaults = {**defaults, "router_context": False, "decision_every": ALL_LAYERS}
        if values.get("share_normalisation") == "sum":
            defaults = {**defaults, "saliency_length": None}
        return {**defaults, **values}

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        if self.routing == "drop" and self.leaping_keys != "none":
            raise ValueError("routing: drop needs leaping_keys: none, since no token leaps")
        if self.router == "table" and (self.leaping_keys != "none" or self.router_context):
            raise ValueError(
                "router: table needs leaping_keys: none and router_context: false, since it "
                "decides before any token has a state"
            )
        if self.router == "table" and self.after:
            raise ValueError(
                f"router: table decides before the embedding, so no layer can compute every token "
                f"before it; remove after: {self.after} or router: table"
            )
        if self.guidance == "counted" and (
            self.router != "table" or self.straight_through or self.match_features
        ):
            raise ValueError(
                "guidance: counted learns nothing, so it needs router: table and "
                "straight_through: false, and with reads: match also balance: chosen (lot-fixed)"
            )
        if self.saliency_length is not None and self.share_normalisation != "softmax":
            raise ValueError("saliency_length needs share_normalisation: softmax")
        return self

    @property
    def match_features(self) -> int:
        """How many numbers of a match the linear map of each router reads."""
        return (OF_WORDS + OF_STATES * (self.router == "state")) * (self.reads == "match")


class FixedBudgetParams(Params):
    """Hyper-parameters of `lotbench.lot.FixedBudget`."""

    keep_ratio: float = Field(0.25, gt=0, le=1, description="share of a text that layers process")
    first_share: float | None = Field(
        None, gt=0, le=1, description="most of what is kept that is of a first text; null: all"
    )
    balance: Literal["learned", "chosen"] = Field(
        "learned", description="chosen: dense's answers say what a match counts, not saliency"
    )
    threshold: None = Field(None, description="not used: keep_ratio decides")
    straight_through: Literal[False] = Field(
        False, description="sampled decisions would not keep to keep_ratio"
    )
    routing: Literal["leap"] = Field(
        "leap", description="with drop, layers after the first would leave out nothing"
    )

    @model_validator(mode="after")
    def _check_balance(self) -> Self:
        if self.balance == "chosen" and (self.reads, self.router) != ("match", "table"):
            raise ValueError("balance: chosen needs reads: match and router: table")
        return self

    @property
    def match_features(self) -> int:
        return super().match_features * (self.balance == "learned")

"""The share of time in each section of a model: decisions, moves, attention, feed-forward, rest.

This is a separate pass after the timed rounds.  It attaches a stopwatch to the modules of each
layer, to the method's decisions and to the attention kernel, and removes it afterwards, so the
timed code does not contain it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

from torch import nn

from lotbench.engine.encoder import ReducedEncoder
from lotbench.measure.devices import clock_of
from lotbench.ragged import Ragged

DECISIONS, RECEIVED, MOVES, ATTENTION, FEED_FORWARD, REST = SECTIONS = (
    "decisions",
    "received_attention",
    "gather_scatter",
    "attention",
    "feed_forward",
    "rest",
)
"""In this order: the method's own work (routers, policies, ranks); the additional time of an
attention kernel that also returns the received attention; selection, gather and write-back of
rows, with the engine's bookkeeping; projections, kernel and output of attention; the feed-forward;
embedding, and pooling, or pooler and classifier."""


class Stopwatch:
    """Counts seconds by section; one section is active at a time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.seconds: dict[str, float] = dict.fromkeys(SECTIONS, 0.0)
        self.section = REST
        self.since = clock()

    def enter(self, section: str) -> None:
        """End the active section and start this one."""
        now = self.clock()
        self.seconds[self.section] += now - self.since
        self.section, self.since = section, now

    def time_apart(self, work: Callable[[], Any]) -> float:
        """Seconds that ``work`` takes; they are not counted in any section."""
        start = self.clock()
        work()
        seconds = self.clock() - start
        self.since += seconds
        return seconds

    def move(self, seconds: float, section: str) -> None:
        """Move seconds from the active section to another."""
        self.seconds[section] += seconds
        self.seconds[self.section] -= seconds


def time_shares(
    encoder: ReducedEncoder,
    calls: Sequence[Callable[[], object]],
    padded: bool,
    clock: Callable[[], float] | None = None,
) -> dict[str, float]:
    """The share of the calls' time by section (see `SECTIONS`); the shares sum to 1.

    Each call runs the encoder once, or, if ``padded``, its Hugging Face model on a padded batch.
    On a GPU the clock waits for the device, so a kernel counts in the section that starts it.
    """
    watch = Stopwatch(clock or clock_of(encoder.backbone.model.device))
    with _watched(encoder, watch, REST if padded else MOVES):
        for call in calls:
            watch.enter(REST)
            call()
        watch.enter(REST)
    watch.section = ATTENTION
    watch.move(-min(0.0, watch.seconds[RECEIVED]), RECEIVED)  # negative through noise only
    total = sum(watch.seconds.values())
    return {section: seconds / total for section, seconds in watch.seconds.items()}


@contextmanager
def _watched(encoder: ReducedEncoder, watch: Stopwatch, between: str) -> Iterator[None]:
    """Lets the encoder's modules and decisions switch the stopwatch inside the block.

    ``between`` is the section of all other code within the layers.
    """

    def before(part: Any, section: str) -> None:
        hook = _modules(part)[0].register_forward_pre_hook(lambda *_: watch.enter(section))
        stack.callback(hook.remove)

    def after(part: Any, section: str) -> None:
        hook = _modules(part)[-1].register_forward_hook(lambda *_: watch.enter(section))
        stack.callback(hook.remove)

    def replace(owner: nn.Module, name: str, stand_in: Callable[..., Any]) -> None:
        setattr(owner, name, stand_in)  # on the instance, so it hides the method of the class
        stack.callback(delattr, owner, name)

    def around(name: str) -> None:
        decide = getattr(encoder.reducer, name)

        @wraps(decide)
        def watched(*arguments: Any) -> Any:
            watch.enter(DECISIONS)
            decision = decide(*arguments)
            watch.enter(between)
            return decision

        replace(encoder.reducer, name, watched)

    backbone, attend_and_receive = encoder.backbone, encoder.backbone.attend_and_receive

    def receiving(*arguments: Any) -> Any:
        shared = arguments[:-1]  # the last says whose attention counts as received
        watch.time_apart(lambda: backbone.attend(*_fresh(shared)))  # the first call is slow
        without = watch.time_apart(lambda: backbone.attend(*_fresh(shared)))
        start = watch.clock()
        result = attend_and_receive(*arguments)
        watch.move(watch.clock() - start - without, RECEIVED)
        return result

    with ExitStack() as stack:
        replace(backbone, "attend_and_receive", receiving)
        for layer in backbone.layers:
            before(layer.query, ATTENTION)
            after(layer.attention_output, between)
            before(layer.feed_forward, FEED_FORWARD)
            after(layer.feed_forward, between)
        for head in [backbone.pooling] if backbone.pooling else backbone.head_modules:
            before(head, REST)
        before(backbone.model.get_input_embeddings(), REST)
        around("before_embedding")
        around("before_layer")
        around("after_attention")
        yield


def _fresh(arguments: Sequence[Any]) -> list[Any]:
    """The same arguments, but with layouts whose caches are empty."""
    return [Ragged(x.cu_seqlens, x.sizes) if isinstance(x, Ragged) else x for x in arguments]


def _modules(part: Any) -> list[nn.Module]:
    """The modules of a part of a layer, in the order in which they run."""
    if isinstance(part, nn.Module):
        return [part]
    return [
        module for value in getattr(part, "__dict__", {}).values() for module in _modules(value)
    ]

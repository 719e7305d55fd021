"""Damage to one file, drawn with a seed: to its bytes, or to a value of its JSON."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 10**5, 10**9, 10**12, 10**400, -0.5, 0.5, 1e308),
    *(float("inf"), float("nan"), "", "x", "1", "../..", "\0", "é" * 300, "$[red]|", "\ud800"),
    *([], [1], ["a"] * 3, [[[]]], {}, {"a": 1}),
)
MOST = 60
"""Keys of a mapping and elements of a list among which a value is drawn."""


def damage_value(draw: random.Random, path: Path) -> tuple[str | int, ...]:
    """One value of a JSON file replaced by one that hardly fits, or left out; its key path."""
    content = json.loads(path.read_text())
    place = draw.choice(list(_places(draw, content)))
    parent = content
    for part in place[:-1]:
        parent = parent[part]
    if draw.random() < 0.15:
        del parent[place[-1]]
    else:
        parent[place[-1]] = draw.choice(ODD)
    path.write_text(json.dumps(content).replace("Infinity", "1e999"))
    return place


def _places(
    draw: random.Random, content: Any, above: tuple[str | int, ...] = ()
) -> Iterator[tuple[str | int, ...]]:
    """The key paths of a JSON value."""
    if isinstance(content, dict | list):
        keys = list(content) if isinstance(content, dict) else list(range(len(content)))
        for key in draw.sample(keys, min(len(keys), MOST)):
            yield (*above, key)
            yield from _places(draw, content[key], (*above, key))


def damage_file(draw: random.Random, path: Path) -> None:
    """Bytes changed, cut, put in or doubled; a folder or a link in its place."""
    if not path.is_file():
        return
    content = bytearray(path.read_bytes())
    way = draw.randrange(7)
    place = draw.randrange(len(content) + 1)
    if way == 0:
        del content[place:]
    elif way == 1:
        for _ in range(draw.randint(1, 20)):
            if content:
                content[draw.randrange(len(content))] = draw.randrange(256)
    elif way == 2:
        content[place:place] = draw.choice(
            (b"\0", b"\xff\xfe", b'"', b"[" * 5000, b"9" * 5000, b"\n\n", b"\r", b",,,", b"{}\n")
        )
    elif way == 3:
        content *= 2
    elif way == 4:
        path.unlink()
        path.mkdir()
        return
    elif way == 5:
        path.unlink()
        path.symlink_to(draw.choice(("/nowhere", path.name, "/dev/null")))
        return
    else:
        content.clear()
    path.write_bytes(content)


def damage_graph(draw: random.Random, path: Path) -> str:
    """A graph changed in one place, in the words of the change."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    graph = model.graph
    way = draw.choice(("weight", "weight", "transpose", "input", "type", "node", "wire", "outside"))
    node = draw.choice(graph.node)
    weight = draw.choice([own for own in graph.initializer if own.name != "budget"])
    if way == "weight":
        values = np.atleast_1d(numpy_helper.to_array(weight))
        broken = draw.choice((np.nan, np.inf)) if values.dtype == np.float32 else -1
        values = draw.choice((np.roll(values, 1, axis=0), np.full_like(values, broken)))
        weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    elif way == "transpose":
        (last,) = [own for own in graph.node if "logits" in own.output]
        last.output[list(last.output).index("logits")] = "turned"
        graph.node.append(onnx.helper.make_node("Transpose", ["turned"], ["logits"], "turn"))
    elif way == "input":
        draw.choice(graph.input).name = draw.choice(("x", "", "logits", "token_type_ids"))
    elif way == "type":
        draw.choice(graph.input).type.tensor_type.elem_type = draw.choice((0, 1, 6, 9, 10**6))
    elif way == "node":
        node.op_type = draw.choice(("Loop", "Relu", "Nothing", "", "Add", "Transpose"))
    elif way == "wire" and node.input:
        node.input[draw.randrange(len(node.input))] = draw.choice(("", "x", "input_ids", "logits"))
    elif way == "outside":
        onnx.external_data_helper.set_external_data(weight, "/etc/passwd")
    path.write_bytes(model.SerializeToString())
    return way


def copied(source: Path, folder: Path) -> Path:
    """A fresh copy in the place of the last one."""
    shutil.rmtree(folder, ignore_errors=True)
    return shutil.copytree(source, folder)

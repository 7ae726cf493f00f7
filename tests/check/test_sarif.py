"""The SARIF log has the structure that version 2.1.0 requires, for findings at every kind of place.

Source: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0, sections 3.13 to 3.52, and its schema.
STRUCTURE restates the part of it that is written; an object has no other properties.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import unnoise
from unnoise.check.catalogue import entry, rules
from unnoise.check.engine import judge
from unnoise.check.examples import script, workflow
from unnoise.check.report.machine import to_sarif
from unnoise.check.rule import ERROR, NOTE, WARN, Finding
from unnoise.check.subject import Location

LEVEL = {"none", "note", "warning", "error"}
# Of each object: the type of every property; "!" marks a required one, "[]" a list, a set its allowed values.
STRUCTURE: dict[str, dict[str, Any]] = {
    "log": {"$schema": "uri", "version!": {"2.1.0"}, "runs!": "run[]"},
    "run": {"tool!": "tool", "columnKind": {"utf16CodeUnits", "unicodeCodePoints"}, "results": "result[]"},
    "tool": {"driver!": "toolComponent"},
    "toolComponent": {"name!": "text", "version": "text", "rules": "reportingDescriptor[]"},
    "reportingDescriptor": {
        "id!": "text",
        "name": "text",
        "shortDescription": "string",
        "help": "string",
        "defaultConfiguration": "reportingConfiguration",
    },
    "string": {"text!": "text"},
    "reportingConfiguration": {"level": LEVEL},
    "result": {
        "ruleId": "text",
        "ruleIndex": "from 0",
        "level": LEVEL,
        "message!": "string",
        "locations": "location[]",
    },
    "location": {"physicalLocation": "physicalLocation", "logicalLocations": "logicalLocation[]"},
    "physicalLocation": {"artifactLocation!": "artifactLocation", "region": "region"},
    "artifactLocation": {"uri": "uri"},
    "region": {"startLine!": "from 1", "startColumn": "from 1", "endLine": "from 1", "endColumn": "from 1"},
    "logicalLocation": {"fullyQualifiedName": "text"},
}
# Characters of RFC 3986, appendix A; a colon in the first part of a relative reference would end a scheme.
URI = re.compile(r"(?:[a-z][a-z\d+.-]*:(?=/)|(?![^/]*:))(?:[\w\-.~!$&'()*+,;=:@/?#]|%[\dA-F]{2})*", re.ASCII)


def faults(value: Any, kind: Any, at: str = "log") -> Iterator[str]:
    """List where a value has another structure than its kind."""
    if isinstance(kind, set):
        if value not in kind:
            yield f"{at}: {value!r} is not one of {sorted(kind)}"
    elif kind == "uri":
        if not isinstance(value, str) or not URI.fullmatch(value):
            yield f"{at}: {value!r} is not a URI reference"
    elif kind == "text":
        if not isinstance(value, str):
            yield f"{at}: {value!r} is not a text"
    elif kind.startswith("from "):
        if type(value) is not int or value < int(kind.removeprefix("from ")):
            yield f"{at}: {value!r} is not a whole number {kind}"
    elif kind.endswith("[]"):
        if not isinstance(value, list):
            yield f"{at}: is not a list"
            return
        for number, item in enumerate(value):
            yield from faults(item, kind.removesuffix("[]"), f"{at}[{number}]")
    else:
        yield from _of_object(value, STRUCTURE[kind], at)


def _of_object(value: Any, properties: dict[str, Any], at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{at}: is not an object"
        return
    kinds = {name.removesuffix("!"): kind for name, kind in properties.items()}
    for name in properties:
        if name.endswith("!") and name.removesuffix("!") not in value:
            yield f"{at}: lacks {name.removesuffix('!')}"
    for name, item in value.items():
        if name in kinds:
            yield from faults(item, kinds[name], f"{at}.{name}")
        else:
            yield f"{at}: has no property {name}"


def checked(findings: list[Finding]) -> Any:
    """Write a log, and compare it with the structure and with what JSON alone cannot state."""
    log = json.loads(to_sarif(findings))
    assert list(faults(log, "log")) == []
    [run] = log["runs"]
    ids = [one["id"] for one in run["tool"]["driver"]["rules"]]
    assert len(ids) == len(set(ids))
    assert all(ids[result["ruleIndex"]] == result["ruleId"] for result in run["results"])
    for result in run["results"]:
        for location in result["locations"]:
            region = location["physicalLocation"].get("region", {})
            start = region.get("startLine", 1), region.get("startColumn", 1)
            assert start <= (region.get("endLine", start[0]), region.get("endColumn", start[1]))
    return run


def finding(place: Location) -> Finding:
    return Finding(entry("UN401").rule, place, "is too high", "20", "4 to 8", "write 7")


PLACES = {
    "file": Location("a.safetensors"),
    "keys": Location("w.png", ("3", "inputs", "cfg")),
    "line": Location("a.py", line=3),
    "column": Location("a.py", line=3, column=0, end_line=3, end_column=4),
    "lines": Location("a.py", line=3, column=9, end_line=5, end_column=1),
    "cell": Location("a.ipynb", ("cells", 2), 3, 0, 3, 4),
    "blank": Location("my file.py", line=1),
    "letters": Location("Übung/äpfel #1?.json", line=1),
    "brackets": Location("a[1]{2}%20|^.json", line=1),
    "colon": Location("a:b.py", line=1),
    "absolute": Location(str(Path("my folder/é.py").absolute()), line=1),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_finding_at_any_place(name: str) -> None:
    checked([finding(PLACES[name])])


def test_every_rule_and_level() -> None:
    found = [replace(finding(Location("a.py")), rule=one.rule) for one in rules()]
    run = checked([replace(one, severity=level) for one in found for level in (NOTE, WARN, ERROR)])
    assert {result["level"] for result in run["results"]} == {"note", "warning", "error"}
    assert len(run["tool"]["driver"]["rules"]) == len(found)


def test_nothing_found() -> None:
    assert checked([])["results"] == []


def test_findings_of_files(tmp_path: Path) -> None:
    text = (
        "from diffusers import FluxPipeline\npipe = FluxPipeline.from_pretrained('black-forest-labs/FLUX.1-schnell')\n"
    )
    [flow] = workflow(cfg=40.0).texts.values()
    (tmp_path / "a b.json").write_text(flow)
    (tmp_path / "make.py").write_text(f"{text}pipe('a', negative_prompt='b', num_inference_steps=50)\n")
    assert len(checked(unnoise.check(tmp_path))["results"]) >= 3
    assert checked(judge(script(f"{text}pipe('a', num_inference_steps=50)")))["results"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda log: log.pop("version"), "lacks version"),
        (lambda log: log.update(version="2.2"), "is not one of ['2.1.0']"),
        (lambda log: log["runs"][0].update(result=[]), "has no property result"),
        (lambda log: log["runs"][0]["results"][0].update(level="notice"), "is not one of"),
        (lambda log: log["runs"][0]["results"][0]["message"].clear(), "lacks text"),
        (lambda log: log["runs"][0]["results"][0].update(ruleIndex=True), "whole number"),
        (lambda log: log["runs"][0].update(results={}), "is not a list"),
        (lambda log: log["runs"][0]["tool"].update(driver=1), "is not an object"),
    ],
)
def test_the_comparison_detects_faults(change: Any, fault: str) -> None:
    log = json.loads(to_sarif([finding(Location("a.py", line=1, column=0, end_line=1, end_column=2))]))
    change(log)
    assert any(fault in one for one in faults(log, "log"))


def test_the_comparison_detects_places_out_of_range() -> None:
    assert list(faults({"startLine": 0}, "region"))
    assert list(faults({"uri": "a b"}, "artifactLocation"))
    assert list(faults({"uri": "c:b"}, "artifactLocation"))

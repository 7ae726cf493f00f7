"""Findings for machines: JSON, SARIF 2.1.0, and the annotations of GitHub's workflows."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from unnoise import __version__
from unnoise.check.catalogue import entry
from unnoise.check.page import sections
from unnoise.check.report.text import NAMES, keys, sentence
from unnoise.check.rule import Finding, Severity
from unnoise.check.subject import Location

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {Severity.NOTE: "note", Severity.WARN: "warning", Severity.ERROR: "error"}


def to_json(findings: Sequence[Finding], files: int) -> str:
    """Write findings as one JSON object.

    Args:
        findings: shown
        files: number of files that were checked

    Returns:
        JSON; the message and the suggestion have the keys "says" and "instead"
    """
    return json.dumps({"files": files, "findings": [_object(finding) for finding in findings]}, indent=2)


def _object(finding: Finding) -> dict[str, Any]:
    place, fix = finding.place, finding.fix
    return {
        "rule": finding.rule.id,
        "name": finding.rule.name,
        "severity": NAMES[finding.grade],
        "path": place.path,
        "line": place.line,
        "column": None if place.column is None else place.column + 1,
        "field": keys(place) or None,
        "says": finding.message,
        "measured": finding.measured,
        "expected": finding.expected,
        "instead": finding.suggestion,
        "fix": None if fix is None else {"kind": fix.kind, "says": fix.message},
    }


def to_sarif(findings: Sequence[Finding]) -> str:
    """Write findings as a SARIF log of one run.   Source: OASIS, Static Analysis Results Interchange Format 2.1.0."""
    used = sorted({finding.rule.id for finding in findings})
    driver = {"name": "unnoise", "version": __version__, "rules": [_descriptor(id) for id in used]}
    results = [_result(finding, used.index(finding.rule.id)) for finding in findings]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _descriptor(id: str) -> dict[str, Any]:
    one = entry(id)
    parts = sections(one)
    return {
        "id": id,
        "name": "".join(part.capitalize() for part in one.rule.name.split("-")),
        "shortDescription": {"text": parts[""]},
        "help": {"text": f"{parts['Why']}\n\n{parts['Instead']}"},
        "defaultConfiguration": {"level": LEVELS[one.rule.severity]},
    }


def _result(finding: Finding, index: int) -> dict[str, Any]:
    return {
        "ruleId": finding.rule.id,
        "ruleIndex": index,
        "level": LEVELS[finding.grade],
        "message": {"text": f"{sentence(finding)}. {finding.suggestion}"},
        "locations": [_location(finding.place)],
    }


def _location(place: Location) -> dict[str, Any]:
    path = Path(place.path)
    uri = path.as_uri() if path.is_absolute() else quote(path.as_posix())
    physical: dict[str, Any] = {"artifactLocation": {"uri": uri}}
    if place.line is not None:
        region = {
            "startLine": place.line,
            "startColumn": None if place.column is None else place.column + 1,
            "endLine": place.end_line,
            "endColumn": None if place.end_column is None else place.end_column + 1,
        }
        physical["region"] = {key: value for key, value in region.items() if value is not None}
    location: dict[str, Any] = {"physicalLocation": physical}
    if place.keys:
        location["logicalLocations"] = [{"fullyQualifiedName": keys(place)}]
    return location


def to_github(findings: Sequence[Finding]) -> str:
    """Write findings as workflow commands, which GitHub shows next to the lines of a change.

    Source: GitHub documentation, "Workflow commands", on ::notice, ::warning and ::error and their escapes.
    """
    return "\n".join(_command(finding) for finding in findings)


def _command(finding: Finding) -> str:
    place = finding.place
    data = {
        "file": place.path,
        "line": place.line,
        "endLine": place.end_line,
        "col": None if place.column is None else place.column + 1,
        "title": f"{finding.rule.id} {finding.rule.name}",
    }
    properties = ",".join(f"{key}={_escaped(str(value), PROPERTY)}" for key, value in data.items() if value is not None)
    field = f" ({keys(place)})" if place.keys and place.line is None else ""
    message = _escaped(f"{sentence(finding)}{field}. {finding.suggestion}", MESSAGE)
    return f"::{NAMES[finding.grade].replace('note', 'notice')} {properties}::{message}"


MESSAGE: Mapping[str, str] = {"%": "%25", "\r": "%0D", "\n": "%0A"}
PROPERTY: Mapping[str, str] = {**MESSAGE, ":": "%3A", ",": "%2C"}


def _escaped(text: str, table: Mapping[str, str]) -> str:
    return "".join(table.get(letter, letter) for letter in text)

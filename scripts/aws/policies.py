"""Decides like IAM whether statements allow a call, as far as the policies of this project need it.

A deny wins over an allow. Names of actions have no case. `*` and `?` are wildcards in actions and resources. A condition on a key
that the call does not have fails, except with `Null`. An unknown operator of a condition is an error.
"""

from __future__ import annotations

import re
from typing import Any

from template import listed


def matches(pattern: str, value: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), value, re.DOTALL) is not None


def resource_of(action: str, arn: str) -> str:
    """Returns the resource that IAM sees in a call. For it, a state machine has neither versions nor aliases."""
    return ":".join(arn.split(":")[:7]) if action.startswith("states:") else arn


def holds(operator: str, key: str, wanted: list[str], context: dict[str, str]) -> bool:
    value = context.get(key.lower())
    match operator:
        case "Null":
            return (value is None) == (wanted == ["true"])
        case "StringEquals" | "Bool":
            return value in wanted
        case "StringLike" | "ArnLike" | "ArnEquals":
            return value is not None and any(matches(one, value) for one in wanted)
    raise AssertionError(f"{operator} in a condition")


def applies(statement: dict[str, Any], action: str, resource: str, context: dict[str, str]) -> bool:
    return (
        any(matches(one.lower(), action.lower()) for one in listed(statement["Action"]))
        and any(matches(one, resource) for one in listed(statement["Resource"]))
        and all(
            holds(operator, key, [str(one) for one in listed(wanted)], context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def allows(statements: list[dict[str, Any]], action: str, arn: str, context: dict[str, str] | None = None) -> bool:
    context = {key.lower(): value for key, value in (context or {}).items()}
    effects = {one["Effect"] for one in statements if applies(one, action, resource_of(action, arn), context)}
    return effects == {"Allow"}

"""Computes the costs of a month for docs/DEPLOYING.md.

    costs.py            prints the table
    costs.py --check    fails if docs/DEPLOYING.md has another table

Prices are US dollars in us-east-1 without free tiers, taken from the pages that docs/DEPLOYING.md links.
"""

from __future__ import annotations

import sys
from pathlib import Path

PRICES = {
    "lambda_requests": (0.20 / 1e6, "Lambda, a request"),
    "lambda_gb_seconds": (0.0000133334, "Lambda on arm64, a GB-second (first tier)"),
    "http_api": (1.00 / 1e6, "HTTP API, a request (first 300 million; 0.90 a million beyond)"),
    "logs": (0.50, "CloudWatch Logs, a GB taken in"),
    "logs_kept": (0.03, "CloudWatch Logs, a GB kept for a month, compressed"),
    "metric": (0.30, "CloudWatch, a metric a month"),
    "alarm": (0.10, "CloudWatch, a metric of an alarm a month"),
    "dashboard": (3.00, "CloudWatch, a dashboard a month"),
    "sqs": (0.40 / 1e6, "SQS, a request to a standard queue"),
    "secret": (0.40, "Secrets Manager, a secret a month"),
    "trace": (5.00 / 1e6, "X-Ray, a trace recorded"),
    # An assumption.
    "momento": (0.50 / 1e6, "Momento, an operation"),
    "eventbridge": (1.00 / 1e6, "EventBridge, an event of up to 64 KB"),
    "dynamodb": (0.625 / 1e6, "DynamoDB on demand, a write of up to 1 KB"),
    "states": (25.00 / 1e6, "Step Functions, a state transition of a standard workflow"),
    "transfer": (0.09, "a GB out to the internet"),
}
MONTH_SECONDS = 30 * 24 * 3600
MEMORY_GB, BILLED_SECONDS = 128 / 1024, 0.010
# Eight metrics of handled events, one of refused requests, and one for a reason. Of the twelve alarms, one has four metrics, one three
# and one two.
LINE_BYTES, METRICS, ALARM_METRICS, SECRETS = 1024, 10, 18, 2
# A disabled event source mapping does not poll. One event in a thousand is dead-lettered, received and deleted.
DEAD_LETTERS, REQUESTS_EACH = 1 / 1000, 3
# Momento counts an operation for each kilobyte in and out: a message is published once, and has one subscriber.
MESSAGE_KB, WAYS = 1, 2


def price(name: str) -> float:
    return PRICES[name][0]


def http_api(messages: int) -> float:
    first = min(messages, 300e6)
    return first * price("http_api") + (messages - first) * 0.90 / 1e6


def rows(messages: int) -> dict[str, float]:
    return {
        "Lambda, requests": messages * price("lambda_requests"),
        "Lambda, 128 MB for 10 ms": messages * MEMORY_GB * BILLED_SECONDS * price("lambda_gb_seconds"),
        "function URL": 0.0,
        "CloudWatch Logs, a line of 1 KB": messages * LINE_BYTES / 2**30 * price("logs"),
        "the log, kept for a month": messages * LINE_BYTES / 2**30 * price("logs_kept"),
        "10 metrics, 12 alarms, a dashboard": METRICS * price("metric")
        + ALARM_METRICS * price("alarm")
        + price("dashboard"),
        "SQS, one dead letter in 1,000": messages * DEAD_LETTERS * REQUESTS_EACH * price("sqs"),
        "Secrets Manager, 2 secrets": SECRETS * price("secret"),
        "Momento, 1 KB in and out: 2 operations": messages * MESSAGE_KB * WAYS * price("momento"),
    }


def dollars(amount: float) -> str:
    return "0" if amount == 0 else f"{amount:,.2f}" if amount >= 0.005 else "under 0.01"


def traces(messages: int) -> float:
    """Returns the costs of traces: of the first message of every second, and of 5 % of the others."""
    first = min(messages, MONTH_SECONDS)
    return (first + (messages - first) * 0.05) * price("trace")


def transfer(messages: int) -> float:
    """Returns the costs of publishes to Momento in another region."""
    return messages * MESSAGE_KB / 2**20 * price("transfer")


def tables() -> str:
    volumes = [1_000, 1_000_000, 1_000_000_000]
    columns = [rows(volume) for volume in volumes]
    lines = ["| messages a month | 1 thousand | 1 million | 1 billion |", "| --- | ---: | ---: | ---: |"]
    for name in columns[0]:
        lines.append(f"| {name} | " + " | ".join(dollars(column[name]) for column in columns) + " |")
    totals = [sum(column.values()) for column in columns]
    lines.append("| **together** | " + " | ".join(f"**{dollars(total)}**" for total in totals) + " |")
    lines.append("| HTTP API instead of the URL, more | " + " | ".join(dollars(http_api(v)) for v in volumes) + " |")
    lines.append("| `sqs` as a destination, more | " + " | ".join(dollars(v * price("sqs")) for v in volumes) + " |")
    lines.append("| `eventbridge`, more | " + " | ".join(dollars(v * price("eventbridge")) for v in volumes) + " |")
    # A transaction, which makes updates idempotent, counts two units for each. A put counts one.
    lines.append("| `dynamodb`, two write units, more | " + " | ".join(dollars(2 * v * price("dynamodb")) for v in volumes) + " |")
    lines.append("| `step_functions`, three transitions, more | " + " | ".join(dollars(3 * v * price("states")) for v in volumes) + " |")
    lines.append("| Momento in another region, more | " + " | ".join(dollars(transfer(v)) for v in volumes) + " |")
    lines.append("| `Tracing=Active`, more | " + " | ".join(dollars(traces(v)) for v in volumes) + " |")
    return "\n".join(lines)


if "--check" in sys.argv:
    if tables() not in Path("docs/DEPLOYING.md").read_text():
        sys.exit("docs/DEPLOYING.md does not have the table of scripts/aws/costs.py:\n" + tables())
else:
    print(tables())

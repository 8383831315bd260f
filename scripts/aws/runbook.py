"""Checks that every alarm of the templates and the Terraform modules has an entry in docs/RUNBOOK.md, and every entry its alarm.

    runbook.py

An entry is a heading of the third level, with the name of the alarm as the templates write it, without `Alarm`. Alarms with the same
meaning share one, separated by commas.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def of_template(path: str) -> set[str]:
    return set(re.findall(r"(?m)^  (\w+)Alarm:\n    Type: AWS::CloudWatch::Alarm$", Path(path).read_text()))


def of_module(path: str) -> set[str]:
    """Returns the names of alarms: the keys of maps with what an alarm says, and fixed names."""
    text = Path(path).read_text()
    names = re.findall(r'(?m)^ +([a-z-]+) += \{(?:[^{}]|\{[^{}]*\}|\$\{[^}]*\})*?says = ', text)
    names += re.findall(r'"([a-z-]+)" => \{', text)
    names += re.findall(r'alarm_name += "\$\{var\.name\}-([a-z-]+)"', text)
    return {"".join(part.capitalize() for part in name.split("-")) for name in names}


def of_people(path: str) -> set[str]:
    """Returns the names of the alarms of token and publish: each function has each of them."""
    [alarms] = re.findall(r"(?ms)^  people_alarms = \{\n(.*?)^  \}$", Path(path).read_text())
    [functions] = re.findall(r"(?m)^  people = \{ for name, function in \{ (.*?) \}", Path(path).read_text())
    names = re.findall(r"(?m)^    ([a-z]+) += \{", alarms)
    return {f"{function.capitalize()}{name.capitalize()}" for function in re.findall(r"(\w+) =", functions) for name in names}


headings = re.findall(r"(?m)^### (\w+(?:, \w+)*)$", Path("docs/RUNBOOK.md").read_text())
entries = [name for heading in headings for name in heading.split(", ")]
alarms = {
    path: names
    for read, paths in (
        (of_template, ("template.yaml", "infra/relay/template.yaml")),
        (of_module, ("infra/alarms.tf", "infra/relay/alarms.tf")),
    )
    for path in paths
    for names in [read(path)]
}
alarms["infra/alarms.tf"] |= of_people("infra/identity.tf")
problems = [f"{path}: {name} has no entry" for path, names in alarms.items() for name in sorted(names - set(entries))]
problems += [f"{name} is an entry, and no alarm" for name in entries if not any(name in names for names in alarms.values())]
for template, module in (("template.yaml", "infra/alarms.tf"), ("infra/relay/template.yaml", "infra/relay/alarms.tf")):
    for name in sorted(alarms[template] ^ alarms[module]):
        problems.append(f"{name} is only in one of {template} and {module}")
if problems:
    sys.exit("docs/RUNBOOK.md:\n" + "\n".join(problems))

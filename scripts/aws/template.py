"""Evaluates template.yaml as CloudFormation does, for the checks of this folder."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

REGION, ACCOUNT, STACK = "eu-central-1", "000000000000", "chat"


def here(text: str) -> str:
    return text.replace("REGION", REGION).replace("ACCOUNT", ACCOUNT)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# The ARN of a secret that the stack creates.
MADE = here("arn:aws:secretsmanager:REGION:ACCOUNT:secret:{}-000000")

NOTHING = object()


class Template:
    """Evaluates the functions and conditions of a template as CloudFormation does."""

    def __init__(self, template: dict[str, Any], given: dict[str, str]) -> None:
        self.template = template
        self.parameters = {}
        for name, parameter in template["Parameters"].items():
            value = given.get(name, parameter.get("Default"))
            pattern = parameter.get("AllowedPattern")
            values = str(value).split(",") if parameter["Type"] == "CommaDelimitedList" else [str(value)]
            for one in values:
                assert pattern is None or re.fullmatch(pattern, one), f"{name} does not take {one}"
            assert str(value) in map(str, parameter.get("AllowedValues", [value])), f"{name} does not take {value}"
            self.parameters[name] = values if parameter["Type"] == "CommaDelimitedList" else str(value)
        unknown = set(given) - set(template["Parameters"])
        assert not unknown, f"unknown parameters {unknown}"

    def reference(self, name: str) -> Any:
        if name in self.parameters:
            return self.parameters[name]
        pseudo = {
            "AWS::AccountId": ACCOUNT,
            "AWS::NoValue": NOTHING,
            "AWS::Partition": "aws",
            "AWS::Region": REGION,
            "AWS::StackName": STACK,
            "AWS::URLSuffix": "amazonaws.com",
        }
        if name in pseudo:
            return pseudo[name]
        return name

    def attribute(self, name: str, attribute: str) -> str:
        resource = self.template["Resources"][name]
        properties = resource["Properties"]
        if (resource["Type"], attribute) == ("AWS::SQS::Queue", "Arn"):
            return here(f"arn:aws:sqs:REGION:ACCOUNT:{self.value(properties['QueueName'])}")
        if (resource["Type"], attribute) == ("AWS::Logs::LogGroup", "Arn"):
            return here(f"arn:aws:logs:REGION:ACCOUNT:log-group:{STACK}-{name}:*")
        if (resource["Type"], attribute) == ("AWS::SecretsManager::Secret", "Id"):
            return MADE.format(name)
        return f"{name}.{attribute}"

    def substitute(self, argument: Any) -> str:
        text, names = argument if isinstance(argument, list) else (argument, {})
        names = {name: self.value(value) for name, value in names.items()}

        def one(match: re.Match[str]) -> str:
            name = match[1]
            if name in names:
                return str(names[name])
            return str(self.attribute(*name.split(".", 1)) if "." in name else self.reference(name))

        return re.sub(r"\$\{([^!}]+)\}", one, text)

    def condition(self, value: Any) -> bool:
        if isinstance(value, str):
            return self.condition(self.template["Conditions"][value])
        [(function, argument)] = value.items()
        match function:
            case "Condition":
                return self.condition(argument)
            case "Fn::Equals":
                left, right = (self.value(side) for side in argument)
                return str(left) == str(right)
            case "Fn::Not":
                return not self.condition(argument[0])
            case "Fn::And":
                return all(self.condition(one) for one in argument)
            case "Fn::Or":
                return any(self.condition(one) for one in argument)
            case "Fn::EachMemberEquals":
                return all(one == argument[1] for one in self.value(argument[0]))
        raise AssertionError(f"{function} in a condition")

    def value(self, value: Any) -> Any:
        if isinstance(value, list):
            return [one for one in map(self.value, value) if one is not NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            [(function, argument)] = value.items()
            match function:
                case "Ref":
                    return self.reference(argument)
                case "Fn::GetAtt":
                    return self.attribute(*(argument if isinstance(argument, list) else argument.split(".", 1)))
                case "Fn::Sub":
                    return self.substitute(argument)
                case "Fn::If":
                    name, yes, no = argument
                    return self.value(yes if self.condition(name) else no)
                case "Fn::Join":
                    return argument[0].join(self.value(argument[1]))
                case "Fn::Split":
                    return self.value(argument[1]).split(argument[0])
                case "Fn::Select":
                    return self.value(argument[1])[argument[0]]
        return {key: one for key, one in ((key, self.value(one)) for key, one in value.items()) if one is not NOTHING}

    def refusals(self) -> list[str]:
        """Returns the assertions of the template's rules that these parameters break."""
        return [
            assertion["AssertDescription"]
            for rule in self.template["Rules"].values()
            if "RuleCondition" not in rule or self.condition(rule["RuleCondition"])
            for assertion in rule["Assertions"]
            if not self.condition(assertion["Assert"])
        ]

    def resources(self) -> dict[str, Any]:
        return {
            name: {"Type": resource["Type"], "Properties": self.value(resource["Properties"])}
            for name, resource in self.template["Resources"].items()
            if "Condition" not in resource or self.condition(resource["Condition"])
        }


def translated() -> dict[str, Any]:
    """Returns the template as CloudFormation receives it."""
    # SAM asks for a region.
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    from samtranslator.translator.transform import transform
    from samtranslator.yaml_helper import yaml_parse

    class NoManagedPolicies:
        def load(self) -> dict[str, str]:
            return {}

    template = yaml_parse(Path("template.yaml").read_text())
    for logical, resource in template["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            # A place of the package, as `sam package` sets it.
            resource["Properties"]["CodeUri"] = f"s3://bucket/{logical}.zip"
    return json.loads(json.dumps(transform(template, {}, NoManagedPolicies())))


def plain(path: str) -> dict[str, Any]:
    """Returns a template that needs no transform."""
    from samtranslator.yaml_helper import yaml_parse

    return json.loads(json.dumps(yaml_parse(Path(path).read_text())))

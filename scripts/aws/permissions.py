"""Compares the permissions of the function in AWS with the calls that it makes.

    permissions.py calls      every call of the AWS SDK in crates/fanout-aws has its permission, and every permission its call
    permissions.py template   the role of template.yaml has the expected statements, for several sets of parameters; the resources
                              of the template are valid (cfn-lint)
    permissions.py role NAME  a deployed role in the account at AWS_ENDPOINT_URL has the expected statements, which are JSON on
                              standard input: {"Sid": ["resource"]}

Prints `ok ...` or `FAILED ...` for every check; exits 1 if any failed. Run from the root of the project.
"""

from __future__ import annotations

import copy
import fnmatch
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REGION, ACCOUNT = "eu-central-1", "000000000000"
PERMISSIONS = json.loads(Path("infra/permissions.json").read_text())
STATEMENTS = {entry["sid"]: entry for entry in PERMISSIONS["statements"]}
failures = 0


def report(name: str, problems: list[str]) -> None:
    global failures
    print(f"FAILED {name}" if problems else f"ok {name}")
    for problem in problems:
        print(f"    {problem}")
    failures += bool(problems)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def here(text: str) -> str:
    return text.replace("REGION", REGION).replace("ACCOUNT", ACCOUNT)


# The calls


def operations(crate: str, manifest: Path) -> set[str]:
    """Returns the names of the operations of a crate of the SDK: each has a module."""
    text = (manifest.parent / "src/operation.rs").read_text()
    return set(re.findall(r"^pub mod ([a-z0-9_]+);", text, re.MULTILINE))


def check_calls() -> None:
    metadata = json.loads(
        subprocess.run(
            ["cargo", "metadata", "--format-version=1", "--locked"], check=True, capture_output=True, text=True
        ).stdout
    )
    [root] = [package for package in metadata["packages"] if package["name"] == "fanout-aws"]
    wanted = {dependency["name"] for dependency in root["dependencies"] if dependency["name"].startswith("aws-sdk-")}
    known = {
        package["name"].removeprefix("aws-sdk-"): operations(package["name"], Path(package["manifest_path"]))
        for package in metadata["packages"]
        if package["name"] in wanted
    }
    allowed = {call for entry in (*STATEMENTS.values(), PERMISSIONS["relay"]) for call in entry["calls"]}
    found: dict[str, str] = {}
    for path in sorted(Path("crates/fanout-aws/src").rglob("*.rs")):
        text = path.read_text()
        for match in re.finditer(r"\.\s*([a-z0-9_]+)\s*\(\s*\)", text):
            for service, names in known.items():
                # A file can use two services: its imports, or the names of the operations, show whose call it is.
                module = f"aws_sdk_{service}"
                if match[1] in names and (module in text or f".{service}()" in text or f".{short(service)}()" in text):
                    found.setdefault(f"{service}.{match[1]}", str(path))
    problems = [
        f"{path} calls {call}, and no statement of infra/permissions.json has it"
        for call, path in found.items()
        if call not in allowed
    ]
    if not found:
        problems.append("no call was found at all: is the search still right?")
    report(f"calls: every call of the SDK has its permission ({', '.join(sorted(found))})", problems)
    surplus = [f"{call} is permitted, and nothing calls it" for call in sorted(allowed - set(found))]
    report("calls: every permission has its call", surplus)


def short(service: str) -> str:
    return {"secretsmanager": "secrets_manager", "sfn": "step_functions"}.get(service, service)


# Statements


def check_statements(name: str, statements: list[dict[str, Any]], expected: dict[str, list[str]]) -> None:
    problems = []
    sids = [statement.get("Sid") for statement in statements]
    if sorted(sids) != sorted(expected):
        problems.append(f"statements: wanted {sorted(expected)}, got {sorted(sids)}")
    for statement in statements:
        sid = statement.get("Sid")
        entry = STATEMENTS.get(sid)
        if entry is None:
            problems.append(f"{sid} is not in infra/permissions.json")
            continue
        actions, resources = sorted(listed(statement["Action"])), sorted(listed(statement["Resource"]))
        if statement["Effect"] != "Allow":
            problems.append(f"{sid}: its effect is {statement['Effect']}")
        if actions != sorted(entry["actions"]):
            problems.append(f"{sid}: wanted {entry['actions']}, got {actions}")
        if resources != sorted(expected.get(sid, resources)):
            problems.append(f"{sid}: wanted {sorted(expected[sid])}, got {resources}")
        for resource in resources:
            if not re.fullmatch(here(entry["resources"]), resource):
                problems.append(f"{sid}: {resource} is not of the form {entry['resources']}")
            if resource == "*" and "why_any" not in entry:
                problems.append(f"{sid}: `*`, and no reason for it")
        via = {"StringEquals": {"kms:ViaService": [here(service) for service in entry["via"]]}} if "via" in entry else None
        if statement.get("Condition") != via:
            problems.append(f"{sid}: wanted the condition {via}, got {statement.get('Condition')}")
    report(name, problems)


# The template

STACK = "chat"
OWN = {
    "WriteLog": [here(f"arn:aws:logs:REGION:ACCOUNT:log-group:{STACK}-WebhookLog:*")],
    "SendDeadLetters": [here(f"arn:aws:sqs:REGION:ACCOUNT:{STACK}-dead-letters")],
    "ReceiveDeadLetters": [here(f"arn:aws:sqs:REGION:ACCOUNT:{STACK}-dead-letters")],
}
MADE = here("arn:aws:secretsmanager:REGION:ACCOUNT:secret:{}-000000")
ARN = {
    kind: here(f"arn:aws:{kind}:REGION:ACCOUNT:{rest}")
    for kind, rest in {
        "dynamodb": "table/archive",
        "events": "event-bus/chat",
        "kms": "key/1234-abcd",
        "secretsmanager": "secret:momento/key-AbCdEf",
        "sns": "alarms",
        "sqs": "archive",
        "states": "stateMachine:moderation",
        "translate": "terminology/brands/LATEST",
    }.items()
}
# Sets of parameters, and the statements of the role for each.
CASES: dict[str, tuple[dict[str, str], dict[str, list[str]]]] = {
    "the least": (
        {"MomentoApiKey": "k", "OutboundTopics": "a"},
        OWN | {"ReadSecrets": [MADE.format("MomentoApiKeyMade"), MADE.format("WebhookSigningSecretMade")]},
    ),
    "nothing but the environment": (
        {
            "MomentoApiKey": "k",
            "WebhookSigningSecret": "s",
            "SecretStorage": "Environment",
            "OutboundTopics": "a",
            "Endpoint": "HttpApi",
            "AlarmEmail": "alarms@example.com",
            "ReservedConcurrency": "5",
            "SilentMinutes": "30",
        },
        OWN,
    ),
    "everything": (
        {
            "MomentoApiKeySecretArn": f"{ARN['secretsmanager']}#key",
            "WebhookSigningSecretArn": ARN["secretsmanager"],
            "SecretsKeyArn": ARN["kms"],
            "FanoutConfigParameter": "/chat/routes",
            "EventBusArns": ARN["events"],
            "QueueArns": f"{ARN['sqs']},{ARN['sqs']}.fifo",
            "TableArns": ARN["dynamodb"],
            "StateMachineArns": ARN["states"],
            "DestinationKeyArns": ARN["kms"],
            "AllowTranslate": "true",
            "AllowComprehend": "true",
            "TerminologyArns": ARN["translate"],
            "Endpoint": "None",
            "SourceQueueArn": ARN["sqs"],
            "Redrive": "Enabled",
            "Tracing": "Active",
            "AlarmTopicArn": ARN["sns"],
        },
        OWN
        | {
            "Trace": ["*"],
            "ReadSecrets": [ARN["secretsmanager"], ARN["secretsmanager"]],
            "ReadParameters": [here("arn:aws:ssm:REGION:ACCOUNT:parameter/chat/routes")],
            "DecryptSecrets": [ARN["kms"]],
            "PutEvents": [ARN["events"]],
            "SendMessages": [ARN["sqs"], ARN["sqs"] + ".fifo"],
            "WriteItems": [ARN["dynamodb"]],
            "StartExecutions": [ARN["states"]],
            "UseDestinationKeys": [ARN["kms"]],
            "Translate": ["*"],
            "Classify": ["*"],
            "UseTerminologies": [ARN["translate"]],
            "ReceiveEvents": [ARN["sqs"]],
        },
    ),
    "secrets in parameters": (
        {
            "MomentoApiKeyParameter": "/chat/key",
            "WebhookSigningSecretParameter": "/chat/signing#current",
            "FanoutConfig": '[[routes]]\ntopic = "a:b"\ndestinations = ["c"]',
        },
        OWN
        | {
            "ReadParameters": [
                here("arn:aws:ssm:REGION:ACCOUNT:parameter/chat/key"),
                here("arn:aws:ssm:REGION:ACCOUNT:parameter/chat/signing"),
            ],
        },
    ),
}
# Sets of parameters that the rules of the template must reject.
REFUSED: dict[str, dict[str, str]] = {
    "no key": {"OutboundTopics": "a"},
    "two keys": {"MomentoApiKey": "k", "MomentoApiKeyParameter": "/name", "OutboundTopics": "a"},
    "no routes": {"MomentoApiKey": "k"},
    "routes twice": {"MomentoApiKey": "k", "OutboundTopics": "a", "FanoutConfigParameter": "/a"},
    "routes and a transform beside them": {"MomentoApiKey": "k", "FanoutConfigParameter": "/a", "Transform": "trim"},
    "routes and a cache beside them": {"MomentoApiKey": "k", "FanoutConfigParameter": "/a", "OutboundCache": "chat"},
    "routes that were cut at their first space": {"MomentoApiKey": "k", "FanoutConfig": "#:schema"},
    "no secret in the environment": {"MomentoApiKey": "k", "OutboundTopics": "a", "SecretStorage": "Environment"},
}

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
    from samtranslator.translator.transform import transform
    from samtranslator.yaml_helper import yaml_parse

    class NoManagedPolicies:
        def load(self) -> dict[str, str]:
            return {}

    template = yaml_parse(Path("template.yaml").read_text())
    # A place of the package, as `sam package` sets it.
    template["Globals"]["Function"]["CodeUri"] = "s3://bucket/webhook.zip"
    return json.loads(json.dumps(transform(template, {}, NoManagedPolicies())))


def check_template() -> None:
    import os

    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    template = translated()
    with tempfile.TemporaryDirectory() as folder:
        for name, text in {
            "translated": json.dumps(template),
            "infra/github-role.yaml": Path("infra/github-role.yaml").read_text(),
            "infra/relay/template.yaml": Path("infra/relay/template.yaml").read_text(),
            # The whole template with the parameters of a case as defaults: cfn-lint then sees resources with conditions.
            **{case: json.dumps(with_defaults(template, given)) for case, (given, _) in CASES.items()},
        }.items():
            path = Path(folder, f"{re.sub('[ /]', '-', name)}.template")
            path.write_text(text)
            linted = subprocess.run(
                [Path(sys.executable).with_name("cfn-lint"), "--regions", REGION, "--", str(path)],
                capture_output=True,
                text=True,
                check=False,
            )
            report(f"cfn-lint: {name}", (linted.stdout + linted.stderr).splitlines() if linted.returncode else [])
    for name, (given, expected) in CASES.items():
        case = Template(template, given)
        report(f"rules: {name} is accepted", case.refusals())
        resources = case.resources()
        [policy] = resources["WebhookRole"]["Properties"]["Policies"]
        check_statements(f"role: {name}", policy["PolicyDocument"]["Statement"], expected)
        check_safety(name, resources)
    for name, given in REFUSED.items():
        try:
            refusals = Template(template, given).refusals()
        except AssertionError as refusal:
            refusals = [str(refusal)]
        report(f"rules: {name} is refused", [] if refusals else ["it was accepted"])
    report("infra/github-role.yaml: it may make every call that CloudFormation makes for the template", undeployable(template))
    [body, _] = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    same = body == Path("infra/dashboard.json").read_text()
    report("dashboard: it is infra/dashboard.json", [] if same else ["the texts differ"])


# Permissions of CloudFormation's handlers that only properties need which the template does not set.
UNUSED = {
    "apigateway:": {"s3:getObject": "the API is not imported from a file", "iam:PassRole": "the integration has no role"},
    "iam:": {
        action: "the role has inline policies only, and no boundary"
        for action in (
            "iam:AttachRolePolicy",
            "iam:DetachRolePolicy",
            "iam:DeleteRolePermissionsBoundary",
            "iam:PutRolePermissionsBoundary",
        )
    },
    "lambda:": {
        **{f"ec2:Describe{what}": "no VPC" for what in ("NetworkInterfaces", "SecurityGroups", "Subnets", "Vpcs")},
        "elasticfilesystem:DescribeMountTargets": "no file system",
        "s3files:ListMountTargets": "no file system",
        "s3:GetObjectVersion": "the package has no version",
        **{f"kms:{what}": "no key of the customer" for what in ("CreateGrant", "Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey")},
        "lambda:GetCodeSigningConfig": "no code signing",
        "lambda:GetLayerVersion": "no layers",
        "lambda:PassCapacityProvider": "no capacity provider",
    },
    "logs:": {
        action: "the log group has no data protection, delivery, index or resource policy"
        for action in (
            "s3:REST.PUT.OBJECT",
            "firehose:TagDeliveryStream",
            "logs:CreateLogDelivery",
            "logs:DescribeResourcePolicies",
            "logs:PutResourcePolicy",
            "logs:DeleteResourcePolicy",
        )
    },
    "sns:": {action: "no delivery status is logged" for action in ("iam:GetRole", "iam:PassRole")},
}


def undeployable(template: dict[str, Any]) -> list[str]:
    """Returns the calls of CloudFormation's handlers for the template that the role of GitHub may not make.

    cfn-lint has the handlers of each resource type in the registry of CloudFormation. The handler `list` is for imports only.
    """
    import cfnlint
    from samtranslator.yaml_helper import yaml_parse

    role = yaml_parse(Path("infra/github-role.yaml").read_text())["Resources"]["DeployRole"]["Properties"]
    statements = [one for policy in role["Policies"] for one in policy["PolicyDocument"]["Statement"]]
    allowed = [action for one in statements for action in listed(one["Action"])]
    schemas = Path(cfnlint.__file__).parent / "data/schemas"
    registry = json.loads((schemas / f"providers/{REGION}.json").read_text())
    problems = []
    for kind in sorted({resource["Type"] for resource in template["Resources"].values()}):
        schema = json.loads((schemas / f"resources/{registry[kind]}.json").read_text())
        handlers = {name: one for name, one in schema["handlers"].items() if name != "list"}
        needed = {action for handler in handlers.values() for action in handler["permissions"]}
        service = {"ApiGatewayV2": "apigateway"}.get(kind.split("::")[1], kind.split("::")[1].lower())
        for action in sorted(needed - set(UNUSED.get(f"{service}:", {}))):
            if not any(fnmatch.fnmatchcase(action, pattern) for pattern in allowed):
                problems.append(f"{kind} needs {action}")
    return problems


def with_defaults(template: dict[str, Any], given: dict[str, str]) -> dict[str, Any]:
    template = copy.deepcopy(template)
    for name, value in given.items():
        template["Parameters"][name]["Default"] = value
        # A parameter with NoEcho must not have a default.
        template["Parameters"][name].pop("NoEcho", None)
    return template


def check_safety(name: str, resources: dict[str, Any]) -> None:
    """Checks properties that every set of parameters must keep."""
    problems = []
    timeout = resources["Webhook"]["Properties"]["Timeout"]
    dead_letters, parked = resources["DeadLetters"]["Properties"], resources["Parked"]["Properties"]
    if int(dead_letters["VisibilityTimeout"]) < 6 * timeout:
        problems.append("dead letters come back before six timeouts of the function are over")
    for queue in (dead_letters, parked):
        if not queue["SqsManagedSseEnabled"] or queue["MessageRetentionPeriod"] != 1_209_600:
            problems.append(f"{queue['QueueName']} is not encrypted, or does not keep for 14 days")
    if dead_letters["RedrivePolicy"]["deadLetterTargetArn"] != here(f"arn:aws:sqs:REGION:ACCOUNT:{STACK}-parked"):
        problems.append("dead letters that fail again are not parked")
    for logical, resource in resources.items():
        if resource["Type"] == "AWS::Lambda::EventSourceMapping":
            mapping = resource["Properties"]
            if mapping["FunctionResponseTypes"] != ["ReportBatchItemFailures"]:
                problems.append(f"{logical}: one failed message would fail its whole batch")
            if "MaximumConcurrency" not in mapping["ScalingConfig"]:
                problems.append(f"{logical}: it may take the whole function")
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            # One alarm is for missing data.
            wanted = "breaching" if logical == "SilenceAlarm" else "notBreaching"
            if resource["Properties"]["TreatMissingData"] != wanted:
                problems.append(f"{logical}: it would go off when nothing happens, or not when it should")
        if resource["Type"].endswith("Policy"):
            problems += [f"{logical}: {problem}" for problem in about_policy(resource["Properties"], resources)]
    json.loads(resources["Dashboard"]["Properties"]["DashboardBody"])
    report(f"queues, mappings, alarms, dashboard: {name}", problems)


def about_policy(policy: dict[str, Any], resources: dict[str, Any]) -> list[str]:
    """Checks that a policy of a queue names only that queue. SQS rejects any other, which only AWS itself reports."""
    queues = {here(f"arn:aws:sqs:REGION:ACCOUNT:{resources[name]['Properties']['QueueName']}") for name in policy["Queues"]}
    named = {arn for one in policy["PolicyDocument"]["Statement"] for arn in listed(one["Resource"])}
    return [] if len(queues) == 1 and named == queues else [f"it is put on {sorted(queues)}, and names {sorted(named)}"]


# A deployed role


def check_role(name: str) -> None:
    import boto3

    iam = boto3.client("iam")
    statements = []
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        statements += listed((json.loads(document) if isinstance(document, str) else document)["Statement"])
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    report(f"role {name}: nothing is attached to it", [policy["PolicyArn"] for policy in attached])
    check_statements(f"role {name}", statements, json.load(sys.stdin))


match sys.argv[1:]:
    case ["calls"]:
        check_calls()
    case ["template"]:
        check_template()
    case ["role", name]:
        check_role(name)
    case _:
        sys.exit(__doc__)
sys.exit(1 if failures else 0)

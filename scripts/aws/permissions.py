"""Compares the permissions of the functions in AWS with the calls that they make.

    permissions.py calls      every call of the AWS SDK in crates/fanout-aws has its permission, and every permission its call
    permissions.py template   the roles of template.yaml have the expected statements, for several sets of parameters; the resources
                              of the template are valid (cfn-lint); the policies allow the calls that are needed, and no others;
                              every setting of a function can be set, and every metric of an alarm exists
    permissions.py role NAME [FUNCTION]  a deployed role in the account at AWS_ENDPOINT_URL has the expected statements, which are
                              JSON on standard input: {"Sid": ["resource"]}. FUNCTION is token or publish

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

from policies import allows
from template import MADE, REGION, STACK, Template, here, listed, plain, translated

PERMISSIONS = json.loads(Path("infra/permissions.json").read_text())
STATEMENTS = {entry["sid"]: entry for entry in PERMISSIONS["statements"]}
PEOPLE = ("token", "publish")
failures = 0


def report(name: str, problems: list[str]) -> None:
    global failures
    print(f"FAILED {name}" if problems else f"ok {name}")
    for problem in problems:
        print(f"    {problem}")
    failures += bool(problems)


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


def check_statements(
    name: str, statements: list[dict[str, Any]], expected: dict[str, list[str]], function: str | None = None
) -> None:
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
    if function is not None:
        problems += [f"{sid} is not for {function}" for sid in sids if sid not in PERMISSIONS["people"][function]]
    else:
        problems += [f"{sid} is for token and publish alone" for sid in sids if sid in PERMISSIONS["people"]["alone"]]
    report(name, problems)


# The template

OWN = {
    "WriteLog": [here(f"arn:aws:logs:REGION:ACCOUNT:log-group:{STACK}-WebhookLog:*")],
    "SendDeadLetters": [here(f"arn:aws:sqs:REGION:ACCOUNT:{STACK}-dead-letters")],
    "ReceiveDeadLetters": [here(f"arn:aws:sqs:REGION:ACCOUNT:{STACK}-dead-letters")],
}
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
        "acm": "certificate/1234-abcd",
    }.items()
} | {"iam": "arn:aws:iam::000000000000:policy/boundary"}
# Sets of parameters, and the statements of the role for each.
CASES: dict[str, tuple[dict[str, str], dict[str, list[str]]]] = {
    "the least": (
        {"MomentoApiKey": "k", "OutboundTopics": "a", "Publish": "Enabled", "TokensConfigParameter": "/chat/tokens"},
        OWN | {"ReadSecrets": [MADE.format("MomentoApiKeyMade"), MADE.format("WebhookSigningSecretMade")]},
    ),
    "nothing but the environment": (
        {
            "MomentoApiKey": "k",
            "WebhookSigningSecret": "s",
            "SecretStorage": "Environment",
            "OutboundTopics": "a",
            "Endpoint": "HttpApi",
            "DomainName": "hooks.example.com",
            "CertificateArn": ARN["acm"],
            "Rollout": "AllAtOnce",
            "AlarmEmail": "alarms@example.com",
            "ReservedConcurrency": "5",
            "SilentMinutes": "30",
            "Token": "Enabled",
            "TokensConfigParameter": "/chat/tokens",
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
            "PermissionsBoundaryArn": ARN["iam"],
            "RolePath": "/apps/chat/",
            "DataKeyArn": ARN["kms"],
            "SubnetIds": "subnet-0a,subnet-0b",
            "SecurityGroupIds": "sg-0a",
            "SourceQueueArn": ARN["sqs"],
            "Redrive": "Enabled",
            "Tracing": "Active",
            "AlarmTopicArn": ARN["sns"],
            "Token": "Enabled",
            "Publish": "Enabled",
            "TokensConfigParameter": "/chat/tokens",
            "TokensApiKeySecretArn": f"{ARN['secretsmanager'].replace('key-', 'issuer-')}#key",
            "TokensAuthorizer": "Iam",
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
            "UseDataKey": [ARN["kms"]],
            "JoinNetwork": ["*"],
        },
    ),
    "secrets in parameters": (
        {
            "MomentoApiKeyParameter": "/chat/key",
            "WebhookSigningSecretParameter": "/chat/signing#current",
            "FanoutConfig": '[[routes]]\ntopic = "a:b"\ndestinations = ["c"]',
            "Token": "Enabled",
            "Publish": "Enabled",
            "TokensConfigParameter": "/chat/tokens",
            "TokensApiKeyParameter": "/chat/issuer#key",
        },
        OWN
        | {
            "ReadParameters": [
                here("arn:aws:ssm:REGION:ACCOUNT:parameter/chat/key"),
                here("arn:aws:ssm:REGION:ACCOUNT:parameter/chat/signing"),
            ],
        },
    ),
    "routes in an object": (
        {
            "MomentoApiKeyParameter": "/chat/key",
            "WebhookSigningSecretParameter": "/chat/signing",
            "FanoutConfigObject": "s3://routes/chat/fanout.toml?versionId=3HL4",
            "Token": "Enabled",
            "Publish": "Enabled",
            "TokensConfigObject": "s3://files/chat/tokens.toml?versionId=3HL4",
            "TokensAuthorizer": "Jwt",
            "TokensJwtIssuer": "https://login.example.com/",
            "TokensJwtAudience": "chat,mobile",
            "TokenReservedConcurrency": "5",
            "PublishReservedConcurrency": "50",
        },
        OWN
        | {
            "ReadParameters": [here(f"arn:aws:ssm:REGION:ACCOUNT:parameter/chat/{name}") for name in ("key", "signing")],
            "ReadRoutes": ["arn:aws:s3:::routes/chat/fanout.toml"],
        },
    ),
}
# The statements of the roles of token and publish, where a case has these functions. Those of publish are added to those of token.
LOGS = {name: here(f"arn:aws:logs:REGION:ACCOUNT:log-group:{STACK}-{name.capitalize()}Log:*") for name in PEOPLE}
KEY_PARAMETER = here("arn:aws:ssm:REGION:ACCOUNT:parameter/chat/key")
TOKENS_PARAMETER = here("arn:aws:ssm:REGION:ACCOUNT:parameter/chat/tokens")
PEOPLE_CASES: dict[str, tuple[dict[str, list[str]], dict[str, list[str]]]] = {
    "the least": (
        {"ReadSecrets": [MADE.format("MomentoApiKeyMade")], "ReadParameters": [TOKENS_PARAMETER]},
        {},
    ),
    "nothing but the environment": ({"ReadParameters": [TOKENS_PARAMETER]}, {}),
    "everything": (
        {
            "Trace": ["*"],
            "ReadSecrets": [ARN["secretsmanager"].replace("key-", "issuer-")],
            "ReadParameters": [TOKENS_PARAMETER],
            "DecryptSecrets": [ARN["kms"]],
            "DecryptFiles": [ARN["kms"]],
            "JoinNetwork": ["*"],
        },
        {
            "ReadParameters": [TOKENS_PARAMETER, here("arn:aws:ssm:REGION:ACCOUNT:parameter/chat/routes")],
            "Translate": ["*"],
            "Classify": ["*"],
            "UseTerminologies": [ARN["translate"]],
        },
    ),
    "secrets in parameters": ({"ReadParameters": [TOKENS_PARAMETER, here("arn:aws:ssm:REGION:ACCOUNT:parameter/chat/issuer")]}, {}),
    "routes in an object": (
        {"ReadParameters": [KEY_PARAMETER], "ReadTokens": ["arn:aws:s3:::files/chat/tokens.toml"]},
        {"ReadRoutes": ["arn:aws:s3:::routes/chat/fanout.toml"]},
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
    "subnets without a security group": {"MomentoApiKey": "k", "OutboundTopics": "a", "SubnetIds": "subnet-0a"},
    "a domain without a certificate": {"MomentoApiKey": "k", "OutboundTopics": "a", "Endpoint": "HttpApi", "DomainName": "a.b"},
    "a domain of a function URL": {"MomentoApiKey": "k", "OutboundTopics": "a", "DomainName": "a.b", "CertificateArn": ARN["acm"]},
    "no secret in the environment": {"MomentoApiKey": "k", "OutboundTopics": "a", "SecretStorage": "Environment"},
    **{
        name: {"MomentoApiKey": "k", "OutboundTopics": "a"} | given
        for name, given in {
            "token without a file": {"Token": "Enabled"},
            "publish without a file": {"Publish": "Enabled"},
            "a tokens.toml without a function": {"TokensConfigParameter": "/a"},
            "a key for tokens without a function": {"TokensApiKeyParameter": "/a"},
            "two files": {"Token": "Enabled", "TokensConfigParameter": "/a", "TokensConfigObject": "s3://bucket/key"},
            "two keys for tokens": {
                "Token": "Enabled",
                "TokensConfigParameter": "/a",
                "TokensApiKeyParameter": "/b",
                "TokensApiKeySecretArn": ARN["secretsmanager"],
            },
            "a JWT authorizer without an issuer": {
                "Token": "Enabled",
                "TokensConfigParameter": "/a",
                "TokensAuthorizer": "Jwt",
                "TokensJwtAudience": "a",
            },
            "a JWT authorizer without an audience": {
                "Token": "Enabled",
                "TokensConfigParameter": "/a",
                "TokensAuthorizer": "Jwt",
                "TokensJwtIssuer": "https://a",
            },
            "an issuer without a JWT authorizer": {"Token": "Enabled", "TokensConfigParameter": "/a", "TokensJwtIssuer": "https://a"},
        }.items()
    },
}


def check_template() -> None:
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
        check_people(name, resources, given)
        check_settings(name, resources)
        check_safety(name, resources)
        check_versions(name, case)
    for name, given in REFUSED.items():
        try:
            refusals = Template(template, given).refusals()
        except AssertionError as refusal:
            refusals = [str(refusal)]
        report(f"rules: {name} is refused", [] if refusals else ["it was accepted"])
    report("statements: each is used where infra/permissions.json says", unused())
    report("alarms: every metric of a function exists", unknown_metrics(template))
    report("infra/github-role.yaml: it may make every call that CloudFormation makes for the template", undeployable(template))
    check_calls_of_roles(template)
    [body, _] = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    same = body == Path("infra/dashboard.json").read_text()
    report("dashboard: it is infra/dashboard.json", [] if same else ["the texts differ"])


def check_people(name: str, resources: dict[str, Any], given: dict[str, str]) -> None:
    """Checks the functions token and publish: their roles, who may invoke them, and what their routes demand."""
    problems = []
    for function in PEOPLE:
        logical = function.capitalize()
        if given.get(logical) != "Enabled":
            problems += [f"{one} exists, and {function} is off" for one in resources if one.startswith(logical)]
            continue
        ours, more = PEOPLE_CASES[name]
        expected = {"WriteLog": [LOGS[function]]} | ours | (more if function == "publish" else {})
        [policy] = resources[f"{logical}Role"]["Properties"]["Policies"]
        check_statements(f"role of {function}: {name}", policy["PolicyDocument"]["Statement"], expected, function)
        permissions = [
            one["Properties"]
            for one in resources.values()
            if one["Type"] == "AWS::Lambda::Permission" and one["Properties"]["FunctionName"] == f"{logical}Function"
        ]
        gateway = {
            "FunctionName": f"{logical}Function",
            "Action": "lambda:InvokeFunction",
            "Principal": "apigateway.amazonaws.com",
            "SourceArn": here("arn:aws:execute-api:REGION:ACCOUNT:PeopleApi/$default/*"),
        }
        if permissions != [gateway]:
            problems.append(f"{function} may be invoked by others than its API: {permissions}")
    routes = {
        one["Properties"]["RouteKey"]: one["Properties"]
        for one in resources.values()
        if one["Type"] == "AWS::ApiGatewayV2::Route" and one["Properties"]["ApiId"] == "PeopleApi"
    }
    proof = {"Jwt": "JWT", "Iam": "AWS_IAM"}.get(given.get("TokensAuthorizer", "None"), "NONE")
    for key, route in routes.items():
        # A browser sends no proof with a preflight.
        wanted = "NONE" if key.startswith("OPTIONS ") else proof
        if route.get("AuthorizationType", "NONE") != wanted:
            problems.append(f"{key} has the authorization {route.get('AuthorizationType')}, not {wanted}")
        if (route.get("AuthorizerId") is not None) != (wanted == "JWT"):
            problems.append(f"{key} has the authorizer {route.get('AuthorizerId')}")
        integration = "TokenIntegration" if key.endswith("/token") else "PublishIntegration"
        if route["Target"] != f"integrations/{integration}":
            problems.append(f"{key} goes to {route['Target']}")
    wanted_routes = {
        "token": {"POST /token", "OPTIONS /token"},
        "publish": {"POST /publish", "POST /publish/{topic+}", "GET /history/{topic+}", "OPTIONS /{proxy+}"},
    }
    expected_routes = set().union(*(wanted_routes[one] for one in PEOPLE if given.get(one.capitalize()) == "Enabled"))
    if set(routes) != expected_routes:
        problems.append(f"routes: wanted {sorted(expected_routes)}, got {sorted(routes)}")
    if (api := resources.get("PeopleApi")) and "CorsConfiguration" in api["Properties"]:
        problems.append("the API itself answers preflights, and the functions know the allowed pages")
    report(f"token and publish: {name}", problems)


# Settings that Lambda itself makes, or that are for servers outside of it.
NOT_OF_LAMBDA = {"PORT", "HTTP_IDLE_TIMEOUT_SECONDS", "HTTP_BODY_MEMORY_MIB", "METRICS", "METRICS_ADDRESS", "RUST_LOG", "AWS_LAMBDA_LOG_LEVEL"}
# OUTBOUND_TOPICS takes more than one as well.
NOT_SET = NOT_OF_LAMBDA | {"OUTBOUND_TOPIC"}


def documented() -> dict[str, set[str]]:
    """Returns the settings of each function, by the tables of the documents."""

    def rows(path: str, heading: str) -> set[str]:
        section = Path(path).read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
        firsts = re.findall(r"(?m)^\| (`[^|]*) \|", section)
        return {name for first in firsts for name in re.findall(r"`([A-Z_]+)`", first)}

    token = rows("docs/TOKENS.md", "Settings")
    return {"Webhook": rows("docs/REFERENCE.md", "Settings"), "TokenFunction": token, "PublishFunction": token | rows("docs/PUBLISH.md", "Settings")}


def check_settings(name: str, resources: dict[str, Any]) -> None:
    """Checks that the environment of each function has its settings, and no others."""
    problems = []
    for logical, settings in documented().items():
        if logical in resources:
            has = set(resources[logical]["Properties"]["Environment"]["Variables"]) - {"RESTART"}
            problems += [f"{logical} lacks {one}" for one in sorted(settings - NOT_SET - has)]
            problems += [f"{logical} has {one}, which its document lacks" for one in sorted(has - settings)]
    report(f"settings: {name}", problems)


def unused() -> list[str]:
    """Returns the statements that infra/permissions.json allows a function, and that no case has."""
    problems = []
    for function in PEOPLE:
        cases = [{"WriteLog", *ours, *(more if function == "publish" else {})} for ours, more in PEOPLE_CASES.values()]
        allowed, used = set(PERMISSIONS["people"][function]), set().union(*cases)
        problems += [f"{function}: {sid} is allowed, and never used" for sid in sorted(allowed - used)]
        problems += [f"{function}: {sid} is used, and not allowed" for sid in sorted(used - allowed)]
    return problems


def unknown_metrics(template: dict[str, Any]) -> list[str]:
    """Returns the metrics of alarms that no log record of their function has."""
    names = lambda path: set(re.findall(r'"([A-Z][A-Za-z]+)"', Path(path).read_text()))
    shared = names("src/caller/record.rs")
    known = {
        "Webhook": names("src/request_log.rs"),
        "TokenFunction": shared | names("src/token/record.rs"),
        "PublishFunction": shared | names("src/publish/record.rs"),
    }
    problems, found = [], set()
    for alarm, one in template["Resources"].items():
        if one["Type"] != "AWS::CloudWatch::Alarm":
            continue
        metrics = [one["Properties"], *(query.get("MetricStat", {}).get("Metric", {}) for query in one["Properties"].get("Metrics", []))]
        for metric in metrics:
            if metric.get("Namespace") == "TopicFanout":
                [function] = [each["Value"]["Ref"] for each in metric["Dimensions"] if each["Name"] == "FunctionName"]
                found.add(function)
                if metric["MetricName"] not in known[function]:
                    problems.append(f"{alarm}: {function} has no metric {metric['MetricName']}")
    return problems + [f"no alarm of {function} was found" for function in sorted(set(known) - found)]


# Permissions of CloudFormation's handlers that only properties need which the template does not set.
UNUSED = {
    "apigateway:": {
        **{action: "nothing is imported from a file" for action in ("s3:getObject", "s3:GetObject", "s3:GetObjectVersion")},
        "iam:PassRole": "the integration has no role",
        **{f"apigateway:{action}Domain": "a person makes the domain" for action in ("AddCertificateTo", "RemoveCertificateFrom")},
    },
    "secretsmanager:": {
        f"secretsmanager:{action}": "the secrets are in one region"
        for action in ("ReplicateSecretToRegions", "RemoveRegionsFromReplication")
    },
    "iam:": {
        **{f"iam:{action}RolePolicy": "the roles have inline policies only" for action in ("Attach", "Detach")},
        "iam:DeleteRolePermissionsBoundary": "roles keep their boundary",
    },
    "codedeploy:": {"codedeploy:RegisterOnPremisesInstance": "no instances"},
    "lambda:": {
        "elasticfilesystem:DescribeMountTargets": "no file system",
        "s3files:ListMountTargets": "no file system",
        "s3:GetObjectVersion": "the package has no version",
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

    allowed = [action for one in github_role("DeployRole") for action in listed(one["Action"])]
    schemas = Path(cfnlint.__file__).parent / "data/schemas"
    registry = json.loads((schemas / f"providers/{REGION}.json").read_text())
    problems = []
    for kind in sorted({resource["Type"] for resource in template["Resources"].values()}):
        if kind.startswith("Custom::"):
            continue
        schema = json.loads((schemas / f"resources/{registry[kind]}.json").read_text())
        handlers = {name: one for name, one in schema["handlers"].items() if name != "list"}
        needed = {action for handler in handlers.values() for action in handler["permissions"]}
        service = {"ApiGatewayV2": "apigateway"}.get(kind.split("::")[1], kind.split("::")[1].lower())
        for action in sorted(needed - set(UNUSED.get(f"{service}:", {}))):
            if not any(fnmatch.fnmatchcase(action, pattern) for pattern in allowed):
                problems.append(f"{kind} needs {action}")
    return problems


# Policies, call by call

REPOSITORY = {
    "Repository": "acme/chat",
    "Environment": "production",
    "StackName": STACK,
    "HttpApiId": "a1b2c3",
    "PeopleApiId": "d4e5f6",
    "DataKeyArn": ARN["kms"],
    "Bucket": "packages",
    "PermissionsBoundaryArn": ARN["iam"],
}


def github_role(name: str) -> list[dict[str, Any]]:
    """Returns the statements of a role of infra/github-role.yaml."""
    role = Template(plain("infra/github-role.yaml"), REPOSITORY).resources()[name]["Properties"]
    return [one for policy in role["Policies"] for one in policy["PolicyDocument"]["Statement"]]


def lambda_arn(name: str) -> str:
    return here(f"arn:aws:lambda:REGION:ACCOUNT:{name}")


def check_calls_of_roles(template: dict[str, Any]) -> None:
    """Checks calls that the policies of each role must allow, and near ones that they must not."""
    given, _ = CASES["everything"]
    stack = Template(template, given).resources()
    own = {
        name: [one for policy in stack[name]["Properties"]["Policies"] for one in policy["PolicyDocument"]["Statement"]]
        for name in ("WebhookRole", "DeploymentRole", "TrafficRole", "TokenRole", "PublishRole")
    }
    via = {service: {"kms:ViaService": here(f"{service}.REGION.amazonaws.com")} for service in ("secretsmanager", "sqs", "lambda", "ec2")}
    mine, other = f"function:{STACK}-webhook", "function:other"
    package, role = f"arn:aws:s3:::packages/{STACK}/github/1.zip", here(f"arn:aws:iam::ACCOUNT:role/{STACK}-WebhookRole-1")
    bounded, new = {"iam:PermissionsBoundary": ARN["iam"]}, {"s3:if-none-match": "*"}
    mapping = lambda_arn("event-source-mapping:1234")
    secret = MADE.format("MomentoApiKeyMade")
    # The statements, then calls that they allow, and calls that they do not.
    table: dict[str, tuple[list[dict[str, Any]], list[tuple[Any, ...]], list[tuple[Any, ...]]]] = {
        "the function": (
            own["WebhookRole"],
            [
                ("states:StartExecution", ARN["states"]),
                # Routes may name an alias or a version.
                ("states:StartExecution", f"{ARN['states']}:live"),
                ("states:StartExecution", f"{ARN['states']}:7"),
                ("secretsmanager:GetSecretValue", ARN["secretsmanager"]),
                ("kms:Decrypt", ARN["kms"], via["secretsmanager"]),
                ("kms:Decrypt", ARN["kms"], via["lambda"]),
                ("kms:GenerateDataKey", ARN["kms"], via["sqs"]),
                ("sqs:SendMessage", f"{ARN['sqs']}.fifo"),
                ("logs:PutLogEvents", here(f"arn:aws:logs:REGION:ACCOUNT:log-group:{STACK}-WebhookLog:log-stream:1")),
            ],
            [
                ("states:StartExecution", f"{ARN['states']}-2"),
                ("states:StopExecution", ARN["states"]),
                ("secretsmanager:GetSecretValue", ARN["secretsmanager"].replace("key", "other")),
                ("secretsmanager:PutSecretValue", ARN["secretsmanager"]),
                ("kms:Decrypt", ARN["kms"], via["ec2"]),
                ("kms:Decrypt", ARN["kms"]),
                ("sqs:SendMessage", f"{ARN['sqs']}-2"),
                ("lambda:InvokeFunction", lambda_arn(mine)),
            ],
        ),
        "token": (
            own["TokenRole"],
            [
                ("secretsmanager:GetSecretValue", ARN["secretsmanager"].replace("key-", "issuer-")),
                ("ssm:GetParameter", TOKENS_PARAMETER),
                ("logs:PutLogEvents", here(f"arn:aws:logs:REGION:ACCOUNT:log-group:{STACK}-TokenLog:log-stream:1")),
                ("kms:Decrypt", ARN["kms"], via["lambda"]),
            ],
            [
                ("secretsmanager:GetSecretValue", ARN["secretsmanager"]),
                ("ssm:GetParameter", here("arn:aws:ssm:REGION:ACCOUNT:parameter/chat/routes")),
                ("logs:PutLogEvents", here(f"arn:aws:logs:REGION:ACCOUNT:log-group:{STACK}-WebhookLog:log-stream:1")),
                ("kms:GenerateDataKey", ARN["kms"], via["sqs"]),
                ("sqs:SendMessage", ARN["sqs"]),
                ("translate:TranslateText", "*"),
                ("comprehend:DetectToxicContent", "*"),
                ("lambda:InvokeFunction", lambda_arn(mine)),
            ],
        ),
        "publish": (
            own["PublishRole"],
            [
                ("ssm:GetParameter", here("arn:aws:ssm:REGION:ACCOUNT:parameter/chat/routes")),
                ("translate:TranslateText", "*"),
                ("comprehend:DetectToxicContent", "*"),
            ],
            [
                ("secretsmanager:GetSecretValue", ARN["secretsmanager"]),
                ("sqs:SendMessage", ARN["sqs"]),
                ("dynamodb:PutItem", ARN["dynamodb"]),
                ("states:StartExecution", ARN["states"]),
                ("lambda:InvokeFunction", lambda_arn(f"function:{STACK}-token")),
            ],
        ),
        "the probe": (
            own["DeploymentRole"],
            [
                ("lambda:InvokeFunction", lambda_arn(f"{mine}:7")),
                ("codedeploy:PutLifecycleEventHookExecutionStatus", here(f"arn:aws:codedeploy:REGION:ACCOUNT:deploymentgroup:{STACK}-a/b")),
            ],
            [("lambda:InvokeFunction", lambda_arn(f"{other}:7")), ("lambda:UpdateAlias", lambda_arn(mine))],
        ),
        "CodeDeploy": (
            own["TrafficRole"],
            [
                ("lambda:UpdateAlias", lambda_arn(mine)),
                ("lambda:UpdateAlias", lambda_arn(f"{mine}:live")),
                ("lambda:InvokeFunction", lambda_arn(f"function:{STACK}-probe")),
                ("cloudwatch:DescribeAlarms", "*"),
            ],
            [("lambda:UpdateAlias", lambda_arn(other)), ("lambda:UpdateFunctionCode", lambda_arn(mine))],
        ),
        "the plan": (
            github_role("PlanRole"),
            [("s3:PutObject", package, new), ("s3:GetObject", package), ("cloudformation:CreateChangeSet", stack_arn(STACK))],
            [
                ("s3:PutObject", package),
                ("s3:PutObject", package.replace("/github", ""), new),
                ("s3:PutObject", package.replace(STACK, "other"), new),
                ("s3:DeleteObject", package),
                ("s3:PutObject", package.replace("packages", "other"), new),
                ("cloudformation:ExecuteChangeSet", stack_arn(STACK)),
                ("cloudformation:CreateChangeSet", stack_arn("other")),
                ("lambda:UpdateFunctionCode", lambda_arn(mine)),
            ],
        ),
        "the deployment": (
            github_role("DeployRole"),
            [
                ("cloudformation:ExecuteChangeSet", stack_arn(STACK)),
                ("s3:GetObject", package),
                ("lambda:UpdateFunctionCode", lambda_arn(mine)),
                ("lambda:DeleteFunction", lambda_arn(f"{mine}:7")),
                ("lambda:InvokeFunction", lambda_arn(f"function:{STACK}-values")),
                ("lambda:UpdateEventSourceMapping", mapping, {"lambda:FunctionArn": lambda_arn(f"{mine}:live")}),
                ("lambda:TagResource", mapping, {"aws:RequestTag/Application": "topic-fanout"}),
                ("iam:CreateRole", role, bounded),
                ("iam:PutRolePolicy", role, bounded),
                ("iam:PassRole", role, {"iam:PassedToService": "lambda.amazonaws.com"}),
                ("codedeploy:CreateDeployment", here(f"arn:aws:codedeploy:REGION:ACCOUNT:deploymentgroup:{STACK}-ServerlessDeploymentApplication-1/a")),
                ("apigateway:PATCH", here("arn:aws:apigateway:REGION::/apis/a1b2c3/routes/1")),
                ("apigateway:POST", here("arn:aws:apigateway:REGION::/apis/d4e5f6/authorizers")),
                ("lambda:UpdateFunctionCode", lambda_arn(f"function:{STACK}-token")),
                ("lambda:UpdateFunctionCode", lambda_arn(f"function:{STACK}-publish")),
                ("secretsmanager:UpdateSecret", secret, {"aws:ResourceTag/aws:cloudformation:stack-name": STACK}),
            ],
            [
                ("s3:PutObject", package, new),
                ("lambda:UpdateFunctionCode", lambda_arn(other)),
                ("lambda:UpdateEventSourceMapping", mapping, {"lambda:FunctionArn": lambda_arn(other)}),
                ("lambda:TagResource", mapping, {"aws:ResourceTag/Application": "other"}),
                ("iam:CreateRole", role),
                ("iam:CreateRole", role, {"iam:PermissionsBoundary": f"{ARN['iam']}-2"}),
                ("iam:PutRolePolicy", role),
                ("iam:DeleteRolePermissionsBoundary", role, bounded),
                ("iam:AttachRolePolicy", role, bounded),
                ("iam:CreateRole", role.replace(STACK, "other"), bounded),
                ("iam:PassRole", role, {"iam:PassedToService": "ec2.amazonaws.com"}),
                ("apigateway:DELETE", here("arn:aws:apigateway:REGION::/apis/other")),
                ("apigateway:POST", here("arn:aws:apigateway:REGION::/apis")),
                ("secretsmanager:GetSecretValue", ARN["secretsmanager"]),
                ("secretsmanager:UpdateSecret", secret, {"aws:ResourceTag/aws:cloudformation:stack-name": "other"}),
                ("codedeploy:CreateDeployment", here("arn:aws:codedeploy:REGION:ACCOUNT:deploymentgroup:other/a")),
            ],
        ),
    }
    for name, (statements, allowed, denied) in table.items():
        problems = [f"is denied: {call}" for call in allowed if not allows(statements, *call)]
        problems += [f"is allowed: {call}" for call in denied if allows(statements, *call)]
        report(f"policies: {name} may make {len(allowed)} calls, and {len(denied)} others not", problems)
    boundary = Template(plain("infra/github-role.yaml"), REPOSITORY | {"PermissionsBoundaryArn": ""}).resources()["Boundary"]
    limits = boundary["Properties"]["PolicyDocument"]["Statement"]
    actions = {action for statements in own.values() for one in statements for action in listed(one["Action"])}
    report(
        "policies: the boundary of infra/github-role.yaml has every action of the roles",
        sorted(f"{action} is missing" for action in actions if not allows(limits, action, "*")),
    )
    # IAM's quota for all inline policies of a role, without white space.
    sizes = {name: len(json.dumps(github_role(name), separators=(",", ":"))) for name in ("PlanRole", "DeployRole")}
    report("policies: they fit into a role", [f"{name} has {size} characters" for name, size in sizes.items() if size > 10_000])


def stack_arn(name: str) -> str:
    return here(f"arn:aws:cloudformation:REGION:ACCOUNT:stack/{name}/1")


def check_versions(name: str, case: Template) -> None:
    """Checks that all traffic uses the alias, and that every parameter that changes the function makes a version of it."""
    resources = case.resources()
    problems = []
    invoked = {
        "AWS::Lambda::Url": "TargetFunctionArn",
        "AWS::Lambda::Permission": "FunctionName",
        "AWS::Lambda::EventSourceMapping": "FunctionName",
        "AWS::ApiGatewayV2::Integration": "IntegrationUri",
    }
    # Token and publish have no versions.
    others = {f"{logical}Function{attribute}" for logical in ("Token", "Publish") for attribute in ("", ".Arn")}
    for logical, one in resources.items():
        if one["Type"] in invoked and one["Properties"][invoked[one["Type"]]] not in {"WebhookAliaslive", *others}:
            problems.append(f"{logical} does not use the alias")
    [version] = [one for one in resources.values() if one["Type"] == "AWS::Lambda::Version"]
    fingerprint = "Values.Fingerprint"
    if version["Properties"]["Description"] != fingerprint or fingerprint not in resources["Webhook"]["Properties"]["Description"]:
        problems.append("a new fingerprint does not change the function and its version")
    if case.template["Resources"]["WebhookAliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]["BeforeAllowTrafficHook"] != {"Ref": "Probe"}:
        problems.append("a new version gets traffic without the probe")

    def properties(logical: str) -> Any:
        # The concurrency is no part of a version.
        ignored = ("ReservedConcurrentExecutions",)
        evaluated = case.value(case.template["Resources"][logical]["Properties"])
        return {key: value for key, value in evaluated.items() if key not in ignored}

    for parameter, value in list(case.parameters.items()):
        function, values = properties("Webhook"), properties("Values")
        case.parameters[parameter] = ["another"] if isinstance(value, list) else "another"
        if properties("Webhook") != function and properties("Values") == values:
            problems.append(f"another {parameter} changes the function, and is missing in Values")
        case.parameters[parameter] = value
    report(f"versions: {name}", problems)


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
        if queue["SqsManagedSseEnabled"] == ("KmsMasterKeyId" in queue) or queue["MessageRetentionPeriod"] != 1_209_600:
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


def check_role(name: str, function: str | None = None) -> None:
    import boto3

    iam = boto3.client("iam")
    statements = []
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        statements += listed((json.loads(document) if isinstance(document, str) else document)["Statement"])
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    report(f"role {name}: nothing is attached to it", [policy["PolicyArn"] for policy in attached])
    check_statements(f"role {name}", statements, json.load(sys.stdin), function)


match sys.argv[1:]:
    case ["calls"]:
        check_calls()
    case ["template"]:
        check_template()
    case ["role", name]:
        check_role(name)
    case ["role", name, ("token" | "publish") as function]:
        check_role(name, function)
    case _:
        sys.exit(__doc__)
sys.exit(1 if failures else 0)

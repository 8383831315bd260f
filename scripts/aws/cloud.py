"""Calls of the end-to-end scripts to the account at AWS_ENDPOINT_URL.

    cloud.py make                   a bus, queues, a table and a state machine for routes to send to; `NAME VALUE` a line
    cloud.py outputs STACK          the outputs of a stack, `NAME VALUE` a line
    cloud.py environment FUNCTION   the environment of a function, as its configuration shows it
    cloud.py parameter NAME         stores standard input in a parameter
    cloud.py secret ARN             makes standard input the current value
    cloud.py value ARN [STAGE]      the current value of a secret, or that of another stage
    cloud.py mend FUNCTION          makes numbers of the texts that ministack stores for its event source mappings
    cloud.py without-gaps TEMPLATE  removes from a template what ministack rejects: alarms on two or more metrics, and CodeDeploy;
                                    prints their names
    cloud.py live FUNCTION          the number of the version that the alias `live` has, and its description
    cloud.py weights FUNCTION       the weights of other versions in that alias, as JSON
    cloud.py probe TEMPLATE FUNCTION VERSION  runs the probe of the template against a version, as CodeDeploy would; prints the status
                                    that it reports
    cloud.py faulty FUNCTION        publishes a version with a setting that is invalid; prints its number
    cloud.py zip FILE ZIP           makes a zip of an executable
    cloud.py code TEMPLATE N=F...   sets the folders with the code of functions in a template
    cloud.py identity FOLDER ISSUER makes the keys of a provider of identities, and prints a JWT of a person
    cloud.py send URL               sends standard input to a queue
    cloud.py receive URL            waits for a message of a queue, deletes it and prints it
    cloud.py count URL              the number of messages in a queue, with those in flight and those that are delayed
    cloud.py item TABLE             the first item of a table, or nothing
    cloud.py execution ARN          the input of the first execution of a state machine, or nothing
    cloud.py alarms PREFIX          the number of alarms, and of those with an action and a dimension
    cloud.py resources STACK        the resources that a stack still has
    cloud.py network                a VPC with two subnets; `NAME VALUE` a line
    cloud.py stack NAME FILE N=V... creates a stack from a template with these parameters, and waits
    cloud.py unstack NAME           deletes it, and waits
    cloud.py config FAMILY          the variable RELAY_CONFIG of the container of a task definition
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import boto3

TIMEOUT_SECONDS = 20


def make() -> dict[str, str]:
    sqs, events = boto3.client("sqs"), boto3.client("events")
    iam, states, dynamodb = boto3.client("iam"), boto3.client("stepfunctions"), boto3.client("dynamodb")

    def queue(name: str) -> tuple[str, str]:
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    seen_url, seen_arn = queue("e2e-seen-on-the-bus")
    archive_url, archive_arn = queue("e2e-archive")
    source_url, source_arn = queue("e2e-source")
    bus = events.create_event_bus(Name="e2e")["EventBusArn"]
    events.put_rule(Name="e2e", EventBusName="e2e", EventPattern=json.dumps({"account": ["000000000000"]}))
    events.put_targets(Rule="e2e", EventBusName="e2e", Targets=[{"Id": "seen", "Arn": seen_arn}])
    key = {"AttributeName": "id", "KeyType": "HASH"}, {"AttributeName": "id", "AttributeType": "S"}
    table = dynamodb.create_table(
        TableName="e2e", KeySchema=[key[0]], AttributeDefinitions=[key[1]], BillingMode="PAY_PER_REQUEST"
    )["TableDescription"]["TableArn"]
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(
        RoleName="e2e", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    definition = {"StartAt": "Done", "States": {"Done": {"Type": "Pass", "End": True}}}
    machine = states.create_state_machine(name="e2e", definition=json.dumps(definition), roleArn=role)
    return {
        "bus": bus,
        "seen_url": seen_url,
        "archive": archive_arn,
        "archive_url": archive_url,
        "source": source_arn,
        "source_url": source_url,
        "table": table,
        "machine": machine["stateMachineArn"],
    }


def outputs(stack: str) -> dict[str, str]:
    [described] = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}


def receive(url: str) -> str:
    sqs = boto3.client("sqs")
    response = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=TIMEOUT_SECONDS, MaxNumberOfMessages=1)
    for message in response.get("Messages", []):
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return message["Body"]
    return ""


def count(url: str) -> int:
    names = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")]
    attributes = boto3.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(attributes.get(name, 0)) for name in names)


def execution(arn: str) -> str:
    states = boto3.client("stepfunctions")
    for one in states.list_executions(stateMachineArn=arn)["executions"]:
        return states.describe_execution(executionArn=one["executionArn"])["input"]
    return ""


def network() -> dict[str, str]:
    ec2 = boto3.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    blocks = ("10.9.1.0/24", "10.9.2.0/24")
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=block)["Subnet"]["SubnetId"] for block in blocks]
    return {"vpc": vpc, "subnets": ",".join(subnets)}


def stack(name: str, path: Path, given: list[str]) -> None:
    client = boto3.client("cloudformation")
    parameters = [{"ParameterKey": key, "ParameterValue": value} for key, _, value in (one.partition("=") for one in given)]
    client.create_stack(
        StackName=name, TemplateBody=path.read_text(), Parameters=parameters, Capabilities=["CAPABILITY_IAM"]
    )
    client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": TIMEOUT_SECONDS})


def config(family: str) -> str:
    [container] = boto3.client("ecs").describe_task_definition(taskDefinition=family)["taskDefinition"]["containerDefinitions"]
    return next(one["value"] for one in container["environment"] if one["name"] == "RELAY_CONFIG")


def lines(values: dict[str, str]) -> None:
    for name, value in values.items():
        print(name, value)


def without_gaps(path: Path) -> list[str]:
    from samcli.yamlhelper import yaml_dump, yaml_parse

    template = yaml_parse(path.read_text())
    resources = template["Resources"]
    sums = [name for name, one in resources.items() if "Metrics" in one.get("Properties", {})]
    for name in sums:
        del resources[name]
    del resources["Webhook"]["Properties"]["DeploymentPreference"]
    path.write_text(yaml_dump(template))
    return [*sums, "DeploymentPreference"]


def probe(path: Path, function: str, version: str) -> str:
    """Runs the inline code of the probe. CodeDeploy is a fake that keeps what it is told."""
    import os
    from types import SimpleNamespace

    from samcli.yamlhelper import yaml_parse

    code = yaml_parse(path.read_text())["Resources"]["Probe"]["Properties"]["Code"]["ZipFile"]
    told: dict[str, str] = {}
    codedeploy = SimpleNamespace(put_lifecycle_event_hook_execution_status=lambda **status: told.update(status))
    fake = SimpleNamespace(client=lambda name: codedeploy if name == "codedeploy" else boto3.client(name))
    arn = boto3.client("lambda").get_function_configuration(FunctionName=function)["FunctionArn"]
    os.environ["VERSION"] = f"{arn}:{version}"
    real, sys.modules["boto3"] = sys.modules["boto3"], fake
    module: dict[str, object] = {}
    exec(code, module)
    module["handler"]({"DeploymentId": "d-1", "LifecycleEventHookExecutionId": "hook-1"}, None)
    sys.modules["boto3"] = real
    assert (told["deploymentId"], told["lifecycleEventHookExecutionId"]) == ("d-1", "hook-1")
    return told["status"]


def faulty(function: str) -> str:
    client = boto3.client("lambda")
    variables = client.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    client.update_function_configuration(FunctionName=function, Environment={"Variables": variables | {"FANOUT_CONFIG": "[["}})
    version = client.publish_version(FunctionName=function)["Version"]
    client.update_function_configuration(FunctionName=function, Environment={"Variables": variables})
    return version


def set_code(path: Path, given: list[str]) -> None:
    from samcli.yamlhelper import yaml_dump, yaml_parse

    template = yaml_parse(path.read_text())
    for name, _, folder in (one.partition("=") for one in given):
        template["Resources"][name]["Properties"]["CodeUri"] = folder
    path.write_text(yaml_dump(template))


def identity(folder: Path, issuer: str) -> str:
    """Makes a key, and the documents that `folder` serves as a provider of identities. Returns a JWT."""
    import base64
    import time

    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    def encoded(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_numbers()
    jwk = {"kty": "RSA", "kid": "e2e", "use": "sig", "alg": "RS256"}
    jwk |= {name: encoded(number.to_bytes(length, "big")) for name, number, length in (("n", public.n, 256), ("e", public.e, 3))}
    (folder / "jwks.json").write_text(json.dumps({"keys": [jwk]}))
    (folder / ".well-known").mkdir()
    (folder / ".well-known/openid-configuration").write_text(json.dumps({"issuer": issuer, "jwks_uri": f"{issuer}/jwks.json"}))
    claims = {"iss": issuer, "aud": "chat", "sub": "mo", "room": "friends", "language": "english", "exp": int(time.time()) + 3600}
    parts = [encoded(json.dumps(one).encode()) for one in ({"alg": "RS256", "typ": "JWT", "kid": "e2e"}, claims)]
    signature = key.sign(".".join(parts).encode(), padding.PKCS1v15(), hashes.SHA256())
    return ".".join([*parts, encoded(signature)])


def make_zip(executable: Path, path: Path) -> None:
    import zipfile

    entry = zipfile.ZipInfo(executable.name)
    entry.external_attr = 0o755 << 16
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(entry, executable.read_bytes())


match sys.argv[1:]:
    case ["make"]:
        lines(make())
    case ["outputs", stack]:
        lines(outputs(stack))
    case ["environment", function]:
        described = boto3.client("lambda").get_function_configuration(FunctionName=function)
        lines(described["Environment"]["Variables"])
    case ["parameter", name]:
        boto3.client("ssm").put_parameter(Name=name, Value=sys.stdin.read(), Type="String", Overwrite=True)
    case ["secret", arn]:
        boto3.client("secretsmanager").put_secret_value(SecretId=arn, SecretString=sys.stdin.read())
    case ["mend", function]:
        client = boto3.client("lambda")
        for mapping in client.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]:
            limit = int(mapping["ScalingConfig"]["MaximumConcurrency"])
            client.update_event_source_mapping(UUID=mapping["UUID"], ScalingConfig={"MaximumConcurrency": limit})
    case ["value", arn, *stage]:
        version = stage[0] if stage else "AWSCURRENT"
        print(boto3.client("secretsmanager").get_secret_value(SecretId=arn, VersionStage=version)["SecretString"])
    case ["without-gaps", path]:
        print(*without_gaps(Path(path)))
    case ["live", function]:
        client = boto3.client("lambda")
        version = client.get_alias(FunctionName=function, Name="live")["FunctionVersion"]
        described = client.get_function_configuration(FunctionName=function, Qualifier=version)
        print(version, described["Description"])
    case ["weights", function]:
        alias = boto3.client("lambda").get_alias(FunctionName=function, Name="live")
        print(json.dumps(alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})))
    case ["probe", path, function, version]:
        print(probe(Path(path), function, version))
    case ["faulty", function]:
        print(faulty(function))
    case ["code", path, *given]:
        set_code(Path(path), given)
    case ["identity", folder, issuer]:
        print(identity(Path(folder), issuer))
    case ["zip", executable, path]:
        make_zip(Path(executable), Path(path))
    case ["send", url]:
        boto3.client("sqs").send_message(QueueUrl=url, MessageBody=sys.stdin.read())
    case ["receive", url]:
        print(receive(url))
    case ["count", url]:
        print(count(url))
    case ["item", table]:
        print(json.dumps(boto3.client("dynamodb").scan(TableName=table)["Items"]).removeprefix("[]"))
    case ["execution", arn]:
        print(execution(arn))
    case ["alarms", prefix]:
        alarms = boto3.client("cloudwatch").describe_alarms(AlarmNamePrefix=prefix)["MetricAlarms"]
        looks = [bool(alarm.get("Dimensions") or not alarm.get("MetricName")) for alarm in alarms]
        print(len(alarms), sum(bool(alarm["AlarmActions"]) and look for alarm, look in zip(alarms, looks, strict=True)))
    case ["resources", stack]:
        found = boto3.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
        lines({one["LogicalResourceId"]: one["ResourceType"] for one in found})
    case ["network"]:
        lines(network())
    case ["stack", name, path, *given]:
        stack(name, Path(path), given)
    case ["unstack", name]:
        client = boto3.client("cloudformation")
        client.delete_stack(StackName=name)
        client.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    case ["config", family]:
        print(config(family))
    case _:
        sys.exit(__doc__)

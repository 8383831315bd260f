"""Checks the commands of docs/DEPLOYING.md: each one runs somewhere else as well, or is listed here with why it does not.

    deploying.py            checks
    deploying.py --list     prints what runs nowhere, and why

It also checks the names in the commands: parameters of the templates and their values, variables and outputs of the example of
Terraform, and files; and that the tables of infra/README.md have the inputs and outputs of the module.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

DOCUMENT = "docs/DEPLOYING.md"
EXAMPLE = "infra/examples/chat/main.tf"
# How a command begins, the script that runs it, and what that script says for it.
RUN = [
    ("python3 deploy ", "scripts/e2e-aws", "release_deploy"),
    ("sam build", "scripts/e2e-aws", "bin/sam build"),
    ("sam deploy ", "scripts/e2e-aws", "bin/sam deploy"),
    ("sam delete ", "scripts/e2e-aws", "bin/sam delete"),
    ("curl https://abc123.lambda-url.eu-central-1.on.aws/health", "scripts/e2e-aws", "check_health"),
    ("terraform apply -var 'rollout=", "scripts/e2e-terraform", "with a tenth for a new version"),
    ("terraform apply -replace=", "scripts/e2e-terraform", "-replace='module.fanout.aws_secretsmanager_secret_version.made"),
    ("terraform apply", "scripts/e2e-terraform", "done_by 'terraform apply' apply"),
    ("terraform init", "scripts/e2e-terraform", "terraform init' init"),
    ("terraform output ", "scripts/e2e-terraform", "output -json"),
    ("curl --request POST --header \"Authorization: Bearer ", "scripts/e2e-aws", "a proof gets a token"),
    ("cargo lambda watch ", "scripts/e2e-lambda-watch", "cargo lambda watch"),
    ("cargo lambda build ", "scripts/e2e-lambda-build", "cargo-lambda lambda build"),
    ("aws ssm put-parameter ", "scripts/aws/cloud.py", "put_parameter"),
    ("aws secretsmanager put-secret-value ", "scripts/aws/cloud.py", "put_secret_value"),
    # Of the documents that scripts/e2e-documents executes.
    ("cargo fanout send ", "docs/LOGS.md", "$ fanout send --url "),
    ("cargo fanout topic subscribe ", "README.md", "$ cargo fanout topic subscribe "),
    ("cargo fanout dev ", "README.md", "cargo fanout dev"),
    ("cargo fanout check tokens.toml", "scripts/e2e-aws", '"$bin/fanout" check'),
]
# Where the environment of a shell is set, or a file is shown.
SHELL = ("export ", "cat ", "cd ", "cargo build ")
NOT_RUN = [
    ("gh ", "needs GitHub: a release, and the rights to set up its environments"),
    ("for name in NAME NAME-plan", "needs GitHub: the rights to set up its environments"),
    ("pip install ", "installs tools, as scripts/install-tools does with fixed versions"),
    ("curl \"$(terraform output -raw webhook_url)health\"", "the emulator serves `/health` itself"),
    ("aws lambda invoke ", "the probe of the template asks the same, in scripts/e2e-aws"),
    ("aws cloudwatch describe-alarms ", "asks for alarms that are on; nothing in the emulator switches one on"),
    ("cargo lambda deploy ", "makes a role and a function outside of any stack; scripts/e2e-lambda-build runs the same zip"),
    ("aws lambda add-permission ", "the emulator enforces no permissions; the template has the same statement"),
    ("docker run ", "needs an engine for containers; the release builds and starts the image"),
    ("aws cloudformation ", "the emulator has no provider of GitHub's identities; scripts/aws/permissions.py evaluates the roles"),
    ("cargo fanout sign ", "a test of the CLI runs it, and verifies its headers"),
    ("curl --data-binary @event.json ", "sends what `cargo fanout sign` signed; `cargo fanout send` does both, and runs"),
    ("aws lambda update-event-source-mapping ", "scripts/e2e-aws switches the mapping on by the parameter `Redrive`"),
    ("aws logs delete-log-group ", "deletes what a person wants to keep until then"),
    ("WEBHOOK_SIGNING_SECRET=... scripts/load ", "needs a deployed function, and a minute"),
]


def commands(text: str) -> list[str]:
    found = []
    for block in re.findall(r"(?ms)^ *```console\n(.*?)^ *```$", text):
        for command in re.findall(r"(?m)^ *\$ ((?:.*\\\n)*.*)$", block):
            found.append(re.sub(r"\\\n\s*", "", command))
    return found


def parameters(path: str) -> dict[str, set[str]]:
    """Returns the parameters of a template, with the values that they allow, or none for any."""
    section = re.search(r"(?ms)^Parameters:\n(.*?)^\w", Path(path).read_text())[1]
    found = {}
    for name, body in re.findall(r"(?ms)^  (\w+):\n(.*?)(?=^  \w|\Z)", section):
        allowed = re.search(r"AllowedValues: *(?:\[(.*?)\]|\n((?: +- .*\n)+))", body)
        listed = re.findall(r'[\w.-]+', (allowed[1] or allowed[2].replace("- ", " ")) if allowed else "")
        found[name] = set(listed)
    return found


def module_tables() -> list[str]:
    """Returns the inputs and outputs of the module that infra/README.md has otherwise, or not at all."""
    readme = Path("infra/README.md").read_text()
    problems = []
    for kind, path, heading in (("variable", "infra/variables.tf", "Inputs"), ("output", "infra/outputs.tf", "Outputs")):
        declared = re.findall(rf'(?m)^{kind} "(\w+)" \{{\n  description += "((?:[^"\\]|\\.)*)"', Path(path).read_text())
        section = readme.split(f"\n## {heading}\n")[1].split("\n## ")[0]
        shown = [(row[0], row[-1]) for row in re.findall(r"(?m)^\| `(\w+)` \|(?: .* \|)? (.*) \|$", section)]
        problems += [f"infra/README.md, {heading}: {name} is not as in {path}" for name, _ in sorted(set(declared) ^ set(shown))]
        if not declared:
            problems.append(f"{path}: no {kind} was found")
    return problems


def main() -> int:
    text = Path(DOCUMENT).read_text()
    shown = commands(text)
    if "--list" in sys.argv:
        for start, reason in NOT_RUN:
            print(f"{start.strip()}: {reason}")
    known = [start for start, *_ in RUN + NOT_RUN] + list(SHELL)
    problems = [f"`{command}` is in no list of {sys.argv[0]}" for command in shown if not command.startswith(tuple(known))]
    problems += [f"no command begins with `{start}`" for start in known if not any(one.startswith(start) for one in shown)]
    problems += [f"{path} does not run `{start}`: it lacks `{says}`" for start, path, says in RUN if says not in Path(path).read_text()]

    problems += module_tables()
    template = parameters("template.yaml")
    role = parameters("infra/github-role.yaml")
    example = Path(EXAMPLE).read_text()
    declared = {kind: set(re.findall(rf'(?m)^{kind} "(\w+)"', example)) for kind in ("variable", "output")}
    for command in shown:
        of = role if "github-role.yaml" in command else template
        if "deploy" in command.split(" --to")[0] and not command.startswith("cargo"):
            for name in re.findall(r"(?:^|[ '])([A-Z][A-Za-z]+)=", command):
                problems += [] if name in of else [f"`{name}` is not a parameter: {command}"]
        for kind, pattern in (("variable", r"TF_VAR_(\w+)|-var '(\w+)="), ("output", r"terraform output -raw (\w+)")):
            names = {name for groups in re.findall(pattern, command) for name in ([groups] if isinstance(groups, str) else groups) if name}
            problems += [f"{EXAMPLE} has no {kind} `{name}`" for name in sorted(names - declared[kind])]
        for path in re.findall(r"(?:^|[ =])((?:infra|scripts)/[\w./-]+)", command):
            problems += [] if Path(path).exists() else [f"{path} does not exist: {command}"]
    for name, value in re.findall(r"`([A-Z][A-Za-z]+)=([A-Za-z0-9]+)`", text):
        allowed = template.get(name)
        if allowed and value not in allowed:
            problems.append(f"`{name}={value}` is not one of {sorted(allowed)}")
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

# The role of the function. Each statement exists only if a setting needs it. permissions.json has the reasons, also for the
# statements with the resource `*`.

locals {
  secret_arns = concat(
    [for name in sort(tolist(local.made)) : aws_secretsmanager_secret.made[name].arn],
    # Without the member.
    [for id in values(local.secret_ids) : split("#", id)[0] if startswith(id, "arn:")],
  )
  parameter_arns = [
    for id in concat(values(local.secret_ids), [var.fanout_config]) :
    "${local.arn}:ssm:${local.here}:parameter${split("#", trimprefix(id, "ssm:"))[0]}" if startswith(id, "ssm:")
  ]

  receive    = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
  interfaces = ["ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses"]
  suffix     = data.aws_partition.current.dns_suffix

  statements = [
    { sid = "WriteLog", actions = ["logs:CreateLogStream", "logs:PutLogEvents"], resources = ["${aws_cloudwatch_log_group.webhook.arn}:*"], via = [] },
    { sid = "SendDeadLetters", actions = ["sqs:SendMessage"], resources = [aws_sqs_queue.dead_letters.arn], via = [] },
    { sid = "ReceiveDeadLetters", actions = local.receive, resources = [aws_sqs_queue.dead_letters.arn], via = [] },
    { sid = "ReceiveEvents", actions = local.receive, resources = var.source_queue[*].arn, via = [] },
    { sid = "Trace", actions = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"], resources = var.tracing == "Active" ? ["*"] : [], via = [] },
    { sid = "ReadSecrets", actions = ["secretsmanager:GetSecretValue"], resources = local.secret_arns, via = [] },
    { sid = "ReadParameters", actions = ["ssm:GetParameter"], resources = local.parameter_arns, via = [] },
    { sid = "ReadRoutes", actions = ["s3:GetObject", "s3:GetObjectVersion"], resources = [for place in [var.fanout_config] : "${local.arn}:s3:::${split("?", trimprefix(place, "s3://"))[0]}" if startswith(place, "s3://")], via = [] },
    { sid = "DecryptSecrets", actions = ["kms:Decrypt"], resources = var.secrets_key_arn[*], via = ["secretsmanager", "ssm"] },
    { sid = "UseDataKey", actions = ["kms:Decrypt", "kms:GenerateDataKey"], resources = var.data_key_arn[*], via = ["lambda", "s3", "sqs"] },
    { sid = "JoinNetwork", actions = local.interfaces, resources = var.network == null ? [] : ["*"], via = [] },
    { sid = "PutEvents", actions = ["events:PutEvents"], resources = var.event_bus_arns, via = [] },
    { sid = "SendMessages", actions = ["sqs:SendMessage"], resources = var.queue_arns, via = [] },
    { sid = "WriteItems", actions = ["dynamodb:PutItem", "dynamodb:UpdateItem"], resources = var.table_arns, via = [] },
    { sid = "StartExecutions", actions = ["states:StartExecution"], resources = var.state_machine_arns, via = [] },
    { sid = "UseDestinationKeys", actions = ["kms:Decrypt", "kms:GenerateDataKey"], resources = var.destination_key_arns, via = ["dynamodb", "events", "sqs", "states"] },
    { sid = "Translate", actions = ["comprehend:DetectDominantLanguage", "translate:TranslateText"], resources = var.allow_translate ? ["*"] : [], via = [] },
    { sid = "Classify", actions = ["comprehend:DetectToxicContent"], resources = var.allow_comprehend ? ["*"] : [], via = [] },
    { sid = "UseTerminologies", actions = ["translate:GetTerminology"], resources = var.terminology_arns, via = [] },
  ]

  # The set of statements does not depend on names that are known only after the apply.
  needed = {
    ReceiveEvents      = var.source_queue != null
    Trace              = var.tracing == "Active"
    ReadSecrets        = length(local.made) > 0 || anytrue([for id in values(local.secret_ids) : startswith(id, "arn:")])
    ReadParameters     = length(local.parameter_arns) > 0
    ReadRoutes         = startswith(var.fanout_config, "s3://")
    DecryptSecrets     = var.secrets_key_arn != null
    UseDataKey         = var.data_key_arn != null
    JoinNetwork        = var.network != null
    PutEvents          = length(var.event_bus_arns) > 0
    SendMessages       = length(var.queue_arns) > 0
    WriteItems         = length(var.table_arns) > 0
    StartExecutions    = length(var.state_machine_arns) > 0
    UseDestinationKeys = length(var.destination_key_arns) > 0
    Translate          = var.allow_translate
    Classify           = var.allow_comprehend
    UseTerminologies   = length(var.terminology_arns) > 0
  }
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "webhook" {
  dynamic "statement" {
    for_each = { for index, one in local.statements : format("%02d", index) => one if lookup(local.needed, one.sid, true) }

    content {
      sid       = statement.value.sid
      actions   = statement.value.actions
      resources = statement.value.resources

      dynamic "condition" {
        for_each = length(statement.value.via) > 0 ? [statement.value.via] : []

        content {
          test     = "StringEquals"
          variable = "kms:ViaService"
          values   = [for service in condition.value : "${service}.${local.region}.${local.suffix}"]
        }
      }
    }
  }
}

resource "aws_iam_role" "webhook" {
  name_prefix          = "${substr(local.function, 0, 37)}-"
  description          = "What the function webhook of topic-fanout may do"
  path                 = var.role_path
  permissions_boundary = var.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.assume.json
  tags                 = local.tags
}

resource "aws_iam_role_policy" "webhook" {
  name   = "webhook"
  role   = aws_iam_role.webhook.id
  policy = data.aws_iam_policy_document.webhook.json
}

# What ECS may do before the relay starts, and what the relay may do.

locals {
  statements = concat(
    [
      { Sid = "WriteLog", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = ["${aws_cloudwatch_log_group.relay.arn}:*"] },
      # The ARN of a secret has seven parts. A member of its JSON comes after them.
      { Sid = "ReadSecrets", Action = ["secretsmanager:GetSecretValue"], Resource = [for arn in values(local.secrets) : join(":", slice(split(":", arn), 0, 7))] },
    ],
    [for arn in var.repository_arn[*] : { Sid = "PullImage", Action = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], Resource = [arn] }],
    # AWS accepts no narrower resource for this action.
    [for arn in var.repository_arn[*] : { Sid = "LogInToRegistry", Action = ["ecr:GetAuthorizationToken"], Resource = ["*"] }],
  )

  assume = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ecs-tasks.amazonaws.com" } }]
  })
}

resource "aws_iam_role" "execution" {
  name_prefix        = "${substr(var.name, 0, 30)}-start-"
  description        = "What ECS may do before the relay of topic-fanout starts"
  assume_role_policy = local.assume
  tags               = local.tags
}

resource "aws_iam_role_policy" "execution" {
  name   = "start"
  role   = aws_iam_role.execution.id
  policy = jsonencode({ Version = "2012-10-17", Statement = [for statement in local.statements : merge({ Effect = "Allow" }, statement)] })
}

resource "aws_iam_role" "task" {
  name_prefix        = "${substr(var.name, 0, 30)}-relay-"
  description        = "What the relay of topic-fanout may do"
  assume_role_policy = local.assume
  tags               = local.tags
}

resource "aws_iam_role_policy" "task" {
  count = local.is_queue || length(var.function_arns) > 0 ? 1 : 0

  name = "deliver"
  role = aws_iam_role.task.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [for queue in aws_sqs_queue.events : { Sid = "SendEvents", Effect = "Allow", Action = "sqs:SendMessage", Resource = queue.arn }],
      length(var.function_arns) == 0 ? [] : [{ Sid = "InvokeFunctions", Effect = "Allow", Action = "lambda:InvokeFunction", Resource = var.function_arns }],
    )
  })
}

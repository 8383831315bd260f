# The relay on AWS Fargate. docs/RELAY.md has the choices, the commands, sizes and costs. template.yaml has the same resources.

data "aws_region" "current" {}

locals {
  is_queue = var.webhook == null
  tags     = merge({ Application = "topic-fanout" }, var.tags)

  # JSON strings are TOML strings.
  target = local.is_queue ? "{ sqs = ${jsonencode(aws_sqs_queue.events[0].url)} }" : "{ url = ${jsonencode(var.webhook.url)}, secret = \"env:WEBHOOK_SIGNING_SECRET\" }"
  listen = var.operators == null ? "\"127.0.0.1:9100\"" : "\"0.0.0.0:9100\"\n    listen_token = \"env:OPERATORS_TOKEN\""
  config = var.config != null ? var.config : <<-TOML
    spool = "/var/lib/fanout/relay.db"
    listen = ${local.listen}
    metrics = "emf"

    [[subscriptions]]
    cache = ${jsonencode(var.cache)}
    topics = ${jsonencode(var.topics)}
    # A new task begins with an empty spool.
    from = "available"
    order = "topic"
    target = ${local.target}
  TOML

  secrets = merge(
    { MOMENTO_API_KEY = var.momento_api_key_secret_arn },
    local.is_queue ? {} : { WEBHOOK_SIGNING_SECRET = var.webhook.signing_secret_arn },
    var.operators == null ? {} : { OPERATORS_TOKEN = var.operators.token_secret_arn },
  )
}

resource "aws_ecs_cluster" "relay" {
  # checkov:skip=CKV_AWS_65:the relay has metrics of its own, and Container Insights costs more than its tasks
  name = var.name
  tags = local.tags
}

resource "aws_cloudwatch_log_group" "relay" {
  # checkov:skip=CKV_AWS_158:the log has no texts of messages, and CloudWatch encrypts it with a key of AWS
  # checkov:skip=CKV_AWS_338:the log is for operation, and not an archive
  name              = "/topic-fanout/${var.name}"
  retention_in_days = var.log_retention_days
  tags              = local.tags
}

resource "aws_ecs_task_definition" "relay" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.size.cpu
  memory                   = var.size.memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn
  tags                     = local.tags

  runtime_platform {
    cpu_architecture        = var.architecture
    operating_system_family = "LINUX"
  }

  # In the storage of the task: it outlives the process, and not the task. Nor does an EBS volume of a service.
  volume {
    name = "spool"
  }

  container_definitions = jsonencode([{
    name                   = "relay"
    image                  = var.image
    essential              = true
    user                   = "65532"
    readonlyRootFilesystem = true
    stopTimeout            = 60
    # The process is started again in the same task, with the same spool.
    restartPolicy = { enabled = true, restartAttemptPeriod = 60 }

    healthCheck = {
      command     = ["CMD", "/usr/local/bin/fanout", "relay", "--config", "env:RELAY_CONFIG", "health"]
      interval    = 15
      timeout     = 5
      retries     = 3
      startPeriod = 30
    }

    mountPoints = [{ sourceVolume = "spool", containerPath = "/var/lib/fanout", readOnly = false }]
    environment = [for name, value in {
      MOMENTO_ENDPOINT = var.momento_endpoint
      RELAY_CONFIG     = local.config
      RELAY_NAME       = var.name
    } : { name = name, value = value }]
    secrets = [for name, arn in local.secrets : { name = name, valueFrom = arn }]

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.relay.name
        awslogs-region        = data.aws_region.current.id
        awslogs-stream-prefix = "relay"
      }
    }
  }])

  lifecycle {
    precondition {
      condition     = var.config != null || (var.cache != "" && length(var.topics) > 0)
      error_message = "Give cache and topics, or config."
    }
  }
}

resource "aws_ecs_service" "relay" {
  name            = var.name
  cluster         = aws_ecs_cluster.relay.id
  task_definition = aws_ecs_task_definition.relay.arn
  launch_type     = "FARGATE"
  desired_count   = local.is_queue ? 2 : 1
  propagate_tags  = "SERVICE"
  tags            = local.tags

  # Two relays of a webhook would deliver twice, so the old task ends before the new one begins.
  deployment_minimum_healthy_percent = local.is_queue ? 50 : 0
  deployment_maximum_percent         = local.is_queue ? 200 : 100

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    assign_public_ip = var.network.public_ip
    subnets          = var.network.subnet_ids
    security_groups  = [aws_security_group.network.id]
  }
}

# Momento, AWS and webhooks are all reached over TLS. Only operators reach the tasks.
resource "aws_security_group" "network" {
  name_prefix = "${var.name}-"
  description = "The relay connects over TLS, and only operators connect to it"
  vpc_id      = var.network.vpc_id
  tags        = local.tags

  egress {
    description      = "TLS"
    protocol         = "tcp"
    from_port        = 443
    to_port          = 443
    cidr_blocks      = ["0.0.0.0/0"]
    ipv6_cidr_blocks = ["::/0"]
  }

  dynamic "ingress" {
    for_each = var.operators[*]

    content {
      description     = "Operators"
      protocol        = "tcp"
      from_port       = 9100
      to_port         = 9100
      security_groups = [ingress.value.security_group_id]
    }
  }
}

resource "aws_sqs_queue" "events" {
  count = local.is_queue ? 1 : 0

  name       = "${var.name}-events.fifo"
  fifo_queue = true
  # Both relays send a message with the same deduplication id, in the group of its topic.
  deduplication_scope       = "messageGroup"
  fifo_throughput_limit     = "perMessageGroupId"
  message_retention_seconds = 1209600
  # Six times the timeout of the function.
  visibility_timeout_seconds = 60
  sqs_managed_sse_enabled    = true
  tags                       = local.tags

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.undeliverable[0].arn
    maxReceiveCount     = 5
  })
}

resource "aws_sqs_queue" "undeliverable" {
  count = local.is_queue ? 1 : 0

  name                      = "${var.name}-undeliverable.fifo"
  fifo_queue                = true
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
  tags                      = local.tags
}

resource "aws_sqs_queue_policy" "tls_only" {
  count = local.is_queue ? 1 : 0

  queue_url = aws_sqs_queue.events[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "sqs:*"
      Resource  = aws_sqs_queue.events[0].arn
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}

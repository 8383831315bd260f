# Queues: dead letters, parked dead letters, and a queue with events.

resource "aws_sqs_queue" "parked" {
  name                      = "${var.name}-parked"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = var.data_key_arn == null ? true : null
  kms_master_key_id         = var.data_key_arn
  tags                      = local.tags
}

resource "aws_sqs_queue" "dead_letters" {
  name                       = "${var.name}-dead-letters"
  message_retention_seconds  = 1209600
  visibility_timeout_seconds = var.redrive.pause_seconds
  sqs_managed_sse_enabled    = var.data_key_arn == null ? true : null
  kms_master_key_id          = var.data_key_arn
  tags                       = local.tags

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.parked.arn
    maxReceiveCount     = var.redrive.attempts
  })
}

resource "aws_sqs_queue_redrive_allow_policy" "parked" {
  queue_url = aws_sqs_queue.parked.id

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.dead_letters.arn]
  })
}

resource "aws_sqs_queue_policy" "tls_only" {
  for_each = { dead_letters = aws_sqs_queue.dead_letters, parked = aws_sqs_queue.parked }

  queue_url = each.value.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "sqs:*"
      Resource  = each.value.arn
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}

resource "aws_lambda_event_source_mapping" "redrive" {
  function_name           = aws_lambda_alias.live.arn
  event_source_arn        = aws_sqs_queue.dead_letters.arn
  enabled                 = var.redrive.enabled
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = local.tags

  scaling_config {
    maximum_concurrency = var.redrive.concurrency
  }
}

resource "aws_lambda_event_source_mapping" "source" {
  count = var.source_queue == null ? 0 : 1

  function_name           = aws_lambda_alias.live.arn
  event_source_arn        = var.source_queue.arn
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = local.tags

  scaling_config {
    maximum_concurrency = var.source_queue.concurrency
  }
}

# Who is told when. docs/DEPLOYING.md says what to do at each.

locals {
  of_function = { FunctionName = local.function }

  alarms = {
    wrong-signatures   = { namespace = "TopicFanout", metric = "Refused", dimensions = merge(local.of_function, { Reason = "signature_wrong" }), statistic = "Sum", threshold = var.alarm_limits.wrong_signatures, periods = 1, says = "webhooks with a wrong signature: a rotation that is half done, or somebody tries" }
    failed             = { namespace = "TopicFanout", metric = "Failed", dimensions = local.of_function, statistic = "Sum", threshold = 1, periods = 1, says = "destinations did not take an event" }
    slow               = { namespace = "TopicFanout", metric = "Latency", dimensions = local.of_function, statistic = "p99", threshold = var.alarm_limits.slow_milliseconds, periods = 3, says = "the slowest hundredth of the answers takes long" }
    dead-letters       = { namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = aws_sqs_queue.dead_letters.name }, statistic = "Maximum", threshold = 1, periods = 1, says = "there are dead letters" }
    oldest-dead-letter = { namespace = "AWS/SQS", metric = "ApproximateAgeOfOldestMessage", dimensions = { QueueName = aws_sqs_queue.dead_letters.name }, statistic = "Maximum", threshold = var.alarm_limits.oldest_dead_letter_seconds, periods = 1, says = "a dead letter has been waiting for long; after 14 days it is gone" }
    parked             = { namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = aws_sqs_queue.parked.name }, statistic = "Maximum", threshold = 1, periods = 1, says = "dead letters that failed again are parked, and nothing tries them any more" }
    throttles          = { namespace = "AWS/Lambda", metric = "Throttles", dimensions = local.of_function, statistic = "Sum", threshold = 1, periods = 1, says = "invocations were turned away: the limit on concurrency is reached" }
    errors             = { namespace = "AWS/Lambda", metric = "Errors", dimensions = local.of_function, statistic = "Sum", threshold = 1, periods = 1, says = "invocations ended without an answer: a crash, a timeout, settings that cannot be used" }
  }

  graphs = [
    { title = "Events", stat = "Sum", metrics = [for metric in ["Received", "Published", "Failed", "DeadLettered"] : ["TopicFanout", metric, "FunctionName", local.function]] },
    { title = "Refused", stat = "Sum", metrics = [["TopicFanout", "Refused", "FunctionName", local.function]] },
    { title = "Milliseconds to answer, p99", stat = "p99", metrics = [["TopicFanout", "Latency", "FunctionName", local.function]] },
    { title = "Milliseconds since the message was published, p99", stat = "p99", metrics = [["TopicFanout", "EventAge", "FunctionName", local.function]] },
    { title = "The function", stat = "Maximum", metrics = [for metric in ["ConcurrentExecutions", "Throttles", "Errors"] : ["AWS/Lambda", metric, "FunctionName", local.function]] },
    { title = "Dead letters, and parked ones", stat = "Maximum", metrics = [for queue in [aws_sqs_queue.dead_letters.name, aws_sqs_queue.parked.name] : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue]] },
  ]
}

resource "aws_cloudwatch_metric_alarm" "webhook" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "topic-fanout: ${each.value.says}"
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic == "p99" ? null : each.value.statistic
  extended_statistic  = each.value.statistic == "p99" ? "p99" : null
  threshold           = each.value.threshold
  comparison_operator = "GreaterThanOrEqualToThreshold"
  period              = 300
  evaluation_periods  = each.value.periods
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = local.tags
}

resource "aws_cloudwatch_dashboard" "webhook" {
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = [for index, graph in local.graphs : {
      type   = "metric"
      x      = index % 2 * 12
      y      = floor(index / 2) * 6
      width  = 12
      height = 6
      properties = {
        title  = graph.title, stat = graph.stat, metrics = graph.metrics
        region = local.region, view = "timeSeries", period = 60
      }
    }]
  })
}

# Alarms. docs/RUNBOOK.md describes what to do at each. The metrics are in the log of the relay.

locals {
  alarms = {
    deaf     = { metric = "DeafTopics", statistic = "Maximum", threshold = 1, period = 60, periods = 5, missing = "breaching", says = "topics are not subscribed to, or the relay does not run: their messages are missed" }
    late     = { metric = "OldestPending", statistic = "Maximum", threshold = 300, period = 60, periods = 5, missing = "notBreaching", says = "a message has waited for five minutes: the target fails, or is too slow" }
    dead     = { metric = "Dead", statistic = "Maximum", threshold = 1, period = 300, periods = 1, missing = "notBreaching", says = "there are dead messages: list and redrive them" }
    missing  = { metric = "Missing", statistic = "Sum", threshold = 1, period = 300, periods = 1, missing = "notBreaching", says = "Momento did not deliver messages: fanout relay gaps lists them" }
    disabled = { metric = "Disabled", statistic = "Maximum", threshold = 1, period = 300, periods = 1, missing = "notBreaching", says = "a target wants no more messages, and they wait in the spool" }
    spool    = { metric = "SpoolFailing", statistic = "Maximum", threshold = 1, period = 60, periods = 2, missing = "notBreaching", says = "the spool cannot store messages, and reading has stopped" }
  }
}

resource "aws_cloudwatch_metric_alarm" "relay" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "topic-fanout relay: ${each.value.says}"
  namespace           = "TopicFanoutRelay"
  metric_name         = each.value.metric
  dimensions          = { Relay = var.name }
  statistic           = each.value.statistic
  threshold           = each.value.threshold
  comparison_operator = "GreaterThanOrEqualToThreshold"
  period              = each.value.period
  evaluation_periods  = each.value.periods
  treat_missing_data  = each.value.missing
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = local.tags
}

resource "aws_cloudwatch_metric_alarm" "undeliverable" {
  count = local.is_queue ? 1 : 0

  alarm_name          = "${var.name}-undeliverable"
  alarm_description   = "topic-fanout relay: the function did not accept messages of the queue five times"
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.undeliverable[0].name }
  statistic           = "Maximum"
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = local.tags
}

# Who is told when. docs/DEPLOYING.md says what to do at each.

locals {
  of_function     = { FunctionName = local.function }
  of_dead_letters = { QueueName = aws_sqs_queue.dead_letters.name }

  alarms = {
    # Fifteen minutes: long enough for a sender that has little to send.
    wrong-signatures     = { namespace = "TopicFanout", metric = "Refused", dimensions = merge(local.of_function, { Reason = "signature_wrong" }), statistic = "Sum", threshold = var.alarm_limits.wrong_signatures, period = 900, periods = 1, says = "webhooks with a wrong signature: a rotation that is half done, or somebody tries" }
    undecided-signatures = { namespace = "TopicFanout", metric = "Refused", dimensions = merge(local.of_function, { Reason = "signature_undecided" }), statistic = "Sum", threshold = 1, period = 300, periods = 1, says = "signatures could not be judged, for the secret could not be fetched: what is genuine of it is lost" }
    undelivered          = { namespace = "TopicFanout", metric = "Undelivered", dimensions = local.of_function, statistic = "Sum", threshold = 1, period = 300, periods = 1, says = "a genuine message is lost, unless its sender tries again" }
    slow                 = { namespace = "TopicFanout", metric = "Latency", dimensions = local.of_function, statistic = "p99", threshold = var.alarm_limits.slow_milliseconds, period = 300, periods = 3, says = "the slowest hundredth of the answers takes long" }
    oldest-dead-letter   = { namespace = "AWS/SQS", metric = "ApproximateAgeOfOldestMessage", dimensions = local.of_dead_letters, statistic = "Maximum", threshold = var.alarm_limits.oldest_dead_letter_seconds, period = 300, periods = 1, says = "a dead letter has been waiting for long; after 14 days it is gone" }
    parked               = { namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = aws_sqs_queue.parked.name }, statistic = "Maximum", threshold = 1, period = 300, periods = 1, says = "dead letters that failed again are parked, and nothing tries them any more" }
    throttles            = { namespace = "AWS/Lambda", metric = "Throttles", dimensions = local.of_function, statistic = "Sum", threshold = 1, period = 300, periods = 1, says = "invocations were turned away: the limit on concurrency is reached" }
    errors               = { namespace = "AWS/Lambda", metric = "Errors", dimensions = local.of_function, statistic = "Sum", threshold = 1, period = 300, periods = 1, says = "invocations ended without an answer: a crash, a timeout, settings that cannot be used" }
  }

  # Alarms on what is worked out of two metrics.
  sums = merge({
    # Those that rest after a try are not visible, and are there all the same.
    dead-letters = {
      expression = "visible + resting", label = "waiting", threshold = 1, says = "there are dead letters"
      metrics = {
        visible = { namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = local.of_dead_letters, statistic = "Maximum" }
        resting = { namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesNotVisible", dimensions = local.of_dead_letters, statistic = "Maximum" }
      }
    }
    }, { for api in aws_apigatewayv2_api.webhook : "http-api-throttles" => {
      # API Gateway counts no 429 by itself. What it answered with a 4xx and the function did not refuse is that; a few are
      # left over where a minute ends earlier for the one than for the other.
      expression = "FILL(answered, 0) - FILL(refused, 0)", label = "throttled", threshold = 10, says = "the HTTP API turned requests away: its limit on the rate is reached"
      metrics = {
        answered = { namespace = "AWS/ApiGateway", metric = "4xx", dimensions = { ApiId = api.id }, statistic = "Sum" }
        refused  = { namespace = "TopicFanout", metric = "Refused", dimensions = local.of_function, statistic = "Sum" }
      }
  } })
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
  period              = each.value.period
  evaluation_periods  = each.value.periods
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = local.tags
}

resource "aws_cloudwatch_metric_alarm" "sum" {
  for_each = local.sums

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "topic-fanout: ${each.value.says}"
  threshold           = each.value.threshold
  comparison_operator = "GreaterThanOrEqualToThreshold"
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = local.tags

  metric_query {
    id          = each.value.label
    label       = each.value.label
    expression  = each.value.expression
    return_data = true
  }

  dynamic "metric_query" {
    for_each = each.value.metrics

    content {
      id          = metric_query.key
      return_data = false

      metric {
        namespace   = metric_query.value.namespace
        metric_name = metric_query.value.metric
        dimensions  = metric_query.value.dimensions
        stat        = metric_query.value.statistic
        period      = 300
      }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "silence" {
  count = var.alarm_limits.silent_minutes > 0 ? 1 : 0

  alarm_name        = "${var.name}-silence"
  alarm_description = "topic-fanout: no genuine message has come for long"
  # Only what is genuine has an age: what strangers send does not count.
  namespace           = "TopicFanout"
  metric_name         = "EventAge"
  dimensions          = local.of_function
  statistic           = "SampleCount"
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  period              = 60
  evaluation_periods  = var.alarm_limits.silent_minutes
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = local.tags
}

resource "aws_cloudwatch_dashboard" "webhook" {
  dashboard_name = var.name

  # The text is that of template.yaml as well.
  dashboard_body = jsonencode(jsondecode(templatefile("${path.module}/dashboard.json", {
    region       = local.region
    function     = local.function
    log          = aws_cloudwatch_log_group.webhook.name
    dead_letters = aws_sqs_queue.dead_letters.name
    parked       = aws_sqs_queue.parked.name
  })))
}

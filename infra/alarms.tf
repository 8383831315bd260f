# Alarms. docs/RUNBOOK.md describes what to do at each.

locals {
  of_function     = { FunctionName = local.function }
  of_dead_letters = { QueueName = aws_sqs_queue.dead_letters.name }

  alarms = {
    # Fifteen minutes: long enough for a sender with little traffic.
    wrong-signatures     = { namespace = "TopicFanout", metric = "Refused", dimensions = merge(local.of_function, { Reason = "signature_wrong" }), statistic = "Sum", threshold = var.alarm_limits.wrong_signatures, period = 900, periods = 1, says = "webhooks with a wrong signature: an unfinished rotation, or forged webhooks" }
    undecided-signatures = { namespace = "TopicFanout", metric = "Refused", dimensions = merge(local.of_function, { Reason = "signature_undecided" }), statistic = "Sum", threshold = 1, period = 300, periods = 1, says = "signatures could not be checked, because the secret could not be fetched: genuine webhooks among them are lost" }
    undelivered          = { namespace = "TopicFanout", metric = "Undelivered", dimensions = local.of_function, statistic = "Sum", threshold = 1, period = 60, periods = 1, says = "a genuine message is lost, unless its sender tries again" }
    slow                 = { namespace = "TopicFanout", metric = "Latency", dimensions = local.of_function, statistic = "p99", threshold = var.alarm_limits.slow_milliseconds, period = 300, periods = 3, says = "the slowest 1 % of the responses takes too long" }
    oldest-dead-letter   = { namespace = "AWS/SQS", metric = "ApproximateAgeOfOldestMessage", dimensions = local.of_dead_letters, statistic = "Maximum", threshold = var.alarm_limits.oldest_dead_letter_seconds, period = 300, periods = 1, says = "a dead letter has been waiting for long; after 14 days it is gone" }
    parked               = { namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = aws_sqs_queue.parked.name }, statistic = "Maximum", threshold = 1, period = 300, periods = 1, says = "dead letters that failed again are parked, and are not retried" }
    routes-not-updated   = { namespace = "TopicFanout", metric = "RoutesNotUpdated", dimensions = local.of_function, statistic = "Sum", threshold = 1, period = 300, periods = 1, says = "new routes have faults or cannot be read: the function uses the old ones, and could not start again" }
    throttles            = { namespace = "AWS/Lambda", metric = "Throttles", dimensions = local.of_function, statistic = "Sum", threshold = 1, period = 300, periods = 1, says = "invocations were turned away: the limit on concurrency is reached" }
    errors               = { namespace = "AWS/Lambda", metric = "Errors", dimensions = local.of_function, statistic = "Sum", threshold = 1, period = 60, periods = 1, says = "invocations ended without a response: a crash, a timeout, or invalid settings" }
  }

  # What the endpoint responds with, by its own metrics.
  endpoint_metrics = {
    FunctionUrl = { namespace = "AWS/Lambda", client = "Url4xxCount", server = "Url5xxCount", dimensions = local.of_function }
    HttpApi     = { namespace = "AWS/ApiGateway", client = "4xx", server = "5xx", dimensions = { for api in aws_apigatewayv2_api.webhook : "ApiId" => api.id } }
  }

  # Alarms on the sum or difference of metrics.
  sums = merge({
    burn-rate = {
      # The share of failures, as a multiple of the share that the objective allows. At 14.4, an hour uses up 2 % of the failures of
      # a month of 30 days. Only genuine events have an age.
      expression = "(FILL(undelivered, 0) + FILL(dead_lettered, 0)) / genuine / (1 - ${var.alarm_limits.objective_percent} / 100)", label = "burn_rate", threshold = 14.4, period = 3600, says = "many genuine messages did not reach all destinations in the last hour: the objective is at risk"
      metrics = {
        genuine       = { namespace = "TopicFanout", metric = "EventAge", dimensions = local.of_function, statistic = "SampleCount" }
        undelivered   = { namespace = "TopicFanout", metric = "Undelivered", dimensions = local.of_function, statistic = "Sum" }
        dead_lettered = { namespace = "TopicFanout", metric = "DeadLettered", dimensions = local.of_function, statistic = "Sum" }
      }
    }
    # Dead letters that wait for their next attempt are not visible, so they are added.
    dead-letters = {
      expression = "visible + resting", label = "waiting", threshold = 1, period = 300, says = "there are dead letters"
      metrics = {
        visible = { namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = local.of_dead_letters, statistic = "Maximum" }
        resting = { namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesNotVisible", dimensions = local.of_dead_letters, statistic = "Maximum" }
      }
    }
    }, { for kind, endpoint in local.endpoint_metrics : "endpoint" => {
      # Responses of the endpoint with 4xx and 5xx, without those that the function itself gave. An event that was rejected after its
      # signature was verified is subtracted twice: it has an alarm of its own, `undelivered`.
      expression = "FILL(client, 0) + FILL(server, 0) - FILL(refused, 0) - FILL(undelivered, 0)", label = "unreached", threshold = 5, period = 900, says = "requests got 4xx or 5xx and did not reach the function: a missing permission, a limit, or an outage"
      metrics = {
        client      = { namespace = endpoint.namespace, metric = endpoint.client, dimensions = endpoint.dimensions, statistic = "Sum" }
        server      = { namespace = endpoint.namespace, metric = endpoint.server, dimensions = endpoint.dimensions, statistic = "Sum" }
        refused     = { namespace = "TopicFanout", metric = "Refused", dimensions = local.of_function, statistic = "Sum" }
        undelivered = { namespace = "TopicFanout", metric = "Undelivered", dimensions = local.of_function, statistic = "Sum" }
      }
  } if kind == var.endpoint })
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
        period      = each.value.period
      }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "silence" {
  count = var.alarm_limits.silent_minutes > 0 ? 1 : 0

  alarm_name        = "${var.name}-silence"
  alarm_description = "topic-fanout: no genuine message has come for long"
  # Only genuine events have an age, so forged requests do not count.
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
  # Names of dashboards are global in an account.
  dashboard_name = "${var.name}-${local.region}"

  # template.yaml has the same body.
  dashboard_body = jsonencode(jsondecode(templatefile("${path.module}/dashboard.json", {
    region       = local.region
    function     = local.function
    log          = aws_cloudwatch_log_group.webhook.name
    dead_letters = aws_sqs_queue.dead_letters.name
    parked       = aws_sqs_queue.parked.name
    objective    = var.alarm_limits.objective_percent
  })))
}

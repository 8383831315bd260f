# The functions token and publish: for people who prove who they are. They have an HTTP API of their own, whatever the endpoint of
# webhooks is: refusals of people must not look like webhooks that did not reach the function.

locals {
  people = { for name, function in { token = var.token, publish = var.publish } : name => function if function != null }

  # Without a key of their own, they take that of the webhook, wherever it is.
  shares_key       = var.tokens_api_key == null
  issuer_secret_id = local.shares_key ? local.secret_ids.momento_api_key : (var.tokens_api_key.secret_arn != null ? var.tokens_api_key.secret_arn : "ssm:${var.tokens_api_key.parameter}")

  # An empty variable counts as not set.
  people_environment = {
    MOMENTO_ENDPOINT          = var.momento_endpoint
    MOMENTO_API_KEY           = local.shares_key ? local.environment.MOMENTO_API_KEY : ""
    MOMENTO_API_KEY_SECRET_ID = local.shares_key ? local.environment.MOMENTO_API_KEY_SECRET_ID : local.issuer_secret_id
    SECRETS_MAX_AGE_SECONDS   = tostring(var.secrets_max_age_seconds)
    TOKENS_CONFIG             = var.tokens_config
    # No code reads it. A change of it restarts the function.
    RESTART = var.restart
  }
  publish_environment = {
    FANOUT_CONFIG          = var.fanout_config
    ROUTES_MAX_AGE_SECONDS = tostring(var.routes_max_age_seconds)
    DEDUPE                 = var.dedupe
    DEDUPE_CACHE           = var.dedupe_cache
  }

  # Where each function reads files from.
  people_files = { token = [var.tokens_config], publish = [var.tokens_config, var.fanout_config] }

  made_key = local.shares_key && contains(local.made, "momento_api_key")

  people_statements = { for name, function in local.people : name => [
    { sid = "WriteLog", actions = ["logs:CreateLogStream", "logs:PutLogEvents"], resources = ["${aws_cloudwatch_log_group.people[name].arn}:*"], via = [], needed = true },
    { sid = "Trace", actions = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"], resources = ["*"], via = [], needed = var.tracing == "Active" },
    { sid = "ReadSecrets", actions = ["secretsmanager:GetSecretValue"], resources = local.made_key ? [aws_secretsmanager_secret.made["momento_api_key"].arn] : [split("#", local.issuer_secret_id)[0]], via = [], needed = local.made_key || startswith(local.issuer_secret_id, "arn:") },
    { sid = "ReadParameters", actions = ["ssm:GetParameter"], resources = [for id in concat([local.issuer_secret_id], local.people_files[name]) : "${local.arn}:ssm:${local.here}:parameter${split("#", trimprefix(id, "ssm:"))[0]}" if startswith(id, "ssm:")], via = [], needed = anytrue([for id in concat([local.issuer_secret_id], local.people_files[name]) : startswith(id, "ssm:")]) },
    { sid = "ReadTokens", actions = ["s3:GetObject", "s3:GetObjectVersion"], resources = ["${local.arn}:s3:::${split("?", trimprefix(var.tokens_config, "s3://"))[0]}"], via = [], needed = startswith(var.tokens_config, "s3://") },
    { sid = "ReadRoutes", actions = ["s3:GetObject", "s3:GetObjectVersion"], resources = ["${local.arn}:s3:::${split("?", trimprefix(var.fanout_config, "s3://"))[0]}"], via = [], needed = name == "publish" && startswith(var.fanout_config, "s3://") },
    { sid = "Translate", actions = ["comprehend:DetectDominantLanguage", "translate:TranslateText"], resources = ["*"], via = [], needed = name == "publish" && var.allow_translate },
    { sid = "Classify", actions = ["comprehend:DetectToxicContent"], resources = ["*"], via = [], needed = name == "publish" && var.allow_comprehend },
    { sid = "UseTerminologies", actions = ["translate:GetTerminology"], resources = var.terminology_arns, via = [], needed = name == "publish" && length(var.terminology_arns) > 0 },
    { sid = "DecryptSecrets", actions = ["kms:Decrypt"], resources = var.secrets_key_arn[*], via = ["secretsmanager", "ssm"], needed = var.secrets_key_arn != null },
    { sid = "DecryptFiles", actions = ["kms:Decrypt"], resources = var.data_key_arn[*], via = ["lambda", "s3"], needed = var.data_key_arn != null },
    { sid = "JoinNetwork", actions = local.interfaces, resources = ["*"], via = [], needed = var.network != null },
  ] }

  # Each route, the function that it goes to, and whether the caller has to prove who they are. A browser sends no proof with a
  # preflight, which the function answers by allowed_origins of the file.
  people_routes = merge(
    var.token == null ? {} : {
      "POST /token"    = { function = "token", proves = true }
      "OPTIONS /token" = { function = "token", proves = false }
    },
    var.publish == null ? {} : {
      "POST /publish"          = { function = "publish", proves = true }
      "POST /publish/{topic+}" = { function = "publish", proves = true }
      "GET /history/{topic+}"  = { function = "publish", proves = true }
      "OPTIONS /{proxy+}"      = { function = "publish", proves = false }
    },
  )
  authorization = { jwt = "JWT", iam = "AWS_IAM", none = "NONE" }[var.tokens_authorizer.type]

  people_alarms = {
    errors    = { namespace = "AWS/Lambda", metric = "Errors", statistic = "Sum", threshold = 1, period = 60, periods = 1, says = "invocations ended without a response: a crash, a timeout, or invalid settings" }
    throttles = { namespace = "AWS/Lambda", metric = "Throttles", statistic = "Sum", threshold = 1, period = 300, periods = 1, says = "invocations were turned away: the limit on concurrency is reached" }
    slow      = { namespace = "TopicFanout", metric = "Latency", statistic = "p99", threshold = var.alarm_limits.slow_milliseconds, period = 300, periods = 3, says = "the slowest 1 % of the responses takes too long" }
    failed    = { namespace = "TopicFanout", metric = "Failed", statistic = "Sum", threshold = 3, period = 300, periods = 1, says = "requests got 5xx: Momento, the provider of identities or the settings are at fault" }
    refused   = { namespace = "TopicFanout", metric = "Refused", statistic = "Sum", threshold = var.alarm_limits.many_refusals, period = 900, periods = 1, says = "many requests are refused: a client with old proofs, a faulty tokens.toml, or an attack" }
  }
  alarms_of_people = merge([for function in keys(local.people) : { for name, alarm in local.people_alarms : "${function}-${name}" => merge(alarm, { function = function }) }]...)
}

resource "aws_cloudwatch_log_group" "people" {
  # checkov:skip=CKV_AWS_338:log_retention_days is for the operator to set
  for_each = local.people

  name              = "/aws/lambda/${var.name}-${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.data_key_arn
  tags              = local.tags
}

data "aws_iam_policy_document" "people" {
  for_each = local.people

  dynamic "statement" {
    for_each = { for index, one in local.people_statements[each.key] : format("%02d", index) => one if one.needed }

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

resource "aws_iam_role" "people" {
  for_each = local.people

  name_prefix          = "${substr("${var.name}-${each.key}", 0, 37)}-"
  description          = "What the function ${each.key} of topic-fanout may do"
  path                 = var.role_path
  permissions_boundary = var.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.assume.json
  tags                 = local.tags
}

resource "aws_iam_role_policy" "people" {
  for_each = local.people

  name   = each.key
  role   = aws_iam_role.people[each.key].id
  policy = data.aws_iam_policy_document.people[each.key].json
}

resource "aws_lambda_function" "people" {
  # checkov:skip=CKV_AWS_116:that queue is for asynchronous invocations, and there are none
  # checkov:skip=CKV_AWS_272:the SHA-256 of the zip and its attestation say where it comes from
  for_each = local.people

  function_name                  = "${var.name}-${each.key}"
  description                    = each.key == "token" ? "Issues tokens of Momento to people who prove who they are" : "Publishes for people and services that prove who they are"
  role                           = aws_iam_role.people[each.key].arn
  runtime                        = "provided.al2023"
  handler                        = "bootstrap"
  architectures                  = [var.architecture]
  memory_size                    = var.memory_size
  timeout                        = 10
  reserved_concurrent_executions = each.value.reserved_concurrency

  filename          = each.value.package.filename
  source_code_hash  = each.value.package.filename == null ? null : filebase64sha256(each.value.package.filename)
  s3_bucket         = each.value.package.bucket
  s3_key            = each.value.package.key
  s3_object_version = each.value.package.version

  environment {
    # Without empty variables: some versions of the provider read them back as missing.
    variables = { for name, value in merge(local.people_environment, each.key == "publish" ? local.publish_environment : {}) : name => value if nonsensitive(value != "") }
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.people[each.key].name
    log_format            = "JSON"
    application_log_level = var.log_level
    system_log_level      = "WARN"
  }

  tracing_config {
    mode = var.tracing
  }

  kms_key_arn = var.data_key_arn

  dynamic "vpc_config" {
    for_each = var.network[*]

    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  tags = local.tags

  # The function needs its permissions before it first runs.
  depends_on = [aws_iam_role_policy.people, aws_secretsmanager_secret_version.made]

  lifecycle {
    precondition {
      condition     = var.tokens_config != ""
      error_message = "token and publish need tokens_config."
    }
  }
}

resource "aws_apigatewayv2_api" "people" {
  count = length(local.people) > 0 ? 1 : 0

  name          = "${var.name}-people"
  description   = "Requests of people for topic-fanout"
  protocol_type = "HTTP"
  # Without cors_configuration: the functions answer preflights, by allowed_origins of tokens.toml.
  tags = local.tags
}

resource "aws_apigatewayv2_stage" "people" {
  # checkov:skip=CKV_AWS_76:the log records of the functions have each request that reaches them
  count = length(local.people) > 0 ? 1 : 0

  api_id      = aws_apigatewayv2_api.people[0].id
  name        = "$default"
  auto_deploy = true
  tags        = local.tags

  # Each route has limits of its own, with these values.
  default_route_settings {
    throttling_rate_limit  = var.people_limits.rate
    throttling_burst_limit = var.people_limits.burst
  }
}

resource "aws_apigatewayv2_authorizer" "people" {
  count = length(local.people) > 0 && var.tokens_authorizer.type == "jwt" ? 1 : 0

  api_id           = aws_apigatewayv2_api.people[0].id
  authorizer_type  = "JWT"
  name             = "jwt"
  identity_sources = ["$request.header.Authorization"]

  jwt_configuration {
    issuer   = var.tokens_authorizer.issuer
    audience = var.tokens_authorizer.audience
  }
}

resource "aws_apigatewayv2_integration" "people" {
  for_each = local.people

  api_id                 = aws_apigatewayv2_api.people[0].id
  integration_type       = "AWS_PROXY"
  integration_uri        = aws_lambda_function.people[each.key].arn
  payload_format_version = "2.0"
  timeout_milliseconds   = 10000
}

resource "aws_apigatewayv2_route" "people" {
  # checkov:skip=CKV_AWS_309:by default, the function itself verifies the proof
  for_each = local.people_routes

  api_id             = aws_apigatewayv2_api.people[0].id
  route_key          = each.key
  target             = "integrations/${aws_apigatewayv2_integration.people[each.value.function].id}"
  authorization_type = each.value.proves ? local.authorization : "NONE"
  authorizer_id      = each.value.proves ? one(aws_apigatewayv2_authorizer.people[*].id) : null
}

# No other may invoke the functions: they believe what the gateway says about a caller.
resource "aws_lambda_permission" "people" {
  for_each = local.people

  statement_id  = "PeopleApi"
  function_name = aws_lambda_function.people[each.key].function_name
  action        = "lambda:InvokeFunction"
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.people[0].execution_arn}/$default/*"
}

resource "aws_cloudwatch_metric_alarm" "people" {
  for_each = local.alarms_of_people

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "topic-fanout ${each.value.function}: ${each.value.says}"
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = { FunctionName = "${var.name}-${each.value.function}" }
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

# The function, its log, and how events come in. What it may do is in role.tf, the rest in files of their own.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  function = "${var.name}-webhook"
  # The attribute `name` is deprecated in version 6 of the provider, and `region` is missing in version 5.
  region  = data.aws_region.current.id
  account = data.aws_caller_identity.current.account_id
  here    = "${local.region}:${local.account}"
  arn     = "arn:${data.aws_partition.current.partition}"
  tags    = merge({ Application = "topic-fanout" }, var.tags)

  secrets = {
    momento_api_key        = var.momento_api_key
    webhook_signing_secret = var.webhook_signing_secret
  }
  # The value is a secret. Whether it is set is not.
  given = { for name, secret in local.secrets : name => nonsensitive(secret.value != null) }
  made  = toset([for name, given in local.given : name if given && var.secret_storage == "SecretsManager"])

  secret_ids = { for name, secret in local.secrets : name => nonsensitive(
    secret.secret_arn != null ? secret.secret_arn : secret.parameter != null ? "ssm:${secret.parameter}" : ""
  ) }

  # An empty variable counts as not set.
  environment = {
    MOMENTO_ENDPOINT                = var.momento_endpoint
    MOMENTO_API_KEY                 = local.given.momento_api_key && var.secret_storage == "Environment" ? var.momento_api_key.value : ""
    MOMENTO_API_KEY_SECRET_ID       = try(aws_secretsmanager_secret.made["momento_api_key"].arn, local.secret_ids.momento_api_key)
    WEBHOOK_SIGNING_SECRET          = local.given.webhook_signing_secret && var.secret_storage == "Environment" ? var.webhook_signing_secret.value : ""
    WEBHOOK_SIGNING_SECRET_PREVIOUS = var.webhook_signing_secret_previous
    WEBHOOK_SIGNING_SECRET_ID       = try(aws_secretsmanager_secret.made["webhook_signing_secret"].arn, local.secret_ids.webhook_signing_secret)
    SECRETS_MAX_AGE_SECONDS         = tostring(var.secrets_max_age_seconds)
    WEBHOOK_SIGNATURE               = var.webhook_signature
    MAX_EVENT_AGE_SECONDS           = tostring(var.max_event_age_seconds)
    DEDUPE                          = var.dedupe
    DEDUPE_CACHE                    = var.dedupe_cache
    FANOUT_CONFIG                   = var.fanout_config
    ROUTES_MAX_AGE_SECONDS          = tostring(var.routes_max_age_seconds)
    OUTBOUND_TOPICS                 = join(",", var.outbound_topics)
    OUTBOUND_CACHE                  = var.outbound_cache
    TRANSFORM                       = join(",", var.transforms)
    DEAD_LETTER_QUEUE_URL           = aws_sqs_queue.dead_letters.url
    # No code reads it. A change of it restarts the function.
    RESTART = var.restart
  }
}

resource "aws_secretsmanager_secret" "made" {
  # checkov:skip=CKV2_AWS_57:Momento and the senders would have to rotate as well
  for_each = local.made

  name_prefix             = "${var.name}-${replace(each.key, "_", "-")}-"
  description             = "For topic-fanout"
  kms_key_id              = var.secrets_key_arn
  recovery_window_in_days = var.secret_recovery_days
  tags                    = local.tags
}

resource "aws_secretsmanager_secret_version" "made" {
  for_each = local.made

  secret_id     = aws_secretsmanager_secret.made[each.key].id
  secret_string = local.secrets[each.key].value
}

resource "aws_cloudwatch_log_group" "webhook" {
  # checkov:skip=CKV_AWS_338:log_retention_days is for the operator to set
  name              = "/aws/lambda/${local.function}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.data_key_arn
  tags              = local.tags
}

resource "aws_lambda_function" "webhook" {
  # checkov:skip=CKV_AWS_116:that queue is for asynchronous invocations, and there are none
  # checkov:skip=CKV_AWS_272:the SHA-256 of the zip and its attestation say where it comes from
  function_name                  = local.function
  description                    = "A signed webhook in, transformed messages out"
  role                           = aws_iam_role.webhook.arn
  runtime                        = "provided.al2023"
  handler                        = "bootstrap"
  architectures                  = [var.architecture]
  memory_size                    = var.memory_size
  timeout                        = 10
  reserved_concurrent_executions = var.reserved_concurrency

  filename          = var.package.filename
  source_code_hash  = var.package.filename == null ? null : filebase64sha256(var.package.filename)
  s3_bucket         = var.package.bucket
  s3_key            = var.package.key
  s3_object_version = var.package.version

  environment {
    # Without empty variables: some versions of the provider read them back as missing.
    variables = { for name, value in local.environment : name => value if nonsensitive(value != "") }
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.webhook.name
    log_format            = "JSON"
    application_log_level = var.log_level
    # Without START, END and REPORT for each request: the log record of the function has the same.
    system_log_level = "WARN"
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

  # Each change of the code or the settings makes a version.
  publish = true

  tags = local.tags

  # The function needs its permissions before it first runs.
  depends_on = [aws_iam_role_policy.webhook, aws_secretsmanager_secret_version.made]

  lifecycle {
    precondition {
      condition     = (var.fanout_config == "") != (length(var.outbound_topics) == 0)
      error_message = "Give fanout_config or outbound_topics, and not both."
    }
    precondition {
      condition     = var.domain == null || var.endpoint == "HttpApi"
      error_message = "domain needs the endpoint HttpApi."
    }
    precondition {
      condition     = var.fanout_config == "" || (var.outbound_cache == "" && length(var.transforms) == 0)
      error_message = "outbound_cache and transforms need outbound_topics. Routes set both themselves."
    }
    precondition {
      condition     = nonsensitive(var.webhook_signing_secret_previous == "") || (var.secret_storage == "Environment" && local.given.webhook_signing_secret)
      error_message = "webhook_signing_secret_previous is for secret_storage = \"Environment\"; a secret in Secrets Manager or Systems Manager knows the one before by itself."
    }
  }
}

# Everything that invokes the function uses this alias, so the address stays the same when another version takes over.
resource "aws_lambda_alias" "live" {
  name             = "live"
  description      = "The version that gets the traffic"
  function_name    = aws_lambda_function.webhook.function_name
  function_version = coalesce(var.rollout.stable_version, aws_lambda_function.webhook.version)

  dynamic "routing_config" {
    for_each = var.rollout.stable_version == null || var.rollout.new_weight == 0 ? [] : [var.rollout.new_weight]

    content {
      additional_version_weights = { (aws_lambda_function.webhook.version) = routing_config.value }
    }
  }
}

# The function itself rejects callers without a valid signature.
resource "aws_lambda_function_url" "webhook" {
  # checkov:skip=CKV_AWS_258:senders of webhooks have no identity in AWS; the function verifies signatures
  count = var.endpoint == "FunctionUrl" ? 1 : 0

  function_name      = aws_lambda_function.webhook.function_name
  qualifier          = aws_lambda_alias.live.name
  authorization_type = "NONE"
}

resource "aws_lambda_permission" "url" {
  # checkov:skip=CKV_AWS_301:senders of webhooks have no identity in AWS; the function verifies signatures
  count = var.endpoint == "FunctionUrl" ? 1 : 0

  statement_id           = "FunctionUrl"
  function_name          = aws_lambda_function.webhook.function_name
  qualifier              = aws_lambda_alias.live.name
  action                 = "lambda:InvokeFunctionUrl"
  principal              = "*"
  function_url_auth_type = "NONE"
}

# The second of the two permissions that a public URL needs. aws_lambda_permission has invoked_via_function_url from 6.29 of
# the provider on, and without that condition every caller could invoke the function past its URL. CloudFormation has the
# condition with every version of the provider. If the function is made anew under the same name, its permissions are gone, and
# its URL is a new one. The name of the resource depends on that, so that CloudFormation adds the permission again.
resource "aws_cloudformation_stack" "url_permission" {
  # checkov:skip=CKV_AWS_124:Terraform waits for this stack, and reports its failure
  count = var.endpoint == "FunctionUrl" ? 1 : 0

  name = "${local.function}-url-permission"
  tags = local.tags

  template_body = jsonencode({
    AWSTemplateFormatVersion = "2010-09-09"
    Description              = "topic-fanout: that the function may be invoked by its URL, and only so"
    Resources = {
      "Permission${aws_lambda_function_url.webhook[0].url_id}" = {
        Type = "AWS::Lambda::Permission"
        Properties = {
          FunctionName          = aws_lambda_alias.live.arn
          Action                = "lambda:InvokeFunction"
          Principal             = "*"
          InvokedViaFunctionUrl = true
        }
      }
    }
  })
}

resource "aws_apigatewayv2_api" "webhook" {
  count = var.endpoint == "HttpApi" ? 1 : 0

  name          = local.function
  description   = "Webhooks for topic-fanout"
  protocol_type = "HTTP"
  tags          = local.tags
}

resource "aws_apigatewayv2_integration" "webhook" {
  count = var.endpoint == "HttpApi" ? 1 : 0

  api_id                 = aws_apigatewayv2_api.webhook[0].id
  integration_type       = "AWS_PROXY"
  integration_uri        = aws_lambda_alias.live.arn
  payload_format_version = "2.0"
  timeout_milliseconds   = 10000
}

resource "aws_apigatewayv2_route" "webhook" {
  count = var.endpoint == "HttpApi" ? 1 : 0

  api_id    = aws_apigatewayv2_api.webhook[0].id
  route_key = "$default"
  target    = "integrations/${aws_apigatewayv2_integration.webhook[0].id}"
}

resource "aws_apigatewayv2_stage" "webhook" {
  count = var.endpoint == "HttpApi" ? 1 : 0

  api_id      = aws_apigatewayv2_api.webhook[0].id
  name        = "$default"
  auto_deploy = true
  tags        = local.tags

  default_route_settings {
    throttling_rate_limit  = var.http_api_limits.rate
    throttling_burst_limit = var.http_api_limits.burst
  }
}

resource "aws_lambda_permission" "http_api" {
  count = var.endpoint == "HttpApi" ? 1 : 0

  statement_id  = "HttpApi"
  function_name = aws_lambda_function.webhook.function_name
  qualifier     = aws_lambda_alias.live.name
  action        = "lambda:InvokeFunction"
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.webhook[0].execution_arn}/$default/$default"
}

resource "aws_apigatewayv2_domain_name" "webhook" {
  count = var.domain == null ? 0 : 1

  domain_name = var.domain.name
  tags        = local.tags

  domain_name_configuration {
    certificate_arn = var.domain.certificate_arn
    endpoint_type   = "REGIONAL"
    security_policy = "TLS_1_2"
  }
}

resource "aws_apigatewayv2_api_mapping" "webhook" {
  count = var.domain == null ? 0 : 1

  api_id      = aws_apigatewayv2_api.webhook[0].id
  domain_name = aws_apigatewayv2_domain_name.webhook[0].id
  stage       = aws_apigatewayv2_stage.webhook[0].id
}

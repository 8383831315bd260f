output "webhook_url" {
  description = "Where webhooks are sent."
  value       = one(concat(aws_lambda_function_url.webhook[*].function_url, [for api in aws_apigatewayv2_api.webhook : var.domain == null ? "${api.api_endpoint}/" : "https://${var.domain.name}/"]))
}

output "token_url" {
  description = "Where people ask for tokens."
  value       = one([for api in aws_apigatewayv2_api.people : "${api.api_endpoint}/token" if var.token != null])
}

output "publish_url" {
  description = "Where people publish."
  value       = one([for api in aws_apigatewayv2_api.people : "${api.api_endpoint}/publish" if var.publish != null])
}

output "people" {
  description = "The functions token and publish, by these names: the name of the function, its role and its log group."
  value       = { for name in keys(local.people) : name => { function_name = aws_lambda_function.people[name].function_name, role_name = aws_iam_role.people[name].name, log_group = aws_cloudwatch_log_group.people[name].name } }
}

output "people_api_id" {
  description = "The id of their HTTP API."
  value       = one(aws_apigatewayv2_api.people[*].id)
}

output "domain_target" {
  description = "The name and the hosted zone that the DNS record of the domain is an alias for."
  value       = one([for domain in aws_apigatewayv2_domain_name.webhook : { name = domain.domain_name_configuration[0].target_domain_name, zone_id = domain.domain_name_configuration[0].hosted_zone_id }])
}

output "function_name" {
  description = "The function."
  value       = aws_lambda_function.webhook.function_name
}

output "function_version" {
  description = "The newest version of the function."
  value       = aws_lambda_function.webhook.version
}

output "alias_arn" {
  description = "The alias that everything invokes, and that a relay invokes without a URL."
  value       = aws_lambda_alias.live.arn
}

output "role_name" {
  description = "Its role."
  value       = aws_iam_role.webhook.name
}

output "log_group" {
  description = "Its log group."
  value       = aws_cloudwatch_log_group.webhook.name
}

output "dead_letter_queue_url" {
  description = "The queue of dead letters."
  value       = aws_sqs_queue.dead_letters.url
}

output "parked_queue_url" {
  description = "The queue of dead letters that failed again."
  value       = aws_sqs_queue.parked.url
}

output "parked_queue_arn" {
  description = "The ARN of that queue, to redrive its messages."
  value       = aws_sqs_queue.parked.arn
}

output "redrive_mapping_id" {
  description = "The event source mapping that redrives dead letters when it is enabled."
  value       = aws_lambda_event_source_mapping.redrive.uuid
}

output "secret_arns" {
  description = "The ARNs of the secrets that the module creates, by purpose."
  value       = { for name, secret in aws_secretsmanager_secret.made : name => secret.arn }
}

output "dashboard_url" {
  description = "The dashboard, for a browser."
  value       = "https://${local.region}.console.aws.amazon.com/cloudwatch/home?region=${local.region}#dashboards/dashboard/${aws_cloudwatch_dashboard.webhook.dashboard_name}"
}

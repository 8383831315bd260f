output "webhook_url" {
  description = "Where webhooks are sent."
  value       = one(concat(aws_lambda_function_url.webhook[*].function_url, [for api in aws_apigatewayv2_api.webhook : "${api.api_endpoint}/"]))
}

output "function_name" {
  description = "The function."
  value       = aws_lambda_function.webhook.function_name
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

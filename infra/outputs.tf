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
  description = "Its log."
  value       = aws_cloudwatch_log_group.webhook.name
}

output "dead_letter_queue_url" {
  description = "What destinations did not take."
  value       = aws_sqs_queue.dead_letters.url
}

output "parked_queue_url" {
  description = "What they did not take the second time either."
  value       = aws_sqs_queue.parked.url
}

output "parked_queue_arn" {
  description = "The same, for sending back what is in it."
  value       = aws_sqs_queue.parked.arn
}

output "redrive_mapping_id" {
  description = "What is enabled to send dead letters through the function again."
  value       = aws_lambda_event_source_mapping.redrive.uuid
}

output "secret_arns" {
  description = "The secrets that were made, by what they are."
  value       = { for name, secret in aws_secretsmanager_secret.made : name => secret.arn }
}

output "dashboard_url" {
  description = "The dashboard, for a browser."
  value       = "https://${local.region}.console.aws.amazon.com/cloudwatch/home?region=${local.region}#dashboards/dashboard/${aws_cloudwatch_dashboard.webhook.dashboard_name}"
}

output "cluster" {
  description = "The cluster."
  value       = aws_ecs_cluster.relay.name
}

output "service" {
  description = "The service."
  value       = aws_ecs_service.relay.name
}

output "log_group" {
  description = "The log, with the metrics."
  value       = aws_cloudwatch_log_group.relay.name
}

output "events_queue_arn" {
  description = "The queue, for source_queue of the function."
  value       = one(aws_sqs_queue.events[*].arn)
}

output "undeliverable_queue_url" {
  description = "The messages that the function did not accept."
  value       = one(aws_sqs_queue.undeliverable[*].url)
}

output "execution_role" {
  description = "The role of ECS."
  value       = aws_iam_role.execution.name
}

output "task_role" {
  description = "The role of the relay."
  value       = aws_iam_role.task.name
}

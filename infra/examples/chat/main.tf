# A chat in three languages: the routes of examples/chat, in a parameter, and the function that reads them.

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.80, < 7.0"
    }
  }
}

provider "aws" {}

variable "package" {
  description = "The zip: target/lambda/.../bootstrap.zip, or the one of a release."
  type        = string
}

variable "token_package" {
  description = "The zip of the function token, for people who get tokens by examples/chat/tokens.toml. Empty for none."
  type        = string
  default     = ""
}

variable "publish_package" {
  description = "The zip of the function publish, for people without an SDK. Empty for none."
  type        = string
  default     = ""
}

variable "jwt" {
  description = "With either, the provider of identities: the issuer and the audiences of its JWTs."
  type        = object({ issuer = string, audience = list(string) })
  default     = null
}

variable "architecture" {
  description = "What it was built for."
  type        = string
  default     = "arm64"
}

variable "momento_endpoint" {
  description = "The endpoint of a v2 key."
  type        = string
  default     = ""
}

variable "momento_api_key" {
  description = "The key of Momento. Best in the environment: TF_VAR_momento_api_key."
  type        = string
  sensitive   = true
}

variable "webhook_signing_secret" {
  description = "What webhooks are signed with. Best in the environment as well."
  type        = string
  sensitive   = true
}

variable "endpoint" {
  description = "FunctionUrl or HttpApi."
  type        = string
  default     = "FunctionUrl"
}

variable "secret_recovery_days" {
  description = "0 for a trial, so that the same names can be used again."
  type        = number
  default     = 30
}

variable "secret_storage" {
  description = "SecretsManager or Environment."
  type        = string
  default     = "SecretsManager"
}

variable "webhook_signing_secret_previous" {
  description = "With secret_storage Environment, the one before, while senders change over."
  type        = string
  default     = ""
  sensitive   = true
}

variable "restart" {
  description = "Any text. A change restarts the function, which reads its routes again."
  type        = string
  default     = ""
}

variable "rollout" {
  description = "Which version gets the traffic: see the module."
  type        = object({ stable_version = optional(string), new_weight = optional(number, 0) })
  default     = {}
}

variable "alarm_email" {
  description = "The mail address for alarms. A mail asks to confirm. Empty for no alarms by mail."
  type        = string
  default     = ""
}

resource "aws_ssm_parameter" "routes" {
  # checkov:skip=CKV2_AWS_34:routes are no secret
  name  = "/chat/routes"
  type  = "String"
  value = file("${path.module}/../../../examples/chat/fanout.toml")
}

resource "aws_ssm_parameter" "tokens" {
  # checkov:skip=CKV2_AWS_34:it has no secret
  count = local.has_people ? 1 : 0

  name  = "/chat/tokens"
  type  = "String"
  value = file("${path.module}/../../../examples/chat/tokens.toml")
}

locals {
  has_people = var.token_package != "" || var.publish_package != ""
}

resource "aws_sns_topic" "alarms" {
  # checkov:skip=CKV_AWS_26:the key of AWS for SNS does not let CloudWatch publish
  name = "chat-alarms"
}

resource "aws_sns_topic_subscription" "alarms" {
  count = var.alarm_email == "" ? 0 : 1

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

module "fanout" {
  source = "../.."

  name         = "chat"
  package      = { filename = var.package }
  architecture = var.architecture

  momento_endpoint       = var.momento_endpoint
  momento_api_key        = { value = var.momento_api_key }
  webhook_signing_secret = { value = var.webhook_signing_secret }
  secret_storage         = var.secret_storage
  secret_recovery_days   = var.secret_recovery_days

  webhook_signing_secret_previous = var.webhook_signing_secret_previous

  fanout_config   = "ssm:${aws_ssm_parameter.routes.name}"
  allow_translate = true
  endpoint        = var.endpoint
  rollout         = var.rollout
  # Other routes make another version, which reads them when it starts. Another tokens.toml restarts token and publish.
  restart       = join("-", compact([tostring(aws_ssm_parameter.routes.version), local.has_people ? tostring(aws_ssm_parameter.tokens[0].version) : "", var.restart]))
  alarm_actions = [aws_sns_topic.alarms.arn]

  token             = var.token_package == "" ? null : { package = { filename = var.token_package } }
  publish           = var.publish_package == "" ? null : { package = { filename = var.publish_package } }
  tokens_config     = local.has_people ? "ssm:${aws_ssm_parameter.tokens[0].name}" : ""
  tokens_authorizer = { type = local.has_people ? "jwt" : "none", issuer = local.has_people ? one(var.jwt[*].issuer) : null, audience = local.has_people ? flatten(var.jwt[*].audience) : [] }
}

output "webhook_url" {
  description = "Where webhooks are sent."
  value       = module.fanout.webhook_url
}

output "token_url" {
  description = "Where people ask for tokens."
  value       = module.fanout.token_url
}

output "publish_url" {
  description = "Where people publish."
  value       = module.fanout.publish_url
}

output "people" {
  description = "The functions token and publish."
  value       = module.fanout.people
}

output "role_name" {
  description = "The role of the function."
  value       = module.fanout.role_name
}

output "secret_arns" {
  description = "The secrets that were made."
  value       = module.fanout.secret_arns
}

output "alarm_topic_arn" {
  description = "Where alarms are sent."
  value       = aws_sns_topic.alarms.arn
}

output "function_name" {
  description = "The function."
  value       = module.fanout.function_name
}

output "function_version" {
  description = "Its newest version."
  value       = module.fanout.function_version
}

output "log_group" {
  description = "Its log group."
  value       = module.fanout.log_group
}

output "dead_letter_queue_url" {
  description = "The queue of dead letters."
  value       = module.fanout.dead_letter_queue_url
}

output "parked_queue_url" {
  description = "The queue of dead letters that failed again."
  value       = module.fanout.parked_queue_url
}

output "parked_queue_arn" {
  description = "The ARN of that queue, to redrive its messages."
  value       = module.fanout.parked_queue_arn
}

output "redrive_mapping_id" {
  description = "The event source mapping that redrives dead letters when it is enabled."
  value       = module.fanout.redrive_mapping_id
}

output "dashboard_url" {
  description = "The dashboard, for a browser."
  value       = module.fanout.dashboard_url
}

variable "name" {
  description = "The prefix of all names."
  type        = string
  default     = "topic-fanout-relay"

  validation {
    condition     = can(regex("^[A-Za-z0-9-]{1,40}$", var.name))
    error_message = "1 to 40 letters, digits and hyphens."
  }
}

variable "tags" {
  description = "Tags of everything, beside Application."
  type        = map(string)
  default     = {}
}

# The task

variable "image" {
  description = "The image that infra/relay/Dockerfile makes, with its tag or digest."
  type        = string
}

variable "repository_arn" {
  description = "The repository in ECR that has the image. null for a public image."
  type        = string
  default     = null
}

variable "architecture" {
  description = "What the image is built for: ARM64 or X86_64."
  type        = string
  default     = "ARM64"

  validation {
    condition     = contains(["ARM64", "X86_64"], var.architecture)
    error_message = "ARM64 or X86_64."
  }
}

variable "size" {
  description = "Units of CPU (1024 are one core) and megabytes of a task, as Fargate combines them."
  type        = object({ cpu = optional(number, 256), memory = optional(number, 512) })
  default     = {}
}

variable "network" {
  description = "The VPC, and its subnets with a way to the internet. public_ip in a public subnet without a NAT gateway."
  type        = object({ vpc_id = string, subnet_ids = list(string), public_ip = optional(bool, false) })
}

# What it relays

variable "momento_api_key_secret_arn" {
  description = "The secret in Secrets Manager that has the key of Momento. For a member of its JSON, ARN:member::"
  type        = string
}

variable "momento_endpoint" {
  description = "The endpoint of a v2 key, a host name. Empty for a v1 key."
  type        = string
  default     = ""
}

variable "cache" {
  description = "The cache of the topics."
  type        = string
  default     = ""
}

variable "topics" {
  description = "The topics."
  type        = list(string)
  default     = []
}

variable "webhook" {
  description = "Where messages are delivered to, by one task, and the secret that has the signing secret. null: two tasks fill a FIFO queue, which the function reads."
  type        = object({ url = string, signing_secret_arn = string })
  default     = null
}

variable "operators" {
  description = "The secret that has the token of the port for operators, of 16 characters or more, and the security group of what may reach the port, 9100. null for a port that only the health check reaches."
  type        = object({ token_secret_arn = string, security_group_id = string })
  default     = null
}

variable "config" {
  description = "Instead of cache, topics and the url of webhook, the text of a relay.toml. Its spool is /var/lib/fanout/relay.db, its port 127.0.0.1:9100, and its metrics are emf."
  type        = string
  default     = null
}

variable "function_arns" {
  description = "The Lambda functions that config invokes."
  type        = list(string)
  default     = []
}

# Operation

variable "log_retention_days" {
  description = "How long the log is kept."
  type        = number
  default     = 30
}

variable "alarm_actions" {
  description = "The ARNs of the SNS topics that alarms are sent to."
  type        = list(string)
  default     = []
}

variable "name" {
  description = "The prefix of all names: NAME-webhook, NAME-dead-letters, ..."
  type        = string
  default     = "topic-fanout"

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

# The code

variable "package" {
  description = "The zip with the function: a path on this machine (filename), or where it is in S3 (bucket, key, and perhaps version)."
  type = object({
    filename = optional(string)
    bucket   = optional(string)
    key      = optional(string)
    version  = optional(string)
  })

  validation {
    condition     = (var.package.filename == null) != (var.package.bucket == null)
    error_message = "Give filename, or bucket and key."
  }
}

variable "architecture" {
  description = "What the zip was built for: arm64 or x86_64."
  type        = string
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "arm64 or x86_64."
  }
}

# Momento, signatures, secrets

variable "momento_endpoint" {
  description = "The service endpoint of a v2 API key, a host name. Empty for a v1 key or a disposable token."
  type        = string
  default     = ""
}

variable "momento_api_key" {
  description = "The API key of Momento, or its place. One of: value (it is kept in a secret that is made, and in the state), secret_arn (perhaps with #member), parameter (of Systems Manager)."
  sensitive   = true
  type = object({
    value      = optional(string)
    secret_arn = optional(string)
    parameter  = optional(string)
  })

  validation {
    condition     = length([for given in values(var.momento_api_key) : true if given != null]) == 1
    error_message = "Give one of value, secret_arn and parameter."
  }

  validation {
    condition     = var.momento_api_key.secret_arn == null || can(regex("^arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^#:]+-[A-Za-z0-9]{6}(#[^#:]+)?$", var.momento_api_key.secret_arn))
    error_message = "secret_arn is the whole ARN of a secret, perhaps with #member."
  }

  validation {
    condition     = var.momento_api_key.parameter == null || can(regex("^/[A-Za-z0-9/_.-]+(#[^#:]+)?$", var.momento_api_key.parameter))
    error_message = "parameter is a name that begins with a slash, perhaps with #member."
  }
}

variable "webhook_signing_secret" {
  description = "The secret that webhooks are signed with, or its place: as momento_api_key."
  sensitive   = true
  type = object({
    value      = optional(string)
    secret_arn = optional(string)
    parameter  = optional(string)
  })

  validation {
    condition     = length([for given in values(var.webhook_signing_secret) : true if given != null]) == 1
    error_message = "Give one of value, secret_arn and parameter."
  }

  validation {
    condition     = var.webhook_signing_secret.secret_arn == null || can(regex("^arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^#:]+-[A-Za-z0-9]{6}(#[^#:]+)?$", var.webhook_signing_secret.secret_arn))
    error_message = "secret_arn is the whole ARN of a secret, perhaps with #member."
  }

  validation {
    condition     = var.webhook_signing_secret.parameter == null || can(regex("^/[A-Za-z0-9/_.-]+(#[^#:]+)?$", var.webhook_signing_secret.parameter))
    error_message = "parameter is a name that begins with a slash, perhaps with #member."
  }
}

variable "webhook_signing_secret_previous" {
  description = "With secret_storage Environment, the signing secret before this one, while senders change over."
  type        = string
  default     = ""
  sensitive   = true
}

variable "secret_storage" {
  description = "Where values are kept: SecretsManager, or Environment, which costs nothing and shows them to everyone who may see the function."
  type        = string
  default     = "SecretsManager"

  validation {
    condition     = contains(["SecretsManager", "Environment"], var.secret_storage)
    error_message = "SecretsManager or Environment."
  }
}

variable "secrets_key_arn" {
  description = "A KMS key of yours for the secrets."
  type        = string
  default     = null
}

variable "secrets_max_age_seconds" {
  description = "The age in seconds at which secrets in AWS are fetched again, and so how long one that is withdrawn may still be accepted. 0 for never."
  type        = number
  default     = 3600
}

variable "secret_recovery_days" {
  description = "The days in which a deleted secret can be restored: 7 to 30, or 0 for none."
  type        = number
  default     = 30
}

variable "webhook_signature" {
  description = "The signatures that are accepted: momento, standard (Standard Webhooks) or either. The last two need a secret of the form whsec_ and base64."
  type        = string
  default     = "momento"

  validation {
    condition     = contains(["momento", "standard", "either"], var.webhook_signature)
    error_message = "momento, standard or either."
  }
}

variable "max_event_age_seconds" {
  description = "How long ago a webhook may have been sent. 0 switches the check off."
  type        = number
  default     = 60
}

variable "dedupe" {
  description = "Where handled events are remembered: memory (of each environment), or cache (also a cache of Momento, for all of them)."
  type        = string
  default     = "memory"

  validation {
    condition     = contains(["memory", "cache"], var.dedupe)
    error_message = "memory or cache."
  }
}

variable "dedupe_cache" {
  description = "With dedupe cache, the cache that remembers. Empty for the event's own."
  type        = string
  default     = ""
}

# Routes and what they use

variable "fanout_config" {
  description = "Routes: the text of a fanout.toml, or where it is: ssm:/name of a parameter, or s3://bucket/key of an object, perhaps with ?versionId= and a version."
  type        = string
  default     = ""

  validation {
    condition     = !startswith(var.fanout_config, "ssm:") || can(regex("^ssm:/[A-Za-z0-9/_.-]+$", var.fanout_config))
    error_message = "A parameter is ssm: and a name that begins with a slash."
  }

  validation {
    condition     = !startswith(var.fanout_config, "s3:") || can(regex("^s3://[a-z0-9.-]+/[^?#*]+([?]versionId=[^&#]+)?$", var.fanout_config))
    error_message = "An object is s3://bucket/key."
  }
}

variable "routes_max_age_seconds" {
  description = "After how many seconds the function looks for a new text of the routes in a parameter or an object. It keeps the old routes if the new ones have faults. 0 for never."
  type        = number
  default     = 300
}

variable "outbound_topics" {
  description = "Without fanout_config, the topics to publish to."
  type        = list(string)
  default     = []
}

variable "outbound_cache" {
  description = "With outbound_topics, the cache to publish in. Empty for the event's own."
  type        = string
  default     = ""
}

variable "transforms" {
  description = "With outbound_topics, the transforms of the text, in order."
  type        = list(string)
  default     = []
}

variable "event_bus_arns" {
  description = "The EventBridge buses that routes send to."
  type        = list(string)
  default     = []
}

variable "queue_arns" {
  description = "The SQS queues that routes send to."
  type        = list(string)
  default     = []
}

variable "table_arns" {
  description = "The DynamoDB tables that routes write to."
  type        = list(string)
  default     = []
}

variable "state_machine_arns" {
  description = "The Step Functions state machines that routes start, without the version or alias that a route may name."
  type        = list(string)
  default     = []

  validation {
    # IAM knows the state machine only: with a qualifier, every start would be denied.
    condition     = alltrue([for arn in var.state_machine_arns : can(regex("^arn:[a-z-]+:states:[a-z0-9-]+:[0-9]{12}:stateMachine:[A-Za-z0-9_-]+$", arn))])
    error_message = "state_machine_arns: the ARN of a state machine has neither a version nor an alias."
  }
}

variable "destination_key_arns" {
  description = "KMS keys of yours that those, or the source queue, are encrypted with."
  type        = list(string)
  default     = []
}

variable "allow_translate" {
  description = "Whether a route has the transform translate."
  type        = bool
  default     = false
}

variable "allow_comprehend" {
  description = "Whether a route has the transform moderate with the service comprehend."
  type        = bool
  default     = false
}

variable "terminology_arns" {
  description = "The custom terminologies that translate is given."
  type        = list(string)
  default     = []
}

# What an organisation asks for

variable "permissions_boundary_arn" {
  description = "The permissions boundary of the role."
  type        = string
  default     = null
}

variable "role_path" {
  description = "The path of the role."
  type        = string
  default     = "/"
}

variable "data_key_arn" {
  description = "A KMS key of yours for the log, the queues and the environment of the function. Its policy must let the services use it: see docs/DEPLOYING.md."
  type        = string
  default     = null
}

variable "network" {
  description = "Private subnets and security groups of yours that the function runs in. It needs a way to Momento and to the services of AWS that it uses."
  type        = object({ subnet_ids = list(string), security_group_ids = list(string) })
  default     = null
}

# How events come in

variable "endpoint" {
  description = "What webhooks are sent to: FunctionUrl, HttpApi, or None."
  type        = string
  default     = "FunctionUrl"

  validation {
    condition     = contains(["FunctionUrl", "HttpApi", "None"], var.endpoint)
    error_message = "FunctionUrl, HttpApi or None."
  }
}

variable "http_api_limits" {
  description = "With HttpApi, how many requests a second, and how many at once."
  type        = object({ rate = number, burst = number })
  default     = { rate = 500, burst = 1000 }
}

variable "domain" {
  description = "With HttpApi, a domain name of yours, and the certificate for it in this region. Its DNS record, an alias for the output domain_target, is yours to make."
  type        = object({ name = string, certificate_arn = string })
  default     = null
}

variable "source_queue" {
  description = "An SQS queue of yours that carries webhook events to the function as well, and how many batches of it are handled at once."
  type        = object({ arn = string, concurrency = optional(number, 10) })
  default     = null
}

# Dead letters

variable "redrive" {
  description = "Whether dead letters are sent through the function again; how many batches at once, how many attempts for each, and the seconds between two attempts."
  type = object({
    enabled       = optional(bool, false)
    concurrency   = optional(number, 2)
    attempts      = optional(number, 5)
    pause_seconds = optional(number, 300)
  })
  default = {}

  validation {
    condition     = var.redrive.pause_seconds >= 60 && var.redrive.concurrency >= 2
    error_message = "The time between two attempts is at least 60, six times the function's timeout. The concurrency is at least 2."
  }
}

# The functions token and publish

variable "token" {
  description = "The function token, which issues tokens of Momento by tokens_config, or null for none. Its package is a zip, as that of the webhook; reserved_concurrency is how many invocations may run at once."
  type = object({
    package = object({
      filename = optional(string)
      bucket   = optional(string)
      key      = optional(string)
      version  = optional(string)
    })
    reserved_concurrency = optional(number, -1)
  })
  default = null

  validation {
    condition     = var.token == null || try((var.token.package.filename == null) != (var.token.package.bucket == null), false)
    error_message = "token: give filename, or bucket and key."
  }
}

variable "publish" {
  description = "The function publish, which publishes for people and services by tokens_config, or null for none. Its package is a zip, as that of the webhook; reserved_concurrency is how many invocations may run at once."
  type = object({
    package = object({
      filename = optional(string)
      bucket   = optional(string)
      key      = optional(string)
      version  = optional(string)
    })
    reserved_concurrency = optional(number, -1)
  })
  default = null

  validation {
    condition     = var.publish == null || try((var.publish.package.filename == null) != (var.publish.package.bucket == null), false)
    error_message = "publish: give filename, or bucket and key."
  }
}

variable "tokens_config" {
  description = "With token or publish, where the tokens.toml is: ssm:/name of a parameter, or s3://bucket/key of an object, perhaps with ?versionId= and a version."
  type        = string
  default     = ""

  validation {
    condition     = var.tokens_config == "" || can(regex("^(ssm:/[A-Za-z0-9/_.-]+|s3://[a-z0-9.-]+/[^?#*]+([?]versionId=[^&#]+)?)$", var.tokens_config))
    error_message = "tokens_config is ssm:/name or s3://bucket/key."
  }
}

variable "tokens_api_key" {
  description = "The key for token and publish, which may issue tokens: secret_arn (perhaps with #member) or parameter (of Systems Manager). Without it, they take momento_api_key."
  type = object({
    secret_arn = optional(string)
    parameter  = optional(string)
  })
  default = null

  validation {
    condition     = var.tokens_api_key == null || try((var.tokens_api_key.secret_arn == null) != (var.tokens_api_key.parameter == null), false)
    error_message = "tokens_api_key: give secret_arn or parameter."
  }

  validation {
    condition     = try(var.tokens_api_key.secret_arn, null) == null || can(regex("^arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^#:]+-[A-Za-z0-9]{6}(#[^#:]+)?$", var.tokens_api_key.secret_arn))
    error_message = "secret_arn is the whole ARN of a secret, perhaps with #member."
  }

  validation {
    condition     = try(var.tokens_api_key.parameter, null) == null || can(regex("^/[A-Za-z0-9/_.-]+(#[^#:]+)?$", var.tokens_api_key.parameter))
    error_message = "parameter is a name that begins with a slash, perhaps with #member."
  }
}

variable "tokens_authorizer" {
  description = "Who verifies callers of token and publish: none for the functions, by [jwt] of the tokens.toml; jwt (with issuer and audience) or iam for the HTTP API, with [gateway] in the tokens.toml."
  type = object({
    type     = optional(string, "none")
    issuer   = optional(string)
    audience = optional(list(string), [])
  })
  default = {}

  validation {
    condition     = contains(["none", "jwt", "iam"], var.tokens_authorizer.type)
    error_message = "tokens_authorizer: the type is none, jwt or iam."
  }

  validation {
    condition     = (var.tokens_authorizer.type == "jwt") == (var.tokens_authorizer.issuer != null) && (var.tokens_authorizer.type == "jwt") == (length(var.tokens_authorizer.audience) > 0)
    error_message = "tokens_authorizer: jwt needs issuer and audience, and no other type has them."
  }
}

variable "people_limits" {
  description = "How many requests a second, and how many at once, each route of token and publish lets through."
  type        = object({ rate = number, burst = number })
  default     = { rate = 200, burst = 400 }
}

# The function

variable "memory_size" {
  description = "Megabytes."
  type        = number
  default     = 128
}

variable "reserved_concurrency" {
  description = "How many invocations may run at once. -1 for no such limit; 0 stops the function."
  type        = number
  default     = -1
}

variable "log_level" {
  description = "INFO, DEBUG or TRACE. Not higher: the log records with the metrics have the level INFO."
  type        = string
  default     = "INFO"

  validation {
    condition     = contains(["INFO", "DEBUG", "TRACE"], var.log_level)
    error_message = "INFO, DEBUG or TRACE."
  }
}

variable "log_retention_days" {
  description = "How long the log is kept."
  type        = number
  default     = 30
}

variable "tracing" {
  description = "X-Ray: Active or PassThrough."
  type        = string
  default     = "PassThrough"

  validation {
    condition     = contains(["Active", "PassThrough"], var.tracing)
    error_message = "Active or PassThrough."
  }
}

variable "restart" {
  description = "Any text. A change restarts the function, which reads its routes and secrets again."
  type        = string
  default     = ""
}

variable "rollout" {
  description = "Who gets the traffic. By default, the newest version at once. With stable_version, that version, and new_weight (0 to 1) is the part that the newest one gets."
  type = object({
    stable_version = optional(string)
    new_weight     = optional(number, 0)
  })
  default = {}

  validation {
    condition     = var.rollout.new_weight >= 0 && var.rollout.new_weight < 1
    error_message = "rollout: new_weight is at least 0 and less than 1. Without stable_version, the newest version gets everything."
  }

  validation {
    condition     = var.rollout.stable_version == null || can(regex("^[0-9]+$", var.rollout.stable_version))
    error_message = "rollout: stable_version is the number of a version."
  }
}

# Alarms

variable "alarm_actions" {
  description = "The ARNs of the SNS topics that alarms are sent to."
  type        = list(string)
  default     = []
}

variable "alarm_limits" {
  description = "When there is an alarm: the age of a dead letter, the time of a response, wrong signatures in 15 minutes, minutes without any genuine message (0 for no such alarm), the percentage of genuine messages that must reach all their destinations, requests that token or publish refuses in 15 minutes."
  type = object({
    oldest_dead_letter_seconds = optional(number, 86400)
    slow_milliseconds          = optional(number, 2000)
    wrong_signatures           = optional(number, 3)
    silent_minutes             = optional(number, 0)
    objective_percent          = optional(number, 99.9)
    many_refusals              = optional(number, 100)
  })
  default = {}

  validation {
    condition     = var.alarm_limits.silent_minutes >= 0 && var.alarm_limits.silent_minutes <= 1440
    error_message = "silent_minutes is 0, for no such alarm, to 1440."
  }

  validation {
    condition     = var.alarm_limits.objective_percent >= 50 && var.alarm_limits.objective_percent < 100
    error_message = "objective_percent is at least 50, and less than 100."
  }
}

//! The documented limits of the AWS services, each with its source. `docs/CONFIGURATION.md` lists them as well.
//!
//! A limit of a text that a file decides is checked at load. A limit of a text that an event decides is checked before
//! sending.

/// The name, the meaning, the limit and the source of each constant, for the documentation.
macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $limit:literal, $source:literal;)*) => {
        $(
            $(#[doc = $doc])+
            #[doc = concat!("Source: <", $source, ">.")]
            pub(super) const $name: $type = $limit;
        )*

        /// The text and the limit of each, in the order of the documentation.
        #[cfg(test)]
        pub(super) const ALL: &[(&str, u64)] = &[$((concat!($($doc),+), $limit as u64)),*];
    };
}

limits! {
    /// SQS: bytes of a message, attributes included
    SQS_MESSAGE_BYTES: usize = 1_048_576,
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html";
    /// SQS: messages of one call of the relay
    SQS_BATCH_MESSAGES: usize = 10,
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html";
    /// SQS: bytes of all messages of one call of the relay
    SQS_BATCH_BYTES: usize = 1_048_576,
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html";
    /// SQS: characters of the name of a queue, `.fifo` included
    SQS_NAME: usize = 80,
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html";
    /// SQS: attributes of a message
    SQS_ATTRIBUTES: usize = 10,
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html";
    /// SQS: characters of the name of an attribute
    SQS_ATTRIBUTE_NAME: usize = 256,
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html";
    /// SQS: characters of a group and of a deduplication id
    SQS_ID: usize = 128,
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html";
    /// SQS: seconds of a delay
    SQS_DELAY_SECONDS: u16 = 900,
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html";
    /// EventBridge: characters of the name or ARN of a bus
    EVENTBRIDGE_BUS: usize = 1_600,
    "https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsRequestEntry.html";
    /// EventBridge: characters of a detail type
    EVENTBRIDGE_DETAIL_TYPE: usize = 128,
    "https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsRequestEntry.html";
    // The reference of PutEvents gives no limit. The one of the same call for custom event buses does.
    /// EventBridge: characters of a source
    EVENTBRIDGE_SOURCE: usize = 256,
    "https://docs.aws.amazon.com/eventbridgev2/latest/APIReference/API_PutEventsRequestEntry.html";
    /// EventBridge: characters of a resource
    EVENTBRIDGE_RESOURCE: usize = 2_048,
    "https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsRequestEntry.html";
    /// EventBridge: bytes of an event, of which it has to have fewer
    EVENTBRIDGE_BYTES: usize = 1_048_576,
    "https://docs.aws.amazon.com/eventbridge/latest/userguide/calculate-putevents-entry-size.html";
    /// DynamoDB: characters of the name of a table, which has at least 3
    DYNAMODB_TABLE: usize = 255,
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html";
    /// DynamoDB: characters of the ARN of a table
    DYNAMODB_ARN: usize = 1_024,
    "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PutItem.html";
    /// DynamoDB: digits of a number, between 1E-130 and 9.9E+125
    DYNAMODB_DIGITS: usize = 38,
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html";
    /// DynamoDB: lists and maps inside one another
    DYNAMODB_NESTING: usize = 32,
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html";
    /// DynamoDB: bytes of an item, names included
    DYNAMODB_ITEM_BYTES: usize = 409_600,
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html";
    /// DynamoDB: bytes of a partition key
    DYNAMODB_PARTITION_KEY_BYTES: usize = 2_048,
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html";
    /// DynamoDB: bytes of a sort key
    DYNAMODB_SORT_KEY_BYTES: usize = 1_024,
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html";
    /// DynamoDB: characters of the name of a key attribute
    DYNAMODB_KEY_NAME: usize = 255,
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html";
    /// DynamoDB: characters of a token of a transaction
    DYNAMODB_TOKEN: usize = 36,
    "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html";
    /// Step Functions: characters of the ARN of a state machine
    STEP_FUNCTIONS_ARN: usize = 256,
    "https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html";
    /// Step Functions: bytes of an input
    STEP_FUNCTIONS_INPUT_BYTES: usize = 262_144,
    "https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html";
    /// Step Functions: characters of the name of an execution
    STEP_FUNCTIONS_NAME: usize = 80,
    "https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html";
}

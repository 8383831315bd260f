//! Amazon DynamoDB.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::config::Config;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};

use crate::client::{Aws, Call};
use crate::failure::{of_part, of_sdk};
use crate::in_time::InTime;
use fanout_core::destination::Accepted;
use fanout_core::destination::content::Attribute;
use fanout_core::destination::dynamodb::{Change, Row};
use fanout_core::destination::json::Json;
use fanout_core::reason::Failure;

/// Attributes, by their names.
type Item = BTreeMap<String, Attribute>;

impl Call for Row {
    /// Writes the item. DynamoDB takes no X-Ray header.
    async fn call(&self, aws: &Aws, _trace: Option<&str>, tries: InTime) -> Result<Accepted, Failure> {
        let Self { table, key, change } = self;
        match change {
            Change::Put { item, unless_exists } => {
                let condition = key.keys().next().filter(|_| *unless_exists);
                aws.put_item(table, key.iter().chain(item), condition, tries).await
            }
            Change::Update { set, add, token } => {
                let update = update(table, key, set, add)
                    .map_err(|error| Failure::invalid("the update is invalid").because(error))?;
                aws.update_item(update, token, tries).await
            }
        }
    }
}

impl Aws {
    async fn put_item(
        &self,
        table: &str,
        item: impl Iterator<Item = (&String, &Attribute)>,
        unless: Option<&String>,
        tries: InTime,
    ) -> Result<Accepted, Failure> {
        let call = self
            .dynamodb()
            .await?
            .put_item()
            .table_name(table)
            .set_item(Some(item.map(|(name, attribute)| (name.clone(), value(attribute))).collect()))
            // A name may be a reserved word of expressions.
            .set_condition_expression(unless.map(|_| "attribute_not_exists(#k)".to_owned()))
            .set_expression_attribute_names(
                unless.map(|name| HashMap::from([("#k".to_owned(), name.clone())])),
            );
        let put = call
            .customize()
            .interceptor(tries.clone())
            .config_override(Config::builder().retry_classifier(tries))
            .send()
            .await;
        match put {
            Ok(_) => Ok(Accepted::Created),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(PutItemError::is_conditional_check_failed_exception) =>
            {
                Ok(Accepted::Duplicate)
            }
            Err(error) => Err(of_sdk(error)),
        }
    }

    /// Updates the item in a transaction with one update. DynamoDB remembers the token of a transaction for ten minutes.
    async fn update_item(&self, update: Update, token: &str, tries: InTime) -> Result<Accepted, Failure> {
        let item = TransactWriteItem::builder().update(update).build();
        let call =
            self.dynamodb().await?.transact_write_items().transact_items(item).client_request_token(token);
        let call = call
            .customize()
            .interceptor(tries.clone())
            .config_override(Config::builder().retry_classifier(tries));
        let Err(error) = call.send().await else { return Ok(Accepted::Created) };
        match error.as_service_error() {
            // An earlier delivery did the same change, with values that differ at each delivery.
            Some(error) if error.is_idempotent_parameter_mismatch_exception() => Ok(Accepted::Duplicate),
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                let mut codes = cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code());
                let failure = codes.find(|code| *code != "None").map(of_part);
                Err(failure.unwrap_or_else(|| of_sdk(error)))
            }
            _ => Err(of_sdk(error)),
        }
    }
}

fn update(
    table: &str,
    key: &Item,
    set: &Item,
    add: &Item,
) -> Result<Update, aws_smithy_types::error::operation::BuildError> {
    let mut update = Update::builder().table_name(table);
    for (name, attribute) in key {
        update = update.key(name, value(attribute));
    }
    let mut expression = Vec::new();
    for (word, letter, between, attributes) in [("SET", 's', " = ", set), ("ADD", 'a', " ", add)] {
        let mut parts = Vec::new();
        for (number, (name, attribute)) in attributes.iter().enumerate() {
            // A name may be a reserved word of expressions.
            let (placeholder, held) = (format!("#{letter}{number}"), format!(":{letter}{number}"));
            parts.push(format!("{placeholder}{between}{held}"));
            update = update
                .expression_attribute_names(placeholder, name)
                .expression_attribute_values(held, value(attribute));
        }
        if !parts.is_empty() {
            expression.push(format!("{word} {}", parts.join(", ")));
        }
    }
    update.update_expression(expression.join(" ")).build()
}

fn value(attribute: &Attribute) -> AttributeValue {
    match attribute {
        Attribute::Text(text) => AttributeValue::S(text.clone()),
        Attribute::Number(number) => AttributeValue::N(number.clone()),
        Attribute::Bool(is) => AttributeValue::Bool(*is),
        Attribute::Json(document) => of_json(document.json()),
    }
}

fn of_json(json: &Json) -> AttributeValue {
    match json {
        Json::Null => AttributeValue::Null(true),
        Json::Bool(is) => AttributeValue::Bool(*is),
        Json::Number(number) => AttributeValue::N(number.clone()),
        Json::Text(text) => AttributeValue::S(text.clone()),
        Json::List(values) => AttributeValue::L(values.iter().map(of_json).collect()),
        Json::Object(members) => {
            AttributeValue::M(members.iter().map(|(name, json)| (name.clone(), of_json(json))).collect())
        }
    }
}

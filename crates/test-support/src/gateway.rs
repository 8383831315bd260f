//! Requests in the payloads with which AWS's gateways invoke a function.
//!
//! The fixtures have the members that AWS documents for each gateway
//! ([function URLs](https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html),
//! [HTTP APIs](https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html),
//! [REST APIs](https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html),
//! [load balancers](https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html));
//! [`Gateway::payload`] sets method, headers and body.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::HttpResponse;
use crate::signed::RawRequest;

/// One of AWS's gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// A function URL.
    FunctionUrl,
    /// An HTTP API with payload format 2.0.
    HttpApi,
    /// A REST API with proxy integration.
    RestApi,
    /// An Application Load Balancer.
    LoadBalancer,
    /// An Application Load Balancer whose target group has multi-value headers enabled.
    LoadBalancerMultiValue,
}

impl Gateway {
    /// All gateways.
    pub const ALL: [Self; 5] =
        [Self::FunctionUrl, Self::HttpApi, Self::RestApi, Self::LoadBalancer, Self::LoadBalancerMultiValue];

    const fn fixture(self) -> &'static str {
        match self {
            Self::FunctionUrl => include_str!("../fixtures/function-url.json"),
            Self::HttpApi => include_str!("../fixtures/http-api.json"),
            Self::RestApi => include_str!("../fixtures/rest-api.json"),
            Self::LoadBalancer => include_str!("../fixtures/load-balancer.json"),
            Self::LoadBalancerMultiValue => include_str!("../fixtures/load-balancer-multi-value.json"),
        }
    }

    /// Returns the payload of an invocation with this request. A body that is not UTF-8 is always base64.
    ///
    /// # Errors
    /// If the fixture lacks a member.
    pub fn payload(self, request: &RawRequest, base64: bool) -> anyhow::Result<Value> {
        let mut payload: Value = serde_json::from_str(self.fixture())?;
        let mut all: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (name, value) in &request.headers {
            all.entry(name).or_default().push(String::from_utf8_lossy(value).into_owned());
        }
        if let Some(path) = request.path {
            // The path of an HTTP API begins with its stage.
            let (name, stage) = match self {
                Self::FunctionUrl => ("/rawPath", ""),
                Self::HttpApi => ("/rawPath", "/prod"),
                Self::RestApi | Self::LoadBalancer | Self::LoadBalancerMultiValue => ("/path", ""),
            };
            *member(&mut payload, name)? = json!(format!("{stage}{path}"));
        }
        match self {
            Self::FunctionUrl | Self::HttpApi => {
                *member(&mut payload, "/requestContext/http/method")? = json!(request.method);
                for (name, values) in &all {
                    insert(&mut payload, "/headers", name, json!(values.join(",")))?;
                }
            }
            Self::RestApi => {
                *member(&mut payload, "/httpMethod")? = json!(request.method);
                for (name, values) in &all {
                    insert(&mut payload, "/headers", name, json!(values.last()))?;
                    insert(&mut payload, "/multiValueHeaders", name, json!(values))?;
                }
            }
            Self::LoadBalancer => {
                *member(&mut payload, "/httpMethod")? = json!(request.method);
                for (name, values) in &all {
                    insert(&mut payload, "/headers", name, json!(values.last()))?;
                }
            }
            Self::LoadBalancerMultiValue => {
                *member(&mut payload, "/httpMethod")? = json!(request.method);
                for (name, values) in &all {
                    insert(&mut payload, "/multiValueHeaders", name, json!(values))?;
                }
            }
        }
        let text = std::str::from_utf8(&request.body).ok().filter(|_| !base64);
        let body = text.map_or_else(|| BASE64.encode(&request.body), str::to_owned);
        *member(&mut payload, "/isBase64Encoded")? = json!(text.is_none());
        *member(&mut payload, "/body")? = json!(body);
        Ok(payload)
    }

    /// Returns the HTTP response that the gateway makes of the function's response.
    ///
    /// # Errors
    /// If the gateway would not accept the response.
    pub fn http_response(self, response: &Value) -> anyhow::Result<HttpResponse> {
        let status = response["statusCode"].as_u64().context("the status code is missing")?;
        ensure!(response["isBase64Encoded"] == json!(false), "the body is binary");
        let all = match self {
            Self::LoadBalancerMultiValue => &response["multiValueHeaders"],
            _ => &response["headers"],
        };
        if matches!(self, Self::LoadBalancer | Self::LoadBalancerMultiValue) {
            let description =
                response["statusDescription"].as_str().context("the status description is missing")?;
            ensure!(description.starts_with(&status.to_string()), "{description} for {status}");
        }
        let headers = all.as_object().context("the headers are missing")?.iter().map(|(name, value)| {
            let value =
                value.as_str().or_else(|| value.get(0)?.as_str()).context("a header value is missing")?;
            Ok((name.to_lowercase(), value.to_owned()))
        });
        Ok(HttpResponse {
            status: status.try_into()?,
            headers: headers.collect::<anyhow::Result<_>>()?,
            body: response["body"].as_str().context("the body is missing")?.to_owned(),
        })
    }
}

fn member<'v>(payload: &'v mut Value, pointer: &str) -> anyhow::Result<&'v mut Value> {
    payload.pointer_mut(pointer).with_context(|| format!("the fixture lacks {pointer}"))
}

fn insert(payload: &mut Value, pointer: &str, name: &str, value: Value) -> anyhow::Result<()> {
    let members = member(payload, pointer)?.as_object_mut();
    members
        .with_context(|| format!("{pointer} of the fixture is not an object"))?
        .insert(name.to_owned(), value);
    Ok(())
}

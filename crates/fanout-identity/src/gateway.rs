//! The context of API Gateway's authorizers as the proof of who asks.
//!
//! The gateway verifies the caller, and writes what it knows into the context of the invocation. A caller cannot write there.
//! Who may invoke the function directly can, and that is a permission of the account.

use serde_json::{Map, Value};

use crate::claims::{Claims, NotProven};

/// The kind of authorizer that the gateway uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Authorizer {
    /// A JWT authorizer of an HTTP API, or a Cognito authorizer of a REST API: the claims of the JWT.
    Jwt,
    /// A Lambda authorizer: the members of its context.
    Lambda,
    /// IAM: the claims `arn`, `account` and `user_id` of the caller.
    Iam,
}

/// The data of a gateway about the caller of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayContext {
    /// The member `authorizer`.
    pub authorizer: Option<Value>,
    /// The member `identity`, in the payload of REST APIs.
    pub identity: Option<Value>,
}

impl Authorizer {
    /// Returns what the gateway has proven about the caller.
    ///
    /// # Errors
    /// If the gateway says nothing.
    pub fn claims(self, context: &GatewayContext) -> Result<Claims, NotProven> {
        let authorizer = context.authorizer.as_ref().and_then(Value::as_object);
        let member = |name: &str| authorizer.and_then(|members| members.get(name)).and_then(Value::as_object);
        let claims = match self {
            // An HTTP API, and a REST API.
            Self::Jwt => member("jwt")
                .and_then(|jwt| jwt.get("claims")?.as_object())
                .or_else(|| member("claims"))
                .cloned(),
            Self::Lambda => member("lambda").or(authorizer).cloned(),
            Self::Iam => {
                member("iam").map(of_iam).or_else(|| context.identity.as_ref()?.as_object().map(of_iam))
            }
        };
        match claims.filter(|claims| !claims.is_empty()) {
            Some(claims) => Ok(Claims::proven(claims)),
            None => Err(NotProven::NoAuthorizer),
        }
    }
}

/// Returns the claims of an IAM caller. A request that IAM has not verified has `null` in place of each.
fn of_iam(identity: &Map<String, Value>) -> Map<String, Value> {
    let text = |name: &str| identity.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let Some(arn) = text("userArn") else { return Map::new() };
    let members = [
        ("arn", Some(arn)),
        ("account", text("accountId")),
        ("user_id", text("userId").or_else(|| text("user"))),
    ];
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn context(authorizer: Value) -> GatewayContext {
        GatewayContext { authorizer: Some(authorizer), identity: None }
    }

    #[test]
    fn reads_claims_of_each_authorizer() {
        let jwt = json!({"jwt": {"claims": {"sub": "mo"}, "scopes": null}});
        let cognito = json!({"claims": {"sub": "mo"}});
        let lambda = json!({"lambda": {"sub": "mo"}});
        let rest_lambda = json!({"principalId": "p", "sub": "mo"});
        for (kind, authorizer) in [
            (Authorizer::Jwt, jwt),
            (Authorizer::Jwt, cognito),
            (Authorizer::Lambda, lambda),
            (Authorizer::Lambda, rest_lambda),
        ] {
            let claims = kind.claims(&context(authorizer.clone())).unwrap();
            assert_eq!(claims.get(&["sub"]), Some(&json!("mo")), "{authorizer}");
        }
        let iam = json!({"userArn": "arn:aws:iam::123456789012:user/mo", "accountId": "123456789012", "userId": "AID"});
        let rest = GatewayContext { authorizer: None, identity: Some(iam.clone()) };
        for context in [context(json!({"iam": iam})), rest] {
            let claims = Authorizer::Iam.claims(&context).unwrap();
            assert_eq!(claims.get(&["arn"]), Some(&json!("arn:aws:iam::123456789012:user/mo")));
            assert_eq!(claims.get(&["account"]), Some(&json!("123456789012")));
        }
    }

    #[test]
    fn context_of_other_authorizer_proves_nothing() {
        let jwt = json!({"jwt": {"claims": {"sub": "mo"}}});
        let anonymous = json!({"userArn": null, "accountId": null, "sourceIp": "192.0.2.1"});
        for (kind, context) in [
            (Authorizer::Jwt, GatewayContext::default()),
            (Authorizer::Lambda, GatewayContext::default()),
            (Authorizer::Iam, GatewayContext::default()),
            (Authorizer::Iam, context(jwt)),
            (Authorizer::Jwt, context(json!({"lambda": {"claims": {"sub": "mo"}}}))),
            (Authorizer::Jwt, context(json!({"jwt": {"claims": {}}}))),
            (Authorizer::Jwt, context(json!("text"))),
            (Authorizer::Iam, GatewayContext { authorizer: None, identity: Some(anonymous) }),
        ] {
            assert_eq!(kind.claims(&context), Err(NotProven::NoAuthorizer), "{kind:?} {context:?}");
        }
    }
}

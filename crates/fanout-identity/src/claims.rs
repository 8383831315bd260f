//! Proven claims about a person.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The claims about a person who has proven who they are. Only this crate makes them.
#[derive(Clone, PartialEq, Eq)]
pub struct Claims(Map<String, Value>);

/// Why a caller has not proven who they are. No message shows a part of the proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProven {
    /// The request has no proof.
    #[error("the request has no proof of its caller; expected the header `Authorization: Bearer <JWT>`")]
    Missing,
    /// The authorizer of the gateway has said nothing about the caller.
    #[error("the gateway has not said who the caller is")]
    NoAuthorizer,
    /// The proof is larger than any proof should be.
    #[error("the JWT is longer than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The proof is not a JWT, or has a member twice.
    #[error("the JWT is malformed: {0}")]
    Malformed(&'static str),
    /// The algorithm is not accepted, or not that of the key.
    #[error("the algorithm of the JWT is not accepted")]
    Algorithm,
    /// The JWT does not name its key, and the provider has several.
    #[error("the JWT has no `kid`, and the provider has several keys")]
    NoKeyId,
    /// The provider does not have the key.
    #[error("the provider does not have the key of the JWT")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the signature of the JWT is wrong")]
    Signature,
    /// The JWT has expired.
    #[error("the JWT has expired")]
    Expired,
    /// The JWT is not valid yet.
    #[error("the JWT is not valid yet")]
    NotYetValid,
    /// The issuer is another one.
    #[error("the issuer of the JWT is not accepted")]
    Issuer,
    /// The JWT is for another audience.
    #[error("the JWT is for another audience")]
    Audience,
    /// A claim that is needed is missing, or has an invalid type.
    #[error("the claim `{0}` of the JWT is missing or invalid")]
    Claim(&'static str),
    /// The keys of the provider cannot be fetched. This says nothing about the caller.
    #[error("the keys of the identity provider cannot be fetched at the moment: send it again")]
    KeysUnavailable,
}

impl NotProven {
    /// Returns its name in responses and log records.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing | Self::NoAuthorizer => "proof_missing",
            Self::TooLarge { .. } => "proof_too_large",
            Self::Malformed(_) => "proof_malformed",
            Self::Algorithm => "algorithm_not_allowed",
            Self::NoKeyId | Self::UnknownKey => "key_unknown",
            Self::Signature => "signature_wrong",
            Self::Expired => "proof_expired",
            Self::NotYetValid => "proof_not_yet_valid",
            Self::Issuer => "issuer_wrong",
            Self::Audience => "audience_wrong",
            Self::Claim(_) => "claim_invalid",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }
}

impl Claims {
    pub(crate) const fn proven(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    /// Returns claims that no caller has proven: for a tool that shows what a person with these claims could do.
    #[must_use]
    pub const fn assumed(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    /// Returns the claim at a path of members. Returns `None` if it is missing or `null`.
    #[must_use]
    pub fn get<M: AsRef<str>>(&self, path: &[M]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        let mut value = self.0.get(first.as_ref())?;
        for member in rest {
            value = value.as_object()?.get(member.as_ref())?;
        }
        Some(value).filter(|value| !value.is_null())
    }
}

/// Shows no claim: claims are personal.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").finish_non_exhaustive()
    }
}

/// A JSON object none of whose objects has a member twice. Parsers differ in which of both they take, so a proof with a
/// member twice can mean two things.
pub(crate) struct UniqueObject(pub(crate) Map<String, Value>);

impl<'de> Deserialize<'de> for UniqueObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match UniqueValue::deserialize(deserializer)?.0 {
            Value::Object(object) => Ok(Self(object)),
            _ => Err(D::Error::custom("expected an object")),
        }
    }
}

struct UniqueValue(Value);

impl<'de> Deserialize<'de> for UniqueValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(UniqueValue(value)) = access.next_element()? {
            list.push(value);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, UniqueValue(value))) = access.next_entry::<String, UniqueValue>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is there twice"));
            }
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rejects_member_that_is_there_twice_at_any_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"b":2}]}"#,
            r#"{"a":1,"\u0061":2}"#,
        ] {
            assert!(serde_json::from_str::<UniqueObject>(text).is_err(), "{text}");
        }
        let text = r#"{"a":[1,-2,1.5,true,null,"b",{"c":{}}]}"#;
        let UniqueObject(read) = serde_json::from_str(text).unwrap();
        assert_eq!(Value::Object(read), serde_json::from_str::<Value>(text).unwrap());
        assert!(serde_json::from_str::<UniqueObject>("[]").is_err());
    }

    #[test]
    fn get_follows_members_of_objects_only() {
        let Value::Object(claims) = json!({"a": {"b": 1}, "c": "text", "d": null}) else {
            panic!("an object")
        };
        let claims = Claims::assumed(claims);
        assert_eq!(claims.get(&["a", "b"]), Some(&json!(1)));
        for path in [&["c", "b"][..], &["d"], &["x"], &[]] {
            assert_eq!(claims.get(path), None, "{path:?}");
        }
    }

    #[test]
    fn debug_shows_no_claim() {
        let Value::Object(claims) = json!({"sub": "s3cr3t"}) else { panic!("an object") };
        assert!(!format!("{:?}", Claims::assumed(claims)).contains("s3cr3t"));
    }
}

//! Vectors that other implementations computed, and properties of both signatures.
#![expect(clippy::indexing_slicing, reason = "a test asserts by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use momento_webhook::momento::{self, SignatureError, SigningSecret};
use momento_webhook::standard::{self, Headers, StandardSecret};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    secret: String,
    body_base64: String,
    signature: String,
}

fn vectors() -> Vec<(Vector, Vec<u8>)> {
    let vectors: Vectors =
        serde_json::from_str(include_str!("data/momento_signatures.json")).expect("the vectors are JSON");
    assert!(vectors.vectors.len() >= 10, "all vectors are present");
    vectors
        .vectors
        .into_iter()
        .map(|vector| {
            let body = BASE64.decode(&vector.body_base64).expect("base64");
            (vector, body)
        })
        .collect()
}

#[test]
fn signs_and_verifies_every_vector() {
    for (vector, body) in vectors() {
        let secret = SigningSecret::new(&vector.secret).expect("not empty");
        assert_eq!(momento::sign(&secret, &body), vector.signature, "{}", vector.name);
        let verified = momento::verify(&[secret], &body, [vector.signature.as_bytes()]);
        assert!(verified.is_ok(), "{}: {verified:?}", vector.name);
    }
}

#[test]
fn rejects_signature_of_another_vector() {
    let vectors = vectors();
    for (vector, body) in &vectors {
        for (other, _) in vectors.iter().filter(|(other, _)| other.name != vector.name) {
            let secret = SigningSecret::new(&vector.secret).expect("not empty");
            assert_eq!(
                momento::verify(&[secret], body, [other.signature.as_bytes()]),
                Err(SignatureError::Mismatch),
                "{} with the signature of {}",
                vector.name,
                other.name
            );
        }
    }
}

/// Returns `bytes` with the bit at `index` flipped.
fn flipped(bytes: &[u8], index: prop::sample::Index) -> Vec<u8> {
    let bit = index.index(bytes.len() * 8);
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

proptest! {
    #[test]
    fn momento_verifies_signed_body(secret in r"[^\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]+", body: Vec<u8>) {
        let secret = SigningSecret::new(&secret).expect("not empty");
        let signature = momento::sign(&secret, &body);
        prop_assert_eq!(momento::verify(&[secret], &body, [signature.as_bytes()]).map(|verified| verified.into_inner().clone()), Ok(body));
    }

    #[test]
    fn momento_rejects_flipped_bit_of_body(secret in r"[^\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]+", body in prop::collection::vec(any::<u8>(), 1..512), index: prop::sample::Index) {
        let secret = SigningSecret::new(&secret).expect("not empty");
        let signature = momento::sign(&secret, &body);
        let changed = flipped(&body, index);
        prop_assert_eq!(momento::verify(&[secret], &changed, [signature.as_bytes()]), Err(SignatureError::Mismatch));
    }

    #[test]
    fn momento_rejects_flipped_bit_of_signature(secret in r"[^\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]+", body: Vec<u8>, index: prop::sample::Index) {
        let secret = SigningSecret::new(&secret).expect("not empty");
        let signature = hex::decode(momento::sign(&secret, &body)).expect("hex");
        let changed = hex::encode(flipped(&signature, index));
        prop_assert_eq!(momento::verify(&[secret], &body, [changed.as_bytes()]), Err(SignatureError::Mismatch));
    }

    #[test]
    fn momento_never_panics_on_header_value(signature: Vec<u8>, body: Vec<u8>) {
        let secret = SigningSecret::new("k").expect("not empty");
        prop_assert!(momento::verify(&[secret], &body, [&signature[..]]).is_err());
    }

    #[test]
    fn standard_verifies_signed_body(key in prop::collection::vec(any::<u8>(), 1..100), id in "[^.]+", seconds: u64, body: Vec<u8>) {
        let secrets = [StandardSecret::from_bytes(&key).expect("not empty")];
        let signature = standard::sign(&secrets, &id, seconds, &body).expect("a valid id");
        let timestamp = seconds.to_string();
        let headers = Headers { id: &id, timestamp: &timestamp, signature: &signature };
        let (_, verified_seconds) = standard::verify(&secrets, &body, headers).expect("a valid signature");
        prop_assert_eq!(verified_seconds, seconds);
    }

    #[test]
    fn standard_rejects_flipped_bit_of_body(key in prop::collection::vec(any::<u8>(), 1..100), body in prop::collection::vec(any::<u8>(), 1..512), index: prop::sample::Index) {
        let secrets = [StandardSecret::from_bytes(&key).expect("not empty")];
        let signature = standard::sign(&secrets, "msg", 1, &body).expect("a valid id");
        let headers = Headers { id: "msg", timestamp: "1", signature: &signature };
        let changed = flipped(&body, index);
        prop_assert_eq!(standard::verify(&secrets, &changed, headers), Err(standard::SignatureError::Mismatch));
    }

    #[test]
    fn standard_never_panics_on_header_value(id: String, timestamp: String, signature: String, body: Vec<u8>) {
        let secrets = [StandardSecret::from_bytes(b"k").expect("not empty")];
        let headers = Headers { id: &id, timestamp: &timestamp, signature: &signature };
        prop_assert!(standard::verify(&secrets, &body, headers).is_err());
    }

    #[test]
    fn event_parser_never_panics(body: Vec<u8>) {
        let _ = momento_webhook::Event::from_json(&body);
    }
}

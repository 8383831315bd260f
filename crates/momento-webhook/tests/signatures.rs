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
    assert!(vectors.vectors.len() >= 10, "the vectors are there");
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
fn every_vector_is_signed_and_verified() {
    for (vector, body) in vectors() {
        let secret = SigningSecret::new(&vector.secret).expect("not empty");
        assert_eq!(momento::sign(&secret, &body), vector.signature, "{}", vector.name);
        let proven = momento::verify(&[secret], &body, [vector.signature.as_bytes()]);
        assert!(proven.is_ok(), "{}: {proven:?}", vector.name);
    }
}

#[test]
fn no_vector_is_verified_with_the_signature_of_another() {
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

/// `bytes` with one bit of it flipped, the bit chosen by `index`.
fn flipped(bytes: &[u8], index: prop::sample::Index) -> Vec<u8> {
    let bit = index.index(bytes.len() * 8);
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

proptest! {
    #[test]
    fn momento_what_is_signed_is_verified(secret in r"[^\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]+", body: Vec<u8>) {
        let secret = SigningSecret::new(&secret).expect("not empty");
        let signature = momento::sign(&secret, &body);
        prop_assert_eq!(momento::verify(&[secret], &body, [signature.as_bytes()]).map(|proven| proven.into_inner().clone()), Ok(body));
    }

    #[test]
    fn momento_a_flipped_bit_of_the_body_is_refused(secret in r"[^\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]+", body in prop::collection::vec(any::<u8>(), 1..512), index: prop::sample::Index) {
        let secret = SigningSecret::new(&secret).expect("not empty");
        let signature = momento::sign(&secret, &body);
        let changed = flipped(&body, index);
        prop_assert_eq!(momento::verify(&[secret], &changed, [signature.as_bytes()]), Err(SignatureError::Mismatch));
    }

    #[test]
    fn momento_a_flipped_bit_of_the_signature_is_refused(secret in r"[^\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]+", body: Vec<u8>, index: prop::sample::Index) {
        let secret = SigningSecret::new(&secret).expect("not empty");
        let signature = hex::decode(momento::sign(&secret, &body)).expect("hex");
        let changed = hex::encode(flipped(&signature, index));
        prop_assert_eq!(momento::verify(&[secret], &body, [changed.as_bytes()]), Err(SignatureError::Mismatch));
    }

    #[test]
    fn momento_no_header_value_makes_it_panic(signature: Vec<u8>, body: Vec<u8>) {
        let secret = SigningSecret::new("k").expect("not empty");
        prop_assert!(momento::verify(&[secret], &body, [&signature[..]]).is_err());
    }

    #[test]
    fn standard_what_is_signed_is_verified(key in prop::collection::vec(any::<u8>(), 1..100), id in "[^.]+", seconds: u64, body: Vec<u8>) {
        let secrets = [StandardSecret::from_bytes(&key).expect("not empty")];
        let signature = standard::sign(&secrets, &id, seconds, &body).expect("a good id");
        let timestamp = seconds.to_string();
        let headers = Headers { id: &id, timestamp: &timestamp, signature: &signature };
        let (_, proven_seconds) = standard::verify(&secrets, &body, headers).expect("genuine");
        prop_assert_eq!(proven_seconds, seconds);
    }

    #[test]
    fn standard_a_flipped_bit_of_the_body_is_refused(key in prop::collection::vec(any::<u8>(), 1..100), body in prop::collection::vec(any::<u8>(), 1..512), index: prop::sample::Index) {
        let secrets = [StandardSecret::from_bytes(&key).expect("not empty")];
        let signature = standard::sign(&secrets, "msg", 1, &body).expect("a good id");
        let headers = Headers { id: "msg", timestamp: "1", signature: &signature };
        let changed = flipped(&body, index);
        prop_assert_eq!(standard::verify(&secrets, &changed, headers), Err(standard::SignatureError::Mismatch));
    }

    #[test]
    fn standard_no_header_value_makes_it_panic(id: String, timestamp: String, signature: String, body: Vec<u8>) {
        let secrets = [StandardSecret::from_bytes(b"k").expect("not empty")];
        let headers = Headers { id: &id, timestamp: &timestamp, signature: &signature };
        prop_assert!(standard::verify(&secrets, &body, headers).is_err());
    }

    #[test]
    fn no_body_makes_the_event_reader_panic(body: Vec<u8>) {
        let _ = momento_webhook::Event::from_json(&body);
    }
}

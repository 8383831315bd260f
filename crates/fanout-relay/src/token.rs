//! The token of the port for operators.

use std::fmt;

use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The least length of a token. A shorter one could be guessed over a network.
const MIN_LENGTH: usize = 16;

/// A bearer token. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Error for a text that is not a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token is short.
    #[error("the token has fewer than {MIN_LENGTH} characters")]
    Short,
    /// The token is sent as a header.
    #[error("the token has a character that is not visible ASCII")]
    NotHeader,
}

impl Token {
    /// Checks a token.
    ///
    /// # Errors
    /// If it is short, or has other characters than visible ASCII.
    pub fn new(token: impl Into<String>) -> Result<Self, TokenError> {
        let token = token.into();
        if token.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(TokenError::NotHeader);
        }
        if token.len() < MIN_LENGTH { Err(TokenError::Short) } else { Ok(Self(token)) }
    }

    /// Returns the value of the header `authorization` that sends it.
    #[must_use]
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Returns true if a request has this token. The time of the comparison does not depend on the token that was sent.
    pub(crate) fn is_in(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        let Some((scheme, sent)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else {
            return false;
        };
        // Hashes, so that the lengths are equal.
        let is_equal = Sha256::digest(sent).as_slice().ct_eq(Sha256::digest(&self.0).as_slice());
        scheme.eq_ignore_ascii_case("bearer") && is_equal.into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    #[test]
    fn accepts_exactly_one_header_with_token() {
        let token = Token::new(TOKEN).unwrap();
        let is_in = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            token.is_in(&headers)
        };
        let right = token.authorization();
        assert!(is_in(&[&right]) && is_in(&[&right.replace("Bearer", "bearer")]));
        for wrong in [TOKEN, "Bearer", "Bearer ", "Bearer 0123456789abcdeF", "Basic 0123456789abcdef"] {
            assert!(!is_in(&[wrong]), "{wrong}");
        }
        assert!(!is_in(&[&format!("{right}0")]) && !is_in(&[&right, &right]) && !is_in(&[]));
    }

    #[test]
    fn rejects_short_token_and_line_end() {
        assert_eq!(Token::new("0123456789abcde"), Err(TokenError::Short));
        assert_eq!(Token::new("0123456789abcdef\n"), Err(TokenError::NotHeader));
    }

    #[test]
    fn debug_shows_no_token() {
        assert!(!format!("{:?}", Token::new(TOKEN)).contains(TOKEN));
    }
}

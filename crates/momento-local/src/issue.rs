//! Tokens and API keys: the services `token.Token` and `auth.Auth`, without the login.
//!
//! These calls carry the caller's key in their message. The JavaScript SDK sends it nowhere else, so the metadata of
//! these calls is not checked.

use momento_protos::auth::generate_api_token_request::Expiry;
use momento_protos::auth::{
    GenerateApiTokenRequest, GenerateApiTokenResponse, RefreshApiTokenRequest, RefreshApiTokenResponse,
};
use momento_protos::permission_messages;
use momento_protos::token::{GenerateDisposableTokenRequest, GenerateDisposableTokenResponse};
use tonic::{Code, Status};

use crate::auth::issuer::{Claims, InvalidToken, Purpose};
use crate::auth::permissions::{InvalidPermissions, Permissions};
use crate::auth::{self, Caller, MAX_TOKEN_ID_CHARS};
use crate::call::Admitted;
use crate::status;

/// The longest life of a disposable token. Momento documents 25 hours.
const MAX_DISPOSABLE_SECONDS: u32 = 25 * 60 * 60;

/// The longest token: with all other metadata, it must fit into the headers of a call.
const MAX_TOKEN_BYTES: usize = 8 * 1_024;

pub(crate) async fn generate_disposable_token(
    admitted: Admitted,
    request: GenerateDisposableTokenRequest,
) -> Result<GenerateDisposableTokenResponse, Status> {
    let caller = admitted.check_key(&request.auth_token)?;
    let (started, endpoint) = admitted.start_issuing().await?;
    let seconds = request.expires.map(|expires| expires.valid_for_seconds);
    if !seconds.is_some_and(|seconds| (1..=MAX_DISPOSABLE_SECONDS).contains(&seconds)) {
        let expected = format!("expected 1 to {MAX_DISPOSABLE_SECONDS} seconds of validity");
        return Err(invalid_argument(expected));
    }
    let permissions = issuable(&caller, request.permissions)?;
    if Permissions::try_from(permissions.clone()) == Ok(Permissions::SuperUser) {
        return Err(invalid_argument("a disposable token cannot be a superuser"));
    }
    check_token_id(&request.token_id)?;
    let claims = Claims::new(Purpose::Disposable, seconds, request.token_id, &permissions);
    let api_key = started.sign(&claims)?;
    started.applied().await?;
    Ok(GenerateDisposableTokenResponse { api_key, endpoint, valid_until: claims.exp.unwrap_or(0) })
}

pub(crate) async fn generate_api_token(
    admitted: Admitted,
    request: GenerateApiTokenRequest,
) -> Result<GenerateApiTokenResponse, Status> {
    let caller = admitted.check_key(&request.auth_token)?;
    let (started, endpoint) = admitted.start_issuing().await?;
    let seconds = match request.expiry {
        Some(Expiry::Never(_)) => None,
        Some(Expiry::Expires(expires)) if expires.valid_for_seconds > 0 => Some(expires.valid_for_seconds),
        _ => return Err(invalid_argument("expected at least 1 second of validity, or no end")),
    };
    let permissions = issuable(&caller, request.permissions)?;
    check_token_id(&request.token_id)?;
    let claims = Claims::new(Purpose::Key, seconds, request.token_id, &permissions);
    let api_key = started.sign(&claims)?;
    let refresh_token = started.sign(&claims.refresh())?;
    started.applied().await?;
    // 0 is a key that never expires.
    Ok(GenerateApiTokenResponse { api_key, refresh_token, endpoint, valid_until: claims.exp.unwrap_or(0) })
}

pub(crate) async fn refresh_api_token(
    admitted: Admitted,
    request: RefreshApiTokenRequest,
) -> Result<RefreshApiTokenResponse, Status> {
    let verify = |token: &str, purpose| {
        let verified = admitted.shared.authenticator.verify(token).unwrap_or(Err(InvalidToken::Signature));
        let expected =
            |claims: Claims| if claims.purpose == purpose { Ok(claims) } else { Err(InvalidToken::Purpose) };
        verified.and_then(expected).map_err(auth::invalid)
    };
    let old = verify(&request.api_key, Purpose::Key)?;
    let refresh = verify(&request.refresh_token, Purpose::Refresh)?;
    let (started, endpoint) = admitted.start_issuing().await?;
    if refresh.jti != old.jti {
        return Err(invalid_argument("the refresh token belongs to another API key"));
    }
    let claims = old.renewed();
    let api_key = started.sign(&claims)?;
    let refresh_token = started.sign(&claims.refresh())?;
    started.applied().await?;
    Ok(RefreshApiTokenResponse { api_key, refresh_token, endpoint, valid_until: claims.exp.unwrap_or(0) })
}

/// Returns the permissions of a request, if they are valid and the caller may pass them on: only a superuser may, and
/// one that was issued here cannot make another superuser.
fn issuable(
    caller: &Caller,
    permissions: Option<permission_messages::Permissions>,
) -> Result<permission_messages::Permissions, Status> {
    let message = permissions.ok_or_else(|| invalid_argument(InvalidPermissions::Missing))?;
    let permissions = Permissions::try_from(message.clone()).map_err(invalid_argument)?;
    let is_allowed = caller.permissions == Permissions::SuperUser
        && !(caller.is_issued && permissions == Permissions::SuperUser);
    if is_allowed { Ok(message) } else { Err(status::denied()) }
}

fn check_token_id(token_id: &str) -> Result<(), Status> {
    if token_id.chars().count() > MAX_TOKEN_ID_CHARS {
        let expected =
            format!("the token id is too long; at most {MAX_TOKEN_ID_CHARS} characters are allowed");
        return Err(invalid_argument(expected));
    }
    Ok(())
}

impl crate::call::Started {
    fn sign(&self, claims: &Claims) -> Result<String, Status> {
        let token = self.shared.authenticator.issuer.sign(claims);
        if token.len() > MAX_TOKEN_BYTES {
            let length = token.len();
            return Err(invalid_argument(format!(
                "the token would have {length} bytes, and at most {MAX_TOKEN_BYTES} are allowed; ask for fewer permissions"
            )));
        }
        Ok(token)
    }
}

fn invalid_argument(message: impl std::fmt::Display) -> Status {
    status::error(Code::InvalidArgument, message.to_string())
}

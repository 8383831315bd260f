//! The id of an object in Amazon S3, in which routes can be.

use std::fmt;
use std::str::FromStr;

use momento_webhook::visible::{InvisibleCharacter, single_line};

/// The beginning of an id.
pub const SCHEME: &str = "s3://";

/// Separates the key from the version.
const VERSION: &str = "?versionId=";

/// An object in Amazon S3: `s3://bucket/key`, or `s3://bucket/key?versionId=...` for one version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectId {
    /// The name of the bucket.
    pub bucket: String,
    /// The key of the object.
    pub key: String,
    /// The version; `None` for the current one.
    pub version: Option<String>,
}

/// Error for an invalid [`ObjectId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectIdError {
    /// The text does not have the form of an id.
    #[error("is not s3://bucket/key")]
    Malformed,
    /// The bucket has a character that names of buckets cannot have.
    #[error("has a bucket with other characters than a-z, 0-9, `.` and `-`")]
    Bucket,
    /// The version has a character that versions cannot have.
    #[error("has a version that is empty or not visible ASCII")]
    Version,
    /// An invisible character is inside the id.
    #[error(transparent)]
    Invisible(#[from] InvisibleCharacter),
}

impl FromStr for ObjectId {
    type Err = ObjectIdError;

    fn from_str(given: &str) -> Result<Self, ObjectIdError> {
        let (bucket, rest) = single_line(given)?
            .strip_prefix(SCHEME)
            .and_then(|rest| rest.split_once('/'))
            .ok_or(ObjectIdError::Malformed)?;
        let (key, version) = match rest.split_once(VERSION) {
            Some((key, version)) => (key, Some(version)),
            None => (rest, None),
        };
        if bucket.is_empty() || key.is_empty() {
            return Err(ObjectIdError::Malformed);
        }
        if !bucket.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-')) {
            return Err(ObjectIdError::Bucket);
        }
        if version
            .is_some_and(|version| version.is_empty() || !version.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(ObjectIdError::Version);
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned(), version: version.map(str::to_owned) })
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.bucket, self.key)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, "{VERSION}{version}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_bucket_key_and_version() {
        for (given, bucket, key, version) in [
            ("s3://chat/fanout.toml", "chat", "fanout.toml", None),
            ("\u{feff}s3://chat.example-1/a/b c?d.toml\r\n", "chat.example-1", "a/b c?d.toml", None),
            (
                "s3://chat/a.toml?versionId=3HL4kqCxf3vjVBH40Nrjfkd",
                "chat",
                "a.toml",
                Some("3HL4kqCxf3vjVBH40Nrjfkd"),
            ),
        ] {
            let id: ObjectId = given.parse().unwrap();
            let expected = (bucket.to_owned(), key.to_owned(), version.map(str::to_owned));
            assert_eq!((id.bucket.clone(), id.key.clone(), id.version.clone()), expected);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn rejects_invalid_ids() {
        for (wrong, error) in [
            ("s3://", ObjectIdError::Malformed),
            ("s3://chat", ObjectIdError::Malformed),
            ("s3://chat/", ObjectIdError::Malformed),
            ("s3:///key", ObjectIdError::Malformed),
            ("https://chat/key", ObjectIdError::Malformed),
            ("s3://Chat/key", ObjectIdError::Bucket),
            ("s3://arn:aws:s3/key", ObjectIdError::Bucket),
            ("s3://chat/key?versionId=", ObjectIdError::Version),
            ("s3://chat/key?versionId=a b", ObjectIdError::Version),
            ("s3://chat/k\u{200b}ey", InvisibleCharacter('\u{200b}').into()),
        ] {
            assert_eq!(wrong.parse::<ObjectId>(), Err(error), "{wrong:?}");
        }
    }
}

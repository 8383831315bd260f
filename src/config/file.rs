//! A setting that says where a file is, or has its text.

use fanout_core::file::{self, FileError};
use fanout_core::object_id::{self, ObjectId};
use momento_webhook::visible::{single_line, trim_invisible};

use super::{Noted, Read, Settings};

/// Where a file is, and what it says if that is on this machine.
#[derive(Clone, Debug)]
pub enum FileSource<T> {
    /// In the settings.
    Settings(Box<T>),
    /// In a file, which has been read.
    File {
        /// The path of the file.
        path: String,
        /// What it says.
        content: Box<T>,
    },
    /// In a parameter of AWS Systems Manager, which is fetched at start.
    Parameter(String),
    /// In an object of Amazon S3, which is fetched at start.
    Object(ObjectId),
}

impl<T> FileSource<T> {
    /// Reads the value `given` of the setting `name`; `parse` reads the text of a file.
    pub(super) fn read(
        settings: &mut Settings<'_>,
        name: &str,
        given: &str,
        parse: impl FnOnce(&str) -> Result<T, Vec<FileError>>,
    ) -> Read<Self> {
        if given.starts_with(object_id::SCHEME) {
            return match given.parse() {
                Ok(id) => Ok(Self::Object(id)),
                Err(error) => settings.fault(name, error.to_string()),
            };
        }
        if let Some(parameter) = given.strip_prefix("ssm:") {
            return match single_line(parameter) {
                Ok("") => settings.fault(name, "names no parameter behind ssm:"),
                Ok(parameter) => Ok(Self::Parameter(parameter.to_owned())),
                Err(error) => settings.fault(name, error.to_string()),
            };
        }
        // No TOML with a route or a profile in it is without, and no usual path has one.
        let is_text = given.contains('=');
        let (path, text) = if is_text {
            (None, given.to_owned())
        } else {
            // Nobody sees a blank at either end, and no usual path has one there.
            let path = trim_invisible(given.trim());
            let bytes = match std::fs::read(path) {
                Ok(bytes) => bytes,
                Err(error) => return settings.fault(name, format!("{path}: {error}")),
            };
            match file::text(bytes) {
                Ok(text) => (Some(path.to_owned()), text),
                Err(error) => return settings.fault(name, format!("{path}:{error}")),
            }
        };
        match (parse(&text), path) {
            (Ok(content), None) => Ok(Self::Settings(Box::new(content))),
            (Ok(content), Some(path)) => Ok(Self::File { path, content: Box::new(content) }),
            (Err(errors), path) => {
                let place = path.map(|path| format!("{path}:")).unwrap_or_default();
                for error in errors {
                    let _: Read<()> = settings.fault(name, format!("{place}{error}"));
                }
                if is_text && !given.contains(['\n', '[']) {
                    let hint = "is taken for the text of a file and not for its path, because it has a `=`";
                    let _: Read<()> = settings.fault(name, hint);
                }
                Err(Noted)
            }
        }
    }
}

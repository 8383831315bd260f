//! Reads any text as `fanout.toml`. It is accepted, or rejected with positions inside the text.
#![no_main]

use fanout_core::destination::KINDS;
use fanout_core::file;
use fanout_core::transform::Transforms;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match file::read(text, &Transforms::standard(), KINDS) {
        Ok(routes) => assert!(routes.all().iter().all(|route| !route.destinations().is_empty())),
        Err(errors) => {
            assert!(!errors.is_empty());
            let lines = text.matches('\n').count() + 1;
            for error in &errors {
                assert!((1..=lines).contains(&error.line) && error.column >= 1, "{error}");
                assert!(!error.message.is_empty());
            }
        }
    }
});

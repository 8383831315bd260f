//! Where spans are sent, by the variables of OpenTelemetry.
//!
//! Those that are not read here, its SDK reads by itself: `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER` and
//! `OTEL_EXPORTER_OTLP_HEADERS` among them.

use super::{Read, Settings};

/// `OTEL_EXPORTER_OTLP_ENDPOINT` and what goes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracesConfig {
    /// The URL that spans are sent to; none where there are to be no spans.
    pub endpoint: Option<String>,
    /// The name of the service, where it is given.
    pub service: Option<String>,
    /// What is known of where this runs.
    pub attributes: Vec<(&'static str, String)>,
}

/// What spans are sent to below an address that is for all signals.
const PATH: &str = "/v1/traces";

impl TracesConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        let is =
            |value: Option<String>, word: &str| value.is_some_and(|value| value.eq_ignore_ascii_case(word));
        if is(settings.get("OTEL_SDK_DISABLED")?, "true") || is(settings.get("OTEL_TRACES_EXPORTER")?, "none")
        {
            return Ok(Self::default());
        }
        let own = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        let all = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let (name, endpoint) = match (settings.get(own)?, settings.get(all)?) {
            (Some(endpoint), _) => (own, endpoint),
            (None, Some(endpoint)) => (all, format!("{}{PATH}", endpoint.trim_end_matches('/'))),
            (None, None) => return Ok(Self::default()),
        };
        let is_url = endpoint
            .parse::<http::Uri>()
            .is_ok_and(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.authority().is_some());
        if !is_url {
            return settings.fault(name, "is not the URL of a collector, as http://localhost:4318");
        }
        for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
            match settings.get(name)? {
                None => {}
                Some(protocol) if protocol == "http/protobuf" => break,
                Some(_) => {
                    return settings.fault(name, "is not http/protobuf, which is what this build speaks");
                }
            }
        }
        let service = settings.get("OTEL_SERVICE_NAME")?;
        let mut attributes = Vec::new();
        if let Some(function) = settings.get("AWS_LAMBDA_FUNCTION_NAME")? {
            attributes.push(("cloud.provider", "aws".to_owned()));
            attributes.push(("cloud.platform", "aws_lambda".to_owned()));
            attributes.push(("faas.name", function));
            let more = [("cloud.region", "AWS_REGION"), ("faas.version", "AWS_LAMBDA_FUNCTION_VERSION")];
            for (attribute, name) in more {
                attributes.extend(settings.get(name)?.map(|value| (attribute, value)));
            }
        }
        Ok(Self { endpoint: Some(endpoint), service, attributes })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{LEAST, faults, read, vars};

    fn endpoint(changes: &[(&str, &str)]) -> Option<String> {
        read(&vars(&[changes, &LEAST].concat())).unwrap().traces.endpoint
    }

    #[test]
    fn without_an_endpoint_or_switched_off_there_are_no_spans() {
        let collector = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");
        assert_eq!(endpoint(&[]), None);
        assert_eq!(endpoint(&[("OTEL_SERVICE_NAME", "chat")]), None);
        assert_eq!(endpoint(&[collector, ("OTEL_SDK_DISABLED", "True")]), None);
        assert_eq!(endpoint(&[collector, ("OTEL_TRACES_EXPORTER", "none")]), None);
        for on in [&[collector][..], &[collector, ("OTEL_SDK_DISABLED", "1")]] {
            assert_eq!(endpoint(on).as_deref(), Some("http://localhost:4318/v1/traces"));
        }
    }

    #[test]
    fn the_endpoint_of_traces_goes_first_and_is_taken_as_it_is() {
        let both = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318/"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces.example/otlp"),
        ];
        assert_eq!(endpoint(&both[..1]).as_deref(), Some("http://localhost:4318/v1/traces"));
        assert_eq!(endpoint(&both).as_deref(), Some("https://traces.example/otlp"));
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        for wrong in ["localhost:4318", "grpc://localhost:4317", "http://", "/v1/traces"] {
            let faults = faults(&[("OTEL_EXPORTER_OTLP_ENDPOINT", wrong)]);
            assert!(
                matches!(&faults[..], [(name, _)] if name == "OTEL_EXPORTER_OTLP_ENDPOINT"),
                "{wrong}: {faults:?}"
            );
        }
        let collector = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317");
        let faults = faults(&[collector, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
        assert!(matches!(&faults[..], [(name, _)] if name == "OTEL_EXPORTER_OTLP_PROTOCOL"), "{faults:?}");
    }
}

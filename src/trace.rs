//! The trace that a request belongs to, and how it is passed on.
//!
//! Two headers are read, each strictly: `traceparent` of
//! [W3C Trace Context](https://www.w3.org/TR/trace-context-1/), and the
//! [tracing header of X-Ray](https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader).
//! Any caller can send either. What is passed on or logged is built from the numbers that were read, never copied from a
//! header. An invalid header is ignored.

use std::fmt;

use http::HeaderMap;
use serde::{Serialize, Serializer};

/// The header of W3C Trace Context.
pub const TRACEPARENT: &str = "traceparent";
/// The header of X-Ray.
pub const XRAY: &str = "x-amzn-trace-id";

/// The longest header of X-Ray that is read. Lambda's has some 200 bytes with its lineage.
const LONGEST_XRAY: usize = 512;
/// The longest lineage that is passed on: with it, the header has 256 bytes at most, which all services take.
const LONGEST_LINEAGE: usize = 160;

/// The identity of a trace: 16 bytes, not all of them zero. As text it is 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// The identity of a span: 8 bytes, not all of them zero. As text it is 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

/// A trace as X-Ray and CloudWatch write it: `1-5759e988-bd862e3fe1be46a994272793`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct XrayId(pub TraceId);

/// The trace that a request is part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace: TraceId,
    parent: Option<SpanId>,
    sampled: Option<bool>,
    lineage: Option<Box<str>>,
}

impl TraceContext {
    /// Returns the trace of a request: that of its headers, or else `own`, which is Lambda's. If Lambda does not record its
    /// own, and the request has a header of X-Ray, that one wins: a load balancer logs it.
    #[must_use]
    pub fn of_request(headers: &HeaderMap, own: Option<&Self>) -> Option<Self> {
        let lineage = || own.and_then(|own| own.lineage.clone());
        if let Some(read) = single(headers, TRACEPARENT).and_then(Self::from_traceparent) {
            return Some(Self { lineage: lineage(), ..read });
        }
        let sent = single(headers, XRAY).and_then(Self::from_xray);
        let is_same = |own: &&Self| sent.as_ref().is_some_and(|sent| sent.trace == own.trace);
        // In the same trace, Lambda's own is the later span.
        if let Some(own) = own.filter(|own| own.sampled == Some(true) || is_same(own)) {
            return Some(own.clone());
        }
        sent.map(|sent| Self { lineage: lineage(), ..sent }).or_else(|| own.cloned())
    }

    /// Reads Lambda's own trace from the header of an invocation.
    #[must_use]
    pub fn of_lambda(header: &str) -> Option<Self> {
        let lineage = header.split(';').find_map(|part| part.trim().strip_prefix("Lineage="));
        let lineage = lineage.filter(|lineage| is_lineage(lineage)).map(Box::from);
        Some(Self { lineage, ..Self::from_xray(header)? })
    }

    /// Reads the trace of a message of a queue. `own` is Lambda's for the invocation with the message.
    #[must_use]
    pub fn of_record(header: &str, own: Option<&Self>) -> Option<Self> {
        let lineage = own.and_then(|own| own.lineage.clone());
        Some(Self { lineage, ..Self::from_xray(header)? })
    }

    /// Reads a `traceparent`.
    #[must_use]
    pub fn from_traceparent(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let [version] = bytes(parts.next()?)?;
        let (trace, parent) = (TraceId::read(parts.next()?)?, SpanId::read(parts.next()?)?);
        let [flags] = bytes(parts.next()?)?;
        // Later versions may append fields, and begin like this one.
        let is_version = match version {
            0 => parts.next().is_none(),
            0xff => false,
            _ => true,
        };
        is_version.then_some(Self {
            parent: Some(parent),
            sampled: Some(flags & 1 == 1),
            ..Self::begun_with(trace)
        })
    }

    /// Reads a header of X-Ray. The trace is required, the rest is optional.
    #[must_use]
    pub fn from_xray(header: &str) -> Option<Self> {
        if header.len() > LONGEST_XRAY {
            return None;
        }
        let (mut root, mut parent, mut sampled) = (None, None, None);
        for part in header.split(';') {
            // A repeated part has no meaning.
            match part.trim().split_once('=') {
                Some(("Root", id)) if root.is_none() => root = Some(XrayId::read(id)?.0),
                Some(("Parent", id)) if parent.is_none() => parent = Some(SpanId::read(id)?),
                Some(("Sampled", flag)) if sampled.is_none() => sampled = Some(flag),
                Some(("Root" | "Parent" | "Sampled", _)) => return None,
                _ => {}
            }
        }
        // With `?`, or without the field, the function decides.
        let sampled = match sampled {
            Some("1") => Some(true),
            Some("0") => Some(false),
            Some("?" | "") | None => None,
            Some(_) => return None,
        };
        Some(Self { parent, sampled, ..Self::begun_with(root?) })
    }

    const fn begun_with(trace: TraceId) -> Self {
        Self { trace, parent: None, sampled: None, lineage: None }
    }

    /// Returns the id of the trace.
    #[must_use]
    pub const fn trace(&self) -> TraceId {
        self.trace
    }

    /// Returns the header of X-Ray for requests of the function.
    ///
    /// It includes Lambda's lineage, by which AWS recognizes functions that invoke one another in a cycle, and stops them.
    #[must_use]
    pub fn to_xray(&self) -> String {
        let root = Some(format!("Root={}", XrayId(self.trace)));
        let parent = self.parent.map(|parent| format!("Parent={parent}"));
        let sampled = self.sampled.map(|sampled| format!("Sampled={}", u8::from(sampled)));
        let lineage = self.lineage.as_ref().map(|lineage| format!("Lineage={lineage}"));
        [root, parent, sampled, lineage].into_iter().flatten().collect::<Vec<_>>().join(";")
    }
}

impl TraceId {
    /// Returns `None` if all bytes are zero.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// Returns its bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    fn read(text: &str) -> Option<Self> {
        Self::new(bytes(text)?)
    }
}

impl SpanId {
    /// Returns `None` if all bytes are zero.
    #[must_use]
    pub fn new(bytes: [u8; 8]) -> Option<Self> {
        (bytes != [0; 8]).then_some(Self(bytes))
    }

    /// Returns its bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; 8] {
        self.0
    }

    fn read(text: &str) -> Option<Self> {
        Self::new(bytes(text)?)
    }
}

impl XrayId {
    fn read(text: &str) -> Option<Self> {
        let (epoch, unique) = text.strip_prefix("1-")?.split_once('-')?;
        let (epoch, unique) = (bytes::<4>(epoch)?, bytes::<12>(unique)?);
        let mut whole = [0; 16];
        for (to, from) in whole.iter_mut().zip(epoch.into_iter().chain(unique)) {
            *to = from;
        }
        TraceId::new(whole).map(Self)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Display for XrayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = u128::from_be_bytes(self.0.0);
        write!(f, "1-{:08x}-{:024x}", whole >> 96, whole & (u128::MAX >> 32))
    }
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for XrayId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads hexadecimal digits in lower case, as both standards require.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    (is_lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

/// Returns the value of a header that occurs once.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?.trim_matches([' ', '\t']);
    values.next().is_none().then_some(value)
}

/// `1:a87bd80c:0|68fd508a:5`, as Lambda writes it.
fn is_lineage(lineage: &str) -> bool {
    let is_valid = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b':' | b'|');
    !lineage.is_empty() && lineage.len() <= LONGEST_LINEAGE && lineage.bytes().all(is_valid)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "53995c3f42cd8ad9";
    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-53995c3f42cd8ad9-01";
    const OWN: &str = "Root=1-65957ef6-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=0;Lineage=1:a87bd80c:0|68fd508a:5";

    fn headers(of: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in of {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn read(of: &[(&'static str, &str)]) -> Option<TraceContext> {
        TraceContext::of_request(&headers(of), None)
    }

    #[test]
    fn a_traceparent_is_read() {
        let context = TraceContext::from_traceparent(VALID).unwrap();
        assert_eq!(context.trace().to_string(), TRACE);
        assert_eq!(
            context.to_xray(),
            "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=53995c3f42cd8ad9;Sampled=1"
        );
        let not_sampled = TraceContext::from_traceparent(&format!("00-{TRACE}-{PARENT}-00")).unwrap();
        assert!(not_sampled.to_xray().ends_with(";Sampled=0"), "{}", not_sampled.to_xray());
        // Only the lowest bit is the flag.
        let others = TraceContext::from_traceparent(&format!("00-{TRACE}-{PARENT}-fe")).unwrap();
        assert_eq!(others, not_sampled);
    }

    #[test]
    fn later_versions_begin_alike() {
        for later in ["cc-{}", "01-{}-what-the-future-brings", "01-{}-"] {
            let header = later.replace("{}", &format!("{TRACE}-{PARENT}-01"));
            assert!(TraceContext::from_traceparent(&header).is_some(), "{header}");
        }
    }

    #[test]
    fn a_malformed_traceparent_is_none() {
        for (what, header) in [
            ("empty", String::new()),
            ("no version", format!("{TRACE}-{PARENT}-01")),
            ("forbidden version", format!("ff-{TRACE}-{PARENT}-01")),
            ("short version", format!("0-{TRACE}-{PARENT}-01")),
            ("version in upper case", format!("CC-{TRACE}-{PARENT}-01")),
            ("no trace", format!("00-{}-{PARENT}-01", "0".repeat(32))),
            ("no parent", format!("00-{TRACE}-{}-01", "0".repeat(16))),
            ("upper case", VALID.to_uppercase()),
            ("not hexadecimal", VALID.replace('f', "g")),
            ("short trace", format!("00-{}-{PARENT}-01", "a".repeat(31))),
            ("long trace", format!("00-{}-{PARENT}-01", "a".repeat(33))),
            ("short parent", format!("00-{TRACE}-{}-01", "a".repeat(15))),
            ("no flags", format!("00-{TRACE}-{PARENT}")),
            ("empty flags", format!("00-{TRACE}-{PARENT}-")),
            ("long flags", format!("00-{TRACE}-{PARENT}-001")),
            ("more than this version has", format!("{VALID}-more")),
            ("a dash at the end", format!("{VALID}-")),
            ("later version, run on", format!("01-{TRACE}-{PARENT}-01x")),
            ("two in one", format!("{VALID},{VALID}")),
            ("white space", format!("00 -{TRACE}-{PARENT}-01")),
            ("other signs", format!("00_{TRACE}_{PARENT}_01")),
            ("not ASCII", format!("00-{TRACE}-{PARENT}-0é")),
        ] {
            assert_eq!(TraceContext::from_traceparent(&header), None, "{what}: {header}");
        }
        assert_eq!(read(&[(TRACEPARENT, VALID), (TRACEPARENT, VALID)]), None, "two headers");
    }

    #[test]
    fn a_header_of_x_ray_is_read() {
        let root = "Root=1-5759e988-bd862e3fe1be46a994272793";
        let read = |header: &str| TraceContext::from_xray(header);
        let context = read(root).unwrap();
        assert_eq!(context.trace().to_string(), "5759e988bd862e3fe1be46a994272793");
        assert_eq!(context.to_xray(), root);

        let whole = format!("{root};Parent=53995c3f42cd8ad8;Sampled=1");
        let context = read(&whole).unwrap();
        assert_eq!(context.to_xray(), whole);

        // In any order, with unknown fields, which are not passed on.
        let mixed =
            format!("Self=1-67891234-12456789abcdef012345678;Sampled=?; {root};Parent=53995c3f42cd8ad8;x");
        assert_eq!(read(&mixed).unwrap().to_xray(), format!("{root};Parent=53995c3f42cd8ad8"));
    }

    #[test]
    fn a_malformed_header_of_x_ray_is_none() {
        let root = "Root=1-5759e988-bd862e3fe1be46a994272793";
        for (what, header) in [
            ("empty", String::new()),
            ("no root", "Parent=53995c3f42cd8ad8;Sampled=1".into()),
            ("two roots", format!("{root};{root}")),
            ("two parents", format!("{root};Parent=53995c3f42cd8ad8;Parent=53995c3f42cd8ad8")),
            ("another version", root.replace("=1-", "=2-")),
            ("no dashes", "Root=15759e988bd862e3fe1be46a994272793".into()),
            ("a dash in another place", "Root=1-5759e988bd-862e3fe1be46a994272793".into()),
            ("short", root.replace("2793", "")),
            ("upper case", root.to_uppercase()),
            ("zero", format!("Root=1-{}-{}", "0".repeat(8), "0".repeat(24))),
            ("not hexadecimal", root.replace('f', "g")),
            ("an invalid parent", format!("{root};Parent=1")),
            ("a parent of zeros", format!("{root};Parent=0000000000000000")),
            ("an invalid flag", format!("{root};Sampled=true")),
            ("the id alone", "1-5759e988-bd862e3fe1be46a994272793".into()),
            ("too long", format!("{root};{}", "x".repeat(LONGEST_XRAY))),
        ] {
            assert_eq!(TraceContext::from_xray(&header), None, "{what}: {header}");
        }
    }

    #[test]
    fn lambdas_own_header_keeps_its_lineage() {
        assert_eq!(TraceContext::of_lambda(OWN).unwrap().to_xray(), OWN);
        for wrong in ["", "<script>", "1:A87", &"1".repeat(LONGEST_LINEAGE + 1)] {
            let header = format!("Root=1-65957ef6-0123456789abcdef01234567;Lineage={wrong}");
            assert_eq!(TraceContext::of_lambda(&header).unwrap().lineage, None, "{wrong}");
        }
        // Only Lambda's own header may have a lineage.
        assert_eq!(TraceContext::from_xray(OWN).unwrap().lineage, None);
        let longest = OWN.replace("1:a87bd80c:0|68fd508a:5", &"a".repeat(LONGEST_LINEAGE));
        assert!(TraceContext::of_lambda(&longest).unwrap().to_xray().len() <= 256);
    }

    #[test]
    fn what_the_request_says_goes_first_and_what_is_recorded_before_what_is_not() {
        let own = TraceContext::of_lambda(OWN);
        let recorded = TraceContext::of_lambda(&OWN.replace("Sampled=0", "Sampled=1"));
        let xray = (XRAY, "Root=1-5759e988-bd862e3fe1be46a994272793");
        let w3c = (TRACEPARENT, VALID);
        let of = |sent: &[(&'static str, &str)], own: &Option<TraceContext>| {
            TraceContext::of_request(&headers(sent), own.as_ref()).map(|read| read.trace().to_string())
        };
        let [of_w3c, of_xray] = [TRACE, "5759e988bd862e3fe1be46a994272793"].map(str::to_owned);
        let of_own = "65957ef60123456789abcdef01234567".to_owned();
        assert_eq!(of(&[], &None), None);
        assert_eq!(of(&[], &own), Some(of_own.clone()));
        assert_eq!(of(&[xray], &None), Some(of_xray.clone()));
        assert_eq!(of(&[xray], &own), Some(of_xray.clone()));
        assert_eq!(of(&[xray], &recorded), Some(of_own));
        assert_eq!(of(&[xray, w3c], &recorded), Some(of_w3c));
        assert_eq!(of(&[xray, (TRACEPARENT, "nonsense")], &None), Some(of_xray));
        // Whichever it is, AWS is to recognise functions that go round.
        let sent = TraceContext::of_request(&headers(&[w3c]), own.as_ref()).unwrap();
        assert!(sent.to_xray().ends_with(";Lineage=1:a87bd80c:0|68fd508a:5"), "{}", sent.to_xray());
    }

    proptest! {
        #[test]
        fn ids_go_there_and_back(trace in any::<[u8; 16]>(), parent in any::<[u8; 8]>(), sampled: bool) {
            let (Some(trace), Some(parent)) = (TraceId::new(trace), SpanId::new(parent)) else { return Ok(()) };
            let context = TraceContext { trace, parent: Some(parent), sampled: Some(sampled), lineage: None };
            prop_assert_eq!(&TraceContext::from_xray(&context.to_xray()), &Some(context.clone()));
            let traceparent = format!("00-{trace}-{parent}-0{}", u8::from(sampled));
            prop_assert_eq!(&TraceContext::from_traceparent(&traceparent), &Some(context));
            prop_assert_eq!(XrayId::read(&XrayId(trace).to_string()), Some(XrayId(trace)));
        }

        #[test]
        fn whatever_is_sent_only_numbers_come_out(header in ".{0,80}", root in "[0-9a-f]{24}") {
            let _ = TraceContext::from_traceparent(&header);
            let with = format!("Root=1-5759e988-{root};{header}");
            if let Some(context) = TraceContext::of_lambda(&with) {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"=;-:|".contains(&byte);
                prop_assert!(context.to_xray().bytes().all(plain));
            }
        }
    }
}

//! Times on the command line: `10s`, `500ms`, `2m`, or a number of seconds.

use std::time::Duration;

/// A text that is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time greater than zero, such as 10s, 500ms or 2m")]
pub struct NotADuration;

/// Reads a time, which is greater than zero.
///
/// # Errors
/// When `text` is something else.
pub fn parse(text: &str) -> Result<Duration, NotADuration> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("", 1.0)];
    let (number, unit) = units
        .into_iter()
        .find_map(|(unit, seconds)| text.strip_suffix(unit).map(|number| (number, seconds)))
        .ok_or(NotADuration)?;
    // `f64` also reads `inf`, `1e9` and `+1`, which nobody means here.
    if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(NotADuration);
    }
    let number: f64 = number.parse().map_err(|_| NotADuration)?;
    match Duration::try_from_secs_f64(number * unit) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(NotADuration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read() {
        for (text, millis) in
            [("10s", 10_000), ("500ms", 500), ("2m", 120_000), ("3", 3_000), ("1.5s", 1_500)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "s",
            "ms",
            "0",
            "0ms",
            "-1s",
            "+1s",
            "inf",
            "1e3s",
            "1h",
            "1.2.3s",
            "9999999999999999999999s",
        ] {
            assert_eq!(parse(text), Err(NotADuration), "{text}");
        }
    }
}

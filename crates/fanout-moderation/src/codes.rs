//! Addresses, paths, file names and codes, which are not words.

use std::ops::Range;

/// Ends of file names, and of the names of hosts.
const ENDS: &str = " 7z aac aar ac ai apk app asm aspx avi bak bash bat bin biz blade bmp br bz2 c cc cfg ch class cloud cmd cn co \
    com conf cpp crt cs css csv cts cxx dart dat db de deb dev diff dll dmg doc docx dotx dylib edu ejs elf eml env eot eps epub \
    erb es eu ex exe exs fish flac flv fm fr fs gg gif gitignore gl gov gpx gradle graphql groovy gz h hbs heic hh hpp hs htm \
    html hxx icns ico ics idx inc info ini io ipa ipynb iso jar java jp jpeg jpg js json json5 jsonl jsx jwk key kt kts less lhs \
    local lock log lua ly m3u8 m4a map markdown md mdx mid mjs mk mkv ml mobi mod mov mp3 mp4 mpeg mpg msi mts net nl node o obj \
    odp ods odt ogg org otf out pages patch pcap pdf pem php pkl pl png po ppt pptx proto ps1 psd pub py pyc pyi r rar rb rlib \
    rmd rpm rs rst rtf ru sass sav scala scss sh sln sql sqlite srt svelte svg swf swift tar tex tf tgz tif tiff tmp toml tool \
    torrent ts tsv tsx ttf tv txt uk vb vcf vim vue war wasm wav webm webp wmv woff woff2 wsdl xaml xcf xhtml xls xlsx xml xsd xsl \
    xyz xz yaml yml zig zip zsh zst ";

/// Returns the bytes of what is not words, in order.
pub(crate) fn codes(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for chunk in chunks(text, 0, char::is_whitespace) {
        let Some(whole) = text.get(chunk.clone()) else { continue };
        if whole.len() < 4 || !whole.bytes().any(|byte| !byte.is_ascii_alphabetic() && byte < 0x80) {
            continue;
        }
        if let Some(scheme) = whole.find("://") {
            let before = whole.get(..scheme).unwrap_or_default();
            let name = before
                .bytes()
                .rev()
                .take_while(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(byte))
                .count();
            let start = chunk.start + scheme - name;
            found.extend(plain(text, chunk.start..start));
            let rest = text.get(start..chunk.end).unwrap_or_default();
            let end = start + rest.find(['"', '<', '>', '`', '{', '}', '|']).unwrap_or(rest.len());
            found.push(start..end);
            found.extend(plain(text, end..chunk.end));
        } else {
            found.extend(plain(text, chunk));
        }
    }
    found
}

/// Returns the ranges that are not words, of a part without spaces and without a scheme.
fn plain(text: &str, part: Range<usize>) -> Vec<Range<usize>> {
    let Some(inside) = text.get(part.clone()) else { return Vec::new() };
    let is_structure = |character: char| {
        matches!(
            character,
            '"' | '\'' | '`' | '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | ',' | ';' | '=' | '|'
        ) || !character.is_ascii() && !character.is_alphanumeric()
    };
    let pieces = chunks(inside, part.start, is_structure);
    pieces
        .filter_map(|piece| {
            let whole = text.get(piece.clone())?;
            let trimmed = whole.trim_end_matches(['.', ':', '!', '?']);
            is_code(trimmed).then(|| piece.start..piece.start + trimmed.len())
        })
        .collect()
}

fn chunks(text: &str, from: usize, separates: impl Fn(char) -> bool) -> impl Iterator<Item = Range<usize>> {
    let mut start = from;
    text.split(separates).filter_map(move |chunk| {
        let begin = start;
        // Separators differ in length: the next chunk is found by its address in the text.
        start = begin + chunk.len();
        let end = start;
        start += text.get(end - from..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        (!chunk.is_empty()).then_some(begin..end)
    })
}

fn is_code(text: &str) -> bool {
    is_address(text) || is_path(text) || is_named_file(text) || is_identifier(text)
}

fn ends_as_known(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(stem, end)| {
        stem.contains(|character: char| character.is_alphanumeric())
            && !end.is_empty()
            && end.len() < 10
            && end.bytes().all(|byte| byte.is_ascii_alphanumeric())
            // `s.h` is spelled out.
            && name.split('.').any(|part| part.len() > 1)
            && ENDS.contains(&format!(" {} ", end.to_ascii_lowercase()))
    })
}

/// An address of mail or of the web.
fn is_address(text: &str) -> bool {
    if let Some((name, host)) = text.rsplit_once('@')
        && !name.is_empty()
        && host.contains('.')
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:".contains(&byte))
    {
        return true;
    }
    let starts = |start: &str| text.get(..start.len()).is_some_and(|it| it.eq_ignore_ascii_case(start));
    if starts("www.") || starts("mailto:") {
        return true;
    }
    let host = text.split(['/', '?', '#', ':']).next().unwrap_or_default();
    host.len() < text.len() && is_host(host)
}

/// A name with a dot that something follows, as `youtu.be` in `youtu.be/abc`.
fn is_host(host: &str) -> bool {
    let Some((name, end)) = host.rsplit_once('.') else { return false };
    !name.is_empty()
        && (2..=6).contains(&end.len())
        && end.bytes().all(|byte| byte.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

fn is_path(text: &str) -> bool {
    if ["./", "../", "~/", ".\\", "..\\", "\\\\"].iter().any(|start| text.starts_with(start)) {
        return true;
    }
    let mut start = text.bytes();
    if start.next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && start.next() == Some(b':')
        && matches!(start.next(), Some(b'\\' | b'/'))
    {
        return true;
    }
    let Some(rest) = text.strip_prefix('/') else {
        return text.contains(['/', '\\']) && ends_as_known(text);
    };
    rest.contains('/') || ends_as_known(rest)
}

fn is_named_file(text: &str) -> bool {
    !text.contains(['/', '\\', '@']) && ends_as_known(text)
}

/// A UUID, a hash, a key, a version: letters and digits that change places more than a disguise does.
fn is_identifier(text: &str) -> bool {
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:+/~%".contains(&byte)) {
        return false;
    }
    let is_hexadecimal = |group: &str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
    let groups =
        || text.split(|character: char| !character.is_ascii_alphanumeric()).filter(|group| !group.is_empty());
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if digits == 0 {
        return false;
    }
    if text.len() >= 16 && groups().count() >= 3 && groups().all(is_hexadecimal) {
        return true;
    }
    // A serial number, as `4SS-1234`; or that of an order, as `TIT-99`.
    let digits_of = |group: &str| group.bytes().filter(u8::is_ascii_digit).count();
    let is_number = |group: &str| group.len() > 1 && group.bytes().all(|byte| byte.is_ascii_digit());
    let begins = groups().next().unwrap_or_default();
    if !text.bytes().any(|byte| byte.is_ascii_lowercase())
        && (groups().filter(|group| digits_of(group) > 0).count() > 1
            && groups().any(|group| 2 * digits_of(group) >= group.len())
            || text.contains('-') && begins.len() < 4 && groups().skip(1).any(is_number))
    {
        return true;
    }
    let changes = |group: &str| {
        let bytes = group.as_bytes();
        bytes
            .windows(2)
            .filter(|pair| matches!(pair, [one, next] if one.is_ascii_digit() != next.is_ascii_digit()))
            .count()
    };
    let is_long = |group: &str| group.len() >= 8 && digits >= 2;
    groups().count() > 1 && text.len() >= 12 && groups().any(|group| is_long(group) && changes(group) >= 2)
        || groups().any(|group| group.len() >= 16 && changes(group) >= 4)
}

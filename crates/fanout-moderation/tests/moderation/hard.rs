/// Returns texts of about `length` characters that are hard on a list of words: each is like many of them at once.
pub(crate) fn hard_texts(length: usize) -> Vec<String> {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 33).unwrap_or_default() % below
    };
    let alphabets = [
        "0123456789@$!|()+ ",
        "@$!|*1",
        "a1",
        "s1t!|*5h",
        "sh1t b!c ",
        "liuvkcz",
        "aeiou st",
        "fuck ",
        "as ",
        " .-_,",
        "f.u.c.k",
        "еасор ",
        "傻逼你妈操 ",
        "a*",
        "🍆🍑💦👌👉",
        "f1l|",
        "*a*e",
        "n1g",
        "abcdefghijklmnopqrstuvwxyz",
        "etaoin shrdlu",
        "sS5$zZ ",
        "\u{200b}f\u{301}",
        "くそまんこちの",
        "ab-",
        "/.a:",
        "🇫🇺",
    ];
    let random = alphabets.map(|alphabet| {
        let alphabet: Vec<char> = alphabet.chars().collect();
        (0..length).filter_map(|_| alphabet.get(next(alphabet.len()))).collect()
    });
    let repeated = [
        "fuck",
        "a",
        "fuck ",
        "f u c k ",
        "as s",
        "1a",
        "a***",
        "shi",
        "s h i ",
        "kill yoursel",
        "kill yoursel ",
        "kill all the jew ",
        "motherfucke",
        "motherfucke ",
        "a@a.",
        "http://",
        "a/",
        "!",
        "@",
        "kill  ",
        "n-i-g-g-e-",
        "\u{202e}a",
        "=\"",
        "g",
        "the quick brown fox ",
        "I like that. It is nice. ",
    ];
    random.into_iter().chain(repeated.map(|text| text.repeat(length / text.len()))).collect()
}

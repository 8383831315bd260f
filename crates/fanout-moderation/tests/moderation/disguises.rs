//! Texts that count, in each language and each disguise.

use super::{moderated, standard};
use fanout_moderation::{Language, masked};

#[test]
fn finds_disguised_words() {
    for (given, wanted) in [
        ("🇫 🇺 🇨 🇰, 🇫🇺🇨🇰", "* * * *, **"),
        ("fμck ꮪhit ϝuck ꭰick", "**** **** **** ****"),
        ("f.u.c.k f-u-c-k f_u_c_k", "******* ******* *******"),
        ("f.uck fu-ck sh-it s.hit", "***** ***** ***** *****"),
        ("F U C K Y O U", "* * * * * * *"),
        ("f\nu\nc\nk", "*\n*\n*\n*"),
        ("I f u c k", "I * * * *"),
        ("fuuuuck shiiit bitchhh fuuck", "******* ****** ******* *****"),
        ("f*ck sh*t b*tch c*nt", "**** **** ***** ****"),
        ("@sshole $hit $lut n!gger a$$ @ss sh!t!", "******* **** **** ****** *** *** ****!"),
        ("fvck kunt phuck biatch b00bs n1gg3r f4gg0t", "**** **** ***** ****** ***** ****** ******"),
        ("fucking123 bitch69", "*******123 *****69"),
        ("absofuckinglutely MotherFucker clusterfuck", "***************** ************ ***********"),
        ("f\u{301}u\u{302}c\u{303}k\u{304} s̶h̶i̶t̶", "**** ****"),
        ("b¢tch fu¢k $€x", "b¢tch **** $€x"),
        ("what the fuck.then he left", "what the ****.then he left"),
        (
            "(fuck) \"shit\", [bitch] {cunt} <ass> ‘dick’ “whore”",
            "(****) \"****\", [*****] {****} <***> ‘****’ “*****”",
        ),
        ("#fuck @dick shit, fuck shit_on", "#**** @**** ****, **** *******"),
        ("kill yourself, KYS. kill\n  urself!", "**** ********, ***. ****\n  ******!"),
        ("{\"text\":\"shit\",\"n\":1}", "{\"text\":\"****\",\"n\":1}"),
        // The signs between letters are not a part of the word.
        ("f,u,c,k s:h:i:t f🔥u🔥c🔥k f . u . c . k", "*,*,*,* *:*:*:* *🔥*🔥*🔥* * . * . * . *"),
        ("F. U. C. K. him", "*. *. *. *. him"),
        ("fu'ck sh’it", "***** *****"),
        // A sign hides a letter.
        ("f#ck f@ck sh!t b-tch c.nt f**k n**ger s*it", "**** **** **** ***** **** **** ****** ****"),
        ("fu(k s#it shi† ꜰuc₭", "**** **** **** ****"),
        ("fu ck f uck ass hole nig ger", "** ** * *** *** **** *** ***"),
        ("sshhiitt ffuucckk bbiittcchh", "******** ******** **********"),
        ("HelloBitch TheCunt fuck2020", "Hello***** The**** ****2020"),
        ("⒡⒰⒞⒦ ɟuɔʞ", "**** ****"),
        ("F4GG0T-B1TCH", "******-*****"),
        ("mOtHeRfUcKeR motherfucker2020 m*th*rf*ck*r", "************ ************2020 ************"),
        // Upside down, and in lookalikes of one other alphabet alone.
        ("ʞɔnɟ ʇᴉɥs ʎssnd, uoᴉʇɐʇs", "**** **** *****, uoᴉʇɐʇs"),
        ("ᏚᎻᎥᎢ ꮪꮋꭵꭲ", "**** ****"),
        ("s lut, ba stard, bi tch, w hore, p ussy", "* ***, ** *****, ** ***, * ****, * ****"),
    ] {
        assert_eq!(moderated(given), wanted, "{given}");
    }
}

#[test]
fn finds_words_of_each_language() {
    for (code, given, wanted) in [
        ("en", "you stupid bitch", "you stupid *****"),
        ("es", "¡Hijo de puta, vete a la mierda!", "¡**** ** ****, **** * ** ******!"),
        ("pt", "Filho da puta, vai tomar no cu, caralho", "***** ** ****, *** ***** ** **, *******"),
        ("fr", "Putain, quel connard ! Nique ta mère", "******, quel ******* ! ***** ** ****"),
        ("de", "Scheiße, du Arschloch! Fick dich", "*******, du *********! **** ****"),
        ("it", "Che cazzo vuoi, stronzo? Vaffanculo", "*** ***** vuoi, *******? **********"),
        ("ja", "このクソ野郎、死ね。まんこを見せて", "この****、**。***を見せて"),
        ("zh", "操你妈，傻逼", "***，**"),
        ("ru", "иди на хуй, блядь", "*** ** ***, *****"),
    ] {
        assert_eq!(moderated(given), wanted, "{given}");
        let language: Language = code.parse().unwrap();
        let only = fanout_moderation::Moderator { languages: vec![language], ..standard() };
        assert_eq!(masked(given, &only.find(given), '*'), wanted, "{given}");
    }
    let only = fanout_moderation::Moderator { languages: vec![Language::Spanish], ..standard() };
    assert!(only.find("fuck, cazzo, Arschloch").is_empty());
    assert!("xx".parse::<Language>().unwrap_err().contains("expected one of `en`, `es`"));
}

/// Each of the words in each of the disguises.
#[test]
fn finds_each_word_in_each_disguise() {
    let words = [
        "fuck",
        "shit",
        "bitch",
        "asshole",
        "cunt",
        "nigger",
        "faggot",
        "whore",
        "slut",
        "pussy",
        "bastard",
        "motherfucker",
    ];
    let fullwidth = |letter: char| char::from_u32(u32::from(letter) + 0xfee0).unwrap();
    let circled = |letter: char| char::from_u32(u32::from(letter) - u32::from('a') + u32::from('ⓐ')).unwrap();
    let flag = |letter: char| char::from_u32(u32::from(letter) - u32::from('a') + u32::from('🇦')).unwrap();
    let bold = |letter: char| char::from_u32(u32::from(letter) - u32::from('a') + 0x1d41a).unwrap();
    let leet = |letter: char| match letter {
        'a' => '@',
        'e' => '3',
        'i' => '1',
        'o' => '0',
        's' => '$',
        letter => letter,
    };
    let joined = |word: &str, by: &str| word.chars().map(String::from).collect::<Vec<_>>().join(by);
    for word in words {
        let disguises = [
            word.to_owned(),
            word.to_uppercase(),
            joined(word, " "),
            joined(word, "."),
            joined(word, "-"),
            joined(word, "\u{200b}"),
            joined(word, "\u{ad}"),
            word.chars().map(fullwidth).collect(),
            word.chars().map(circled).collect(),
            word.chars().map(bold).collect(),
            joined(&word.chars().map(flag).collect::<String>(), " "),
            word.chars().map(leet).collect(),
            joined(word, "\u{301}"),
            format!("\u{202e}{}", word.chars().rev().collect::<String>()),
            word.replace('a', "а")
                .replace('c', "с")
                .replace('i', "і")
                .replace('o', "ο")
                .replace('h', "һ")
                .replace('s', "ѕ"),
            format!("{word}s"),
            format!("{word}!!!"),
            format!("\"{word}\""),
        ];
        for disguise in disguises {
            let text = format!("so {disguise} , ok");
            assert!(!standard().find(&text).is_empty(), "{text:?}");
        }
    }
}

#[test]
fn finding_names_entry_and_kinds() {
    let found = standard().find("oh sh1t, Hurensohn");
    let told: Vec<_> =
        found.iter().map(|it| (it.at.first().cloned(), it.entry.as_str(), it.kinds.to_string())).collect();
    assert_eq!(
        told,
        [
            (Some(3..7), "shit", "profane moderate".to_owned()),
            (Some(9..18), "hurensohn", "profane moderate, offensive moderate".to_owned())
        ]
    );
}
